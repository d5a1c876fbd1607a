"""CalcLoss: softmax cross-entropy and its gradient, of a whole batch in one vertex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.codelets.loops import BINARY, UNARY, fused
from ipuc.target import Target
from ipuc.types import Shape

#: Floats of a 64-bit word, on which the loops below work; halves become floats first.
_WORD = 2
#: For a word: greatest element; subtract, e to that, sum; times the inverse sum, and the factor.
_LOOPS = sum(
    loop[0][0] for loop in (BINARY["max"], fused("add", "exp", "add"), fused("add", "add"))
)
#: For a row: inverse of the sum, logarithm, three loops begun, the wanted class picked out.
_ROW = UNARY["inverse"][0][0] + UNARY["log"][0][0] + 3 * 5 + 10


@dataclass(frozen=True)
class CalcLoss(Codelet):
    """The mean over a batch of -log softmax(activations)[label], and its gradient.

    activations: [batch, classes]; labels: [batch]; deltas = factor * (softmax(activations) -
    one-hot(labels)): [batch, classes]; loss: a scalar; correct: in how many rows the greatest
    activation is that of the label. All is computed in float32, and rounded once. A label that is
    no class is of no row: it adds nothing to the loss.

    Attributes:
        factor: by which the gradient is multiplied: loss scale by rows of the batch.

    Source: the loss of PopLibs, winter 2016/17, was one vertex with these fields. Its cycles are
    our own estimate: 20 worker cycles, and for each row the loops of PopLibs
    popopsCycleEstimators.cpp one after another, on floats, and 43 around them.
    """

    factor: float

    name: ClassVar[str] = "CalcLoss"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        In("activations", list_axes=1),
        In("labels"),
        Out("deltas", list_axes=1),
        Out("loss"),
        Out("correct"),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Softmax along the classes, with the greatest shifted to 0."""
        del batch
        scores, labels = operands["activations"], operands["labels"]
        shifted = scores - scores.max(axis=-1, keepdims=True)
        likely = np.exp(shifted)
        total = likely.sum(axis=-1, keepdims=True)
        likely /= total
        wanted = np.arange(scores.shape[-1], dtype=labels.dtype) == labels[..., None]
        each = np.where(wanted, np.log(total) - shifted, np.float32(0)).sum(axis=-1)
        correct = scores.argmax(axis=-1) == labels
        return {
            "deltas": (likely - wanted.astype(np.float32)) * np.float32(self.factor),
            "loss": each.mean(axis=-1, dtype=np.float32),
            "correct": correct.sum(axis=-1, dtype=np.int32),
        }

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        rows, classes = windows["activations"]
        return target.worker_contexts * (20 + rows * (_ROW + ceil_div(classes, _WORD) * _LOOPS))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A comparison, two subtractions, an exponential, a sum and two products each."""
        rows, classes = windows["activations"]
        return 7 * rows * classes

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row; a batch of halves."""
        kinds = {"labels": "int32", "correct": "int32"}
        made = []
        for rows, classes, halves in ((1, 5, False), (3, 4, True)):
            shape = (rows, classes)
            windows: dict[str, Shape] = {"activations": shape, "labels": (rows,), "deltas": shape}
            windows |= {"loss": (), "correct": ()}
            types = dict.fromkeys(("activations", "deltas"), "float16") if halves else {}
            made.append(Example(cls(0.25), windows, kinds | types, {"labels": (0, classes - 1)}))
        return tuple(made)
