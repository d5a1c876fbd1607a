"""The loss scale: what keeps small gradients above the smallest half.

With a scale that adjusts itself, every gradient is held to be finite. If one is not, no weight
and no state of the optimizer changes, and the scale halves; after many good steps it doubles.
Source of the rule: Micikevicius et al., Mixed Precision Training (2018), 3.2; the numbers are
those of PyTorch's GradScaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import State, constant_type
from ipuc.ops.writer import GraphWriter

#: Names of the values that hold the scale, and the good steps since it changed.
LOSS_SCALE, GOOD_STEPS = "loss scale", "good steps"
#: Where a scale that adjusts itself begins: of one image, the largest gradient of cross-entropy
#: is this, which a half nearly holds.
FIRST = 65536.0
#: The least and the greatest; beyond them a scale helps no format that there is.
LEAST, GREATEST = 1.0, 2.0**30
#: Good steps after which the scale doubles.
PATIENCE = 2000


@dataclass(frozen=True, slots=True)
class Scaling:
    """Values of a training graph.

    Attributes:
        scale: by which gradients are too large; a float32 scalar.
        go: 1 if the step is taken, 0 if not; a float32 scalar, a constant if that is known.
    """

    scale: str
    go: str


def hold(write: GraphWriter, name: str, initial: NDArray[Any]) -> None:
    """Add a state in its own type, which becomes itself until its update is written."""
    write.graph.types[name] = constant_type(initial)
    write.graph.state[name] = State(name, initial, wide=True)


def become(write: GraphWriter, name: str, new: str) -> None:
    """Say what a state becomes."""
    write.graph.state[name] = State(new, write.graph.state[name].initial, wide=True)


def begin_scale(write: GraphWriter, scale: float | None) -> str:
    """Add the loss scale: a constant, or a state if it adjusts itself (None)."""
    if scale is not None:
        return write.constant(np.asarray(scale, np.float32), LOSS_SCALE)
    hold(write, LOSS_SCALE, np.asarray(FIRST, np.float32))
    return LOSS_SCALE


def adjust_scale(
    write: GraphWriter, scale: str, gradients: Mapping[str, str], layers: Mapping[str, str]
) -> Scaling:
    """Write what holds the gradients to be finite, and what the scale becomes.

    Args:
        write: of the graph; its layer is lost.
        scale: from `begin_scale`.
        gradients: of each weight, times the scale.
        layers: the forward node to which each weight belongs.
    """
    if scale not in write.graph.state:
        return Scaling(scale, write.constant(np.asarray(1.0, np.float32), "go"))
    write.layer_pass = "weight update"
    sums = []
    for name, gradient in gradients.items():
        write.layer = layers[name]
        sums.append(write.own("FiniteCheck", gradient))
    write.layer = ""
    lost = write.op("IsNaN", write.reduced(write.op("Concat", *sums, axis=0), [0], keep=False))
    fine = write.op("Not", lost)
    go = write.op("Cast", fine, to=_FLOAT, name="go")
    _adjust(write, scale, fine)
    return Scaling(scale, go)


def _adjust(write: GraphWriter, scale: str, fine: str) -> None:
    """Halve the scale after a bad step, double it after many good ones."""

    def number(value: float) -> str:
        return write.scalar(value, scale)

    hold(write, GOOD_STEPS, np.asarray(0.0, np.float32))
    count = write.op("Add", GOOD_STEPS, number(1.0))
    enough = write.op("GreaterOrEqual", count, number(PATIENCE))
    rest = write.op("Where", enough, number(0.0), count)
    good = write.op("Where", fine, rest, number(0.0), name=f"new/{GOOD_STEPS}")
    become(write, GOOD_STEPS, good)
    doubled = write.op("Min", write.mul(scale, number(2.0)), number(GREATEST))
    halved = write.op("Max", write.mul(scale, number(0.5)), number(LEAST))
    grown = write.op("Where", enough, doubled, scale)
    become(write, scale, write.op("Where", fine, grown, halved, name=f"new/{scale}"))


#: ONNX's number for float32 (TensorProto.FLOAT).
_FLOAT = 1
