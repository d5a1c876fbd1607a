"""Optimizers: from gradients to new weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import State, constant_type
from ipuc.ops.writer import GraphWriter
from ipuc.training.options import Optimizer

#: The number of steps done, a state of the optimizers that need it.
STEP = "optimizer/step"


def add_updates(
    write: GraphWriter,
    optimizer: Optimizer,
    gradients: Mapping[str, str],
    scale: str,
    layers: Mapping[str, str],
) -> None:
    """Write the update of every weight, and make weights and the optimizer's state `state`.

    Args:
        write: of the graph, of which the weights are constants so far.
        optimizer: how.
        gradients: of each weight, times the loss scale.
        scale: the loss scale, a scalar.
        layers: the forward node to which each weight belongs.
    """
    graph = write.graph
    write.layer_pass = "weight update"
    step = ""
    if optimizer.name in ("adam", "adamw") and gradients:
        write.layer = ""
        _hold(write, STEP, np.asarray(0.0, np.float32))
        step = write.op("Add", STEP, write.scalar(1.0, STEP), name=f"new/{STEP}")
        graph.state[STEP] = State(step, graph.state[STEP].initial)
    for name, gradient in gradients.items():
        write.layer = layers[name]
        initial = graph.constants.pop(name)
        numbers = {key.replace("-", "_"): value for key, value in optimizer.numbers.items()}
        rate, decay = numbers.pop("lr"), numbers.pop("weight_decay")
        slots = [f"{slot}/{name}" for slot in _SLOTS[optimizer.name]]
        for slot in slots:
            _hold(write, slot, np.zeros_like(initial))
        extra = {"decoupled": int(optimizer.name == "adamw")} if slots[1:] else {}
        made = write.ops(
            _OPS[optimizer.name],
            name,
            *slots,
            gradient,
            scale,
            *([step] if step else []),
            names=[f"new/{one}" for one in (name, *slots)],
            domain="ai.ipuc",
            rate=rate,
            decay=decay,
            **numbers,
            **extra,
        )
        graph.state[name] = State(made[0], initial)
        for slot, new in zip(slots, made[1:], strict=True):
            graph.state[slot] = State(new, graph.state[slot].initial)


_OPS = {
    "sgd": "SgdUpdate",
    "momentum": "MomentumUpdate",
    "adam": "AdamUpdate",
    "adamw": "AdamUpdate",
}
_SLOTS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "adam": ("first moment", "second moment"),
    "adamw": ("first moment", "second moment"),
}


def _hold(write: GraphWriter, name: str, initial: NDArray[Any]) -> None:
    """Add a state, which becomes itself until its update is written."""
    write.graph.types[name] = constant_type(initial)
    write.graph.state[name] = State(name, initial)
