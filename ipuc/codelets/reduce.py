"""Reduce: combine the elements of some window axes into one."""

from __future__ import annotations

import functools
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
        partials: element type of `x`, where it is not that of `out`.
        layout: how the operand lies, which decides between popops' vertices: "strided": rows of
            whole vectors; "continuous": what is combined into one output lies together; "default":
            anything else; "scalar": operations without vector code.

    Source: PopLibs popops, CycleEstimationFunctions.cpp, cycles of one worker. Where all workers of
    a tile run one vertex they share the outputs, or the rows of a single output, which one more
    pass combines.
    """

    op: str
    axes: int = 1
    square: bool = False
    partials: str = ""
    layout: str = "strided"

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

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the result; the operand's may be narrower."""
        return sizes["out"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex; `itemsize` is the output's."""
        workers = target.worker_contexts
        kept = np.asarray(elements(windows["out"]))
        shape = windows["x"][len(windows["x"]) - self.axes :]
        rows = np.asarray(elements(shape))
        mine = ceil_div(kept, workers)
        each = self._worker(target, mine, rows, shape, itemsize)
        # All workers of a tile may share the rows of a single output, and then combine.
        shared = ceil_div(rows, workers)
        alone = self._single(target, shared, itemsize) + 17
        best = np.where((kept <= 1) & (workers > 1), np.minimum(each, alone), each)
        chosen = workers * best
        return int(chosen) if chosen.ndim == 0 else chosen

    def _worker(
        self, target: Target, columns: Number, rows: Number, shape: tuple[Number, ...], size: int
    ) -> Number:
        """Cycles of one worker that combines `rows` rows of some columns."""
        if self.layout == "strided":
            inner = functools.reduce(np.maximum, shape, np.asarray(1))
            return self._strided(target, columns, inner, rows // np.maximum(inner, 1), size)
        if self.layout == "continuous":
            many = 17 + columns * (12 + rows // self._vector(target, size))
            return np.where(columns == 1, self._single(target, rows, size), many)
        if self.layout == "scalar":
            return 7 + 24 + 8 + 22 + 26 * columns * rows
        return self._default(target, columns, rows, size)

    def _input_size(self, size: int) -> int:
        return np.dtype(self.partials).itemsize if self.partials else size

    def _vector(self, target: Target, size: int) -> int:
        """Elements of the operand in one load."""
        return target.vector_width(self._input_size(size))

    def _strided(
        self, target: Target, columns: Number, rows: Number, outer: Number, size: int
    ) -> Number:
        """Rows of vectors a stride apart: a loop over vectors of columns, one over rows."""
        added = self.op == "sum"
        if self._input_size(size) >= 4:
            store = 5 if added else 4
        else:
            store = 7 if added and size >= 4 else 8
        loop = 3 + store + outer * (3 + rows - 1)
        return 16 + ceil_div(columns, self._vector(target, size)) * loop

    def _single(self, target: Target, rows: Number, size: int) -> Number:
        """One output from elements that lie together."""
        vector = self._vector(target, size)
        return 17 + rows // vector + rows % (2 * vector) + (0 if size >= 4 else 5)

    def _default(self, target: Target, columns: Number, rows: Number, size: int) -> Number:
        """Rows anywhere, each an edge of its own; columns by vectors, then by powers of two."""
        load, store = self._vector(target, size), target.vector_width(size)
        wide = 2 * load if self.op == "sum" else load
        checks = wide.bit_length() - 1
        total = (
            33
            + 24
            + 2 * checks
            + (columns // wide) * (7 + 2 * min(wide, store) + rows * (10 + 4 + wide // load + 3))
        )
        for bit in range(checks):
            left = 1 << bit
            cycles = 5 + 2 * min(left, store) + rows * (10 + 5 + ceil_div(left, load))
            total = total + ((columns & left) > 0) * cycles
        return total

    def flops(self, windows: Mapping[str, tuple[int, ...]]) -> int:
        """One operation for each element combined."""
        return math.prod(windows["x"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on rows, each layout, single outputs, halves, integers, truth values."""
        rows = {"x": (3, 4), "out": (3,)}
        taller = {"x": (5, 9), "out": (5,)}
        signs = {"x": "bool", "out": "bool"}
        halves = {"x": "float16", "out": "float16"}
        together = {"x": (3, 8), "out": (3,)}
        longer = {"x": (9, 64), "out": (9,)}
        layouts = ("continuous", "default", "scalar")
        return (
            *(Example(cls(op), rows, larger=taller) for op in ("sum", "prod", "max", "min")),
            *(Example(cls(op), rows, signs, larger=taller) for op in ("and", "or")),
            Example(cls("sum", 2, square=True), {"x": (3, 4), "out": ()}),
            Example(cls("sum"), rows, halves, larger=taller),
            Example(cls("max"), rows, {"x": "int32", "out": "int32"}, larger=taller),
            *(
                Example(cls("max", layout=kind), together, halves, larger=longer)
                for kind in layouts
            ),
            Example(
                cls("sum", 2, partials="float16"),
                {"x": (3, 5, 4), "out": (3,)},
                {"x": "float16", "out": "float32"},
                larger={"x": (6, 9, 8), "out": (6,)},
            ),
        )


def _keep(x: Array) -> dict[str, Any]:
    return {"dtype": x.dtype} if x.dtype.kind in "iu" else {}
