"""Reduce: combine the elements of some window axes into one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape

KINDS: dict[str, Callable[..., Any]] = {
    "sum": np.add.reduce,
    "prod": np.multiply.reduce,
    "max": np.maximum.reduce,
    "min": np.minimum.reduce,
    "and": np.logical_and.reduce,
    "or": np.logical_or.reduce,
}


@dataclass(frozen=True)
class Reduce(Codelet):
    """Combine `axes` trailing axes of the window `x` into the window `out`.

    x: [*kept, *reduced]; out: [*kept]. Sums are kept in float32 until they are stored.

    Attributes:
        op: a key of `KINDS`.
        axes: number of trailing window axes of `x` that disappear.
        square: square each element first (ReduceSumSquare).

    Source: PopLibs popops reduction, strided form, per worker: 16 + ceil(C / v) * (3 + 5 + 3 + P -
    1), rows P reduced, columns C kept; where one output remains, 17 + N / v + N mod 2v. Six workers
    share the outputs, or the rows of a single output, which one more pass combines.
    """

    op: str
    axes: int = 1
    square: bool = False

    name: ClassVar[str] = "Reduce"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Combine the trailing axes."""
        del batch
        x = operands["x"]
        if self.square:
            x = x * x
        axes = tuple(range(x.ndim - self.axes, x.ndim))
        if x.dtype.kind == "f" and self.op == "sum":
            return {"out": x.sum(axis=axes, dtype=np.float32)}
        return {"out": KINDS[self.op](x, axis=axes, **_keep(x))}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The axes that stay."""
        return pointwise(windows, ("out", "x"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        kept = elements(windows["out"])
        total = elements(windows["x"])
        rows = total // np.maximum(kept, 1)
        width = target.vector_width(itemsize)
        columns = ceil_div(ceil_div(kept, workers), width)
        strided = workers * (16 + columns * (3 + 5 + 3 + rows - 1))
        per_worker = ceil_div(total, workers)
        single = workers * (17 + ceil_div(per_worker, width) + 2 * width) + workers * 17
        chosen = np.where(np.asarray(kept) <= 1, np.minimum(single, strided), strided)
        return int(chosen) if chosen.ndim == 0 else chosen

    def flops(self, windows: Mapping[str, tuple[int, ...]]) -> int:
        """One operation for each element combined."""
        return math.prod(windows["x"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on rows, a single output, halves, integers and truth values."""
        rows = {"x": (3, 4), "out": (3,)}
        taller = {"x": (5, 9), "out": (5,)}
        signs = {"x": "bool", "out": "bool"}
        return (
            *(Example(cls(op), rows, larger=taller) for op in ("sum", "prod", "max", "min")),
            *(Example(cls(op), rows, signs, larger=taller) for op in ("and", "or")),
            Example(cls("sum", 2, square=True), {"x": (3, 4), "out": ()}),
            Example(cls("sum"), rows, {"x": "float16", "out": "float16"}, larger=taller),
            Example(cls("max"), rows, {"x": "int32", "out": "int32"}, larger=taller),
        )


def _keep(x: Array) -> dict[str, Any]:
    return {"dtype": x.dtype} if x.dtype.kind in "iu" else {}
