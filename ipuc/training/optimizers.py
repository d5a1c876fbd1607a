"""Optimizers: from gradients to new weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ipuc.graph.bodies import DOMAIN
from ipuc.graph.ir import State
from ipuc.ops.writer import GraphWriter
from ipuc.training.options import Optimizer
from ipuc.training.scaling import Scaling, become, hold

#: The number of steps done, a state of the optimizers that need it.
STEP = "optimizer/step"
#: What Adam's updates share in a step; see the operator AdamFactors.
FACTORS = "optimizer/factors"


def add_updates(
    write: GraphWriter,
    optimizer: Optimizer,
    gradients: Mapping[str, str],
    scaling: Scaling,
    layers: Mapping[str, str],
) -> None:
    """Write the update of every weight, and make weights and the optimizer's state `state`.

    Args:
        write: of the graph, of which the weights are constants so far.
        optimizer: how.
        gradients: of each weight, times the loss scale.
        scaling: the loss scale, and whether the step may be taken.
        layers: the forward node to which each weight belongs.
    """
    write.layer_pass = "weight update"
    numbers = {key.replace("-", "_"): value for key, value in optimizer.numbers.items()}
    for name, gradient in gradients.items():
        write.layer = layers[name]
        _WRITERS[optimizer.name](write, name, gradient, scaling, numbers)


def _sgd(
    write: GraphWriter, name: str, gradient: str, scaling: Scaling, numbers: Mapping[str, float]
) -> None:
    _update(
        write,
        "SgdUpdate",
        name,
        (),
        (gradient, scaling.scale, scaling.go),
        {"rate": numbers["lr"], "decay": numbers["weight_decay"]},
    )


def _momentum(
    write: GraphWriter, name: str, gradient: str, scaling: Scaling, numbers: Mapping[str, float]
) -> None:
    attributes = {
        "rate": numbers["lr"],
        "momentum": numbers["momentum"],
        "decay": numbers["weight_decay"],
    }
    rest = (gradient, scaling.scale, scaling.go)
    _update(write, "MomentumUpdate", name, ("momentum",), rest, attributes)


def _adam(
    write: GraphWriter, name: str, gradient: str, scaling: Scaling, numbers: Mapping[str, float]
) -> None:
    _adam_like(write, name, gradient, scaling, numbers, pull=numbers["weight_decay"], keep=1.0)


def _adamw(
    write: GraphWriter, name: str, gradient: str, scaling: Scaling, numbers: Mapping[str, float]
) -> None:
    keep = 1.0 - numbers["lr"] * numbers["weight_decay"]
    _adam_like(write, name, gradient, scaling, numbers, pull=0.0, keep=keep)


def _adam_like(
    write: GraphWriter,
    name: str,
    gradient: str,
    scaling: Scaling,
    numbers: Mapping[str, float],
    *,
    pull: float,
    keep: float,
) -> None:
    shares = {"share1": 1.0 - numbers["beta1"], "share2": 1.0 - numbers["beta2"]}
    attributes = {**shares, "eps": numbers["eps"], "pull": pull, "keep": keep}
    if FACTORS not in write.graph.types:
        _count_steps(write, scaling, {"rate": numbers["lr"], **shares})
    rest = (gradient, FACTORS, scaling.go)
    _update(write, "AdamUpdate", name, ("first moment", "second moment"), rest, attributes)


def _count_steps(write: GraphWriter, scaling: Scaling, attributes: Mapping[str, float]) -> None:
    """Write the count of steps taken, and what depends on it, once for all weights."""
    layer, write.layer = write.layer, ""
    hold(write, STEP, np.asarray(0.0, np.float32))
    # go is 1, or 0 for a step that does not happen
    become(write, STEP, write.op("Add", STEP, scaling.go, name=f"new/{STEP}"))
    counted = write.graph.state[STEP].output
    write.own("AdamFactors", counted, scaling.scale, name=FACTORS, **attributes)
    write.layer = layer


def _update(
    write: GraphWriter,
    op: str,
    name: str,
    slots: Sequence[str],
    rest: Sequence[str],
    attributes: Mapping[str, float],
) -> None:
    """Write the update of one weight."""
    graph = write.graph
    initial = graph.constants.pop(name)
    held = [f"{slot}/{name}" for slot in slots]
    for slot in held:
        # float32 also where weights are halves, which could not hold a square of 1e-8
        hold(write, slot, np.zeros(initial.shape, np.float32))
    made = write.ops(
        op,
        name,
        *held,
        *rest,
        names=[f"new/{one}" for one in (name, *held)],
        domain=DOMAIN,
        **attributes,
    )
    graph.state[name] = State(made[0], initial)
    for slot, new in zip(held, made[1:], strict=True):
        become(write, slot, new)


_WRITERS = {"sgd": _sgd, "momentum": _momentum, "adam": _adam, "adamw": _adamw}
