"""The training graph of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ipuc.errors import OptionError
from ipuc.graph.ir import Graph, drop_unused
from ipuc.graph.raising import raised
from ipuc.ops.writer import GraphWriter
from ipuc.passes.pipelines import prepare_training, tidy
from ipuc.training.differentiate import differentiate
from ipuc.training.fuse import fuse_updates
from ipuc.training.loss import add_loss
from ipuc.training.mode import in_training_mode
from ipuc.training.optimizers import add_updates
from ipuc.training.options import CROSS_ENTROPY, Training
from ipuc.training.parameters import parameters, trained
from ipuc.training.recompute import Recomputed, recompute
from ipuc.training.scaling import adjust_scale
from ipuc.training.schedule import label_passes, schedule

#: Gradients are written in this standard operator set, or the model's own if that is later.
OPSET = 18


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """A graph that does one training step, and what was decided.

    Attributes:
        graph: inputs and labels in; the loss out, weights updated in place, or "grad/NAME" out.
        trained: weights that change.
        frozen: weights that could be trained and are not, by the options.
        unreached: weights that no gradient reaches.
        loss_of: the value whose loss is taken, or that is the loss.
        left_out: outputs of the model that the step does not compute for the user.
        classes: labels are below it; None if they are no class numbers.
        recomputed: what the backward pass computes again.
    """

    graph: Graph
    trained: tuple[str, ...]
    frozen: tuple[str, ...]
    unreached: tuple[str, ...]
    loss_of: str
    left_out: tuple[str, ...]
    classes: int | None
    recomputed: Recomputed = field(default_factory=Recomputed)

    def facts(self, training: Training) -> dict[str, Any]:
        """What a program notes about its training, as JSON values."""
        scale, again = training.loss_scale, self.recomputed
        noted = {"recomputed": list(again.layers), "released": list(again.released)}
        return {
            "loss": training.loss,
            "loss_of": self.loss_of,
            "left_out": list(self.left_out),
            "optimizer": str(training.optimizer),
            "loss_scale": "auto" if scale is None else scale,
            "trained": list(self.trained),
            "frozen": list(self.frozen),
            "unreached": list(self.unreached),
            "classes": self.classes,
            **(noted if training.recompute else {}),
        }


def training_graph(model: Graph, training: Training) -> TrainingGraph:
    """Make the graph of one training step of a model.

    Args:
        model: as it was read; nothing is folded or removed yet.
        training: loss, optimizer, what is trained.

    Raises:
        UnsupportedOp: operators between weights and loss have no gradient.
        OptionError: nothing is trainable, or an option names what does not exist.
        ShapeError: the loss does not fit the model's output.
    """
    graph = raised(prepare_training(in_training_mode(model)), OPSET)
    weights = trained(graph, training)
    frozen = tuple(name for name in parameters(graph) if name not in weights)
    forward = list(graph.nodes)
    layers = _layers(graph, weights)
    write = GraphWriter(graph)
    first = training.loss if training.loss in graph.outputs else graph.outputs[0]
    left_out = tuple(name for name in graph.outputs if name != first)
    upstream, scale = add_loss(write, training)
    write.layer_pass = "backward"
    gradients = differentiate(write, forward, upstream, weights)
    if not gradients:
        raise OptionError(
            "the loss depends on no weight that is trained",
            where="--train",
            fix="freeze fewer weights, or name another loss",
        )
    scaling = adjust_scale(write, scale, gradients, layers)
    if training.optimizer.name == "none":
        _give_gradients(write, gradients, scaling.scale, layers)
    else:
        add_updates(write, training.optimizer, gradients, scaling, layers)
    label_passes(graph)
    graph = tidy(graph)
    again = recompute(graph, training.recompute)
    fuse_updates(graph)
    schedule(graph)
    drop_unused(graph)
    graph.check()
    unreached = tuple(name for name in weights if name not in gradients)
    (loss_of,) = upstream
    classes = graph.types[loss_of].shape[1] if training.loss == CROSS_ENTROPY else None
    names = (tuple(gradients), frozen, unreached)
    return TrainingGraph(graph, *names, loss_of, left_out, classes, again)


def _layers(graph: Graph, weights: list[str]) -> dict[str, str]:
    """The first node that reads each weight."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        for name in node.inputs:
            if name in weights:
                found.setdefault(name, node.layer_name)
    return found


def _give_gradients(
    write: GraphWriter, gradients: Mapping[str, str], scale: str, layers: Mapping[str, str]
) -> None:
    """Make the gradients outputs, "grad/NAME", without the loss scale."""
    write.layer_pass = "backward"
    known = write.known(scale)
    for name, gradient in gradients.items():
        write.layer = layers[name]
        if known is not None and known == 1:
            made = write.op("Identity", gradient, name=f"grad/{name}")
        else:
            made = write.own("Unscaled", gradient, scale, name=f"grad/{name}")
        write.graph.outputs.append(made)
