"""MatMulPartial: a block of a matrix product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles, grouped_product
from ipuc.codelets.conv_vertex import vectors
from ipuc.codelets.cycles import amp, mac
from ipuc.codelets.cycles.amp import Block
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
)
from ipuc.codelets.half_sums import accumulate, groups
from ipuc.errors import ProgramError
from ipuc.target import Target
from ipuc.types import Shape

#: What `MatMulPartial` offers, in the planner's words.
METHODS = ("AMP", "HMAC", "OUTER_PRODUCT")
#: What programs of earlier versions call them.
_OLDER = {"amp": "AMP", "mac": "HMAC"}


@dataclass(frozen=True)
class MatMulPartial(Codelet):
    """out = a @ b for a block of rows, columns and depth.

    a: [*batch, m, k], b: [*batch, k, n], out: [*batch, m, n]. It is a convolution with a kernel of
    one element, whose groups are the batch and whose input channels are the depth.

    Attributes:
        method: "AMP" uses the matrix unit, "HMAC" makes dot products with the vector unit,
            "OUTER_PRODUCT" multiplies a column by a row: its depth is 1.
        partials: element type of the sums. Halves are rounded each time the hardware adds to them:
            for each group of the depth.
        in_group: depth that the vertex takes at once; 0: as much as it can.
        out_group: output channels that it makes at once; 0: as many as it can.
        swap: which operand is held as weights. False: `b` is, and the rows of `a` are the field;
            True: `a` is, and the columns of `b` are the field; None: the longer of rows and columns
            is the field.

    Raises:
        ProgramError: no such method.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartial1x1Out, ConvPartialnx1,
    ConvPartialHorizontalMac, OuterProduct), MatMul.cpp.
    """

    method: str
    partials: str = "float32"
    in_group: int = 0
    out_group: int = 0
    swap: bool | None = None

    def __post_init__(self) -> None:
        method = _OLDER.get(self.method, self.method)
        if method not in METHODS:
            raise ProgramError(
                f'{self.name} has no method "{method}"', fix=f"take one of {', '.join(METHODS)}"
            )
        object.__setattr__(self, "method", method)

    name: ClassVar[str] = "MatMulPartial"
    multiplies: ClassVar[bool] = True
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("a"), In("b"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, merging grid axes into few products."""
        inner = len(batch.windows["out"]) - 2
        a, b = operands["a"], operands["b"]
        grid = (*batch.grid, *batch.windows["out"][:inner])
        if self.partials == "float16":
            products = (
                grouped_product(a[..., k], b[..., k, :], grid, left_rows=1, right_columns=1)
                for k in groups(a.shape[-1], self._in_group(a.shape[-1], 2))
            )
            return {"out": accumulate(batch, "out", products)}
        into = batch.into.get("out")
        return {"out": grouped_product(a, b, grid, left_rows=1, right_columns=1, into=into)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Rows, columns and batches."""
        rank = len(windows["out"])
        batches = (FreeAxis({"a": d, "b": d, "out": d}) for d in range(rank - 2))
        return (
            FreeAxis({"b": rank - 1, "out": rank - 1}),
            FreeAxis({"a": rank - 2, "out": rank - 2}),
            *batches,
        )

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["a"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        *batch, m, k = windows["a"]
        n = windows["b"][-1]
        field, outs = self._sides(m, n)
        partial = np.dtype(self.partials).itemsize
        in_group, out_group = self._in_group(k, itemsize), self._out_group(target, itemsize)
        block = Block(
            rows=1,
            width=field,
            outputs=field,
            groups=elements(tuple(batch)),
            in_groups=ceil_div(k, in_group),
            in_group=in_group,
            out_groups=ceil_div(outs, out_group),
            out_group=out_group,
            kernel=(1, 1),
        )
        if self.method == "OUTER_PRODUCT":
            made = mac.outer_product(target, block, itemsize)
        elif self.method == "HMAC":
            single = itemsize == 2 and partial >= 4
            made = mac.horizontal(target, block, itemsize, partial, single=single).total
        elif in_group == amp.weights_per_unit(itemsize):
            made = amp.one_by_one(target, block, itemsize, partial).total
        else:
            made = amp.nx1(target, block, itemsize, partial).total
        return as_cycles(made)

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """As the convolution's vertices: a vector for each group of channels, or pair of them."""
        *batch, m, k = windows["a"]
        _, outs = self._sides(m, windows["b"][-1])
        out_groups = ceil_div(outs, self.out_group or (8 if self.on_matrix_unit else 1))
        return vectors(math.prod(batch), ceil_div(k, self._in_group(k, 4)), int(out_groups))

    def _sides(self, rows: Number, columns: Number) -> tuple[Number, Number]:
        """Length of the field, and number of output channels."""
        if self.swap is None:
            return np.maximum(rows, columns), np.minimum(rows, columns)
        return (columns, rows) if self.swap else (rows, columns)

    def _in_group(self, depth: Number, itemsize: int) -> Any:
        """Depth that the vertex takes at once."""
        if self.method == "OUTER_PRODUCT":
            return 1
        return self.in_group or (amp.weights_per_unit(itemsize) if self.on_matrix_unit else depth)

    def _out_group(self, target: Target, itemsize: int) -> int:
        """Output channels that it makes at once."""
        partial = np.dtype(self.partials).itemsize
        most = {
            "AMP": amp.conv_units(target, itemsize, partial),
            "HMAC": 1 if partial >= 4 else 2,
            "OUTER_PRODUCT": target.vector_width(itemsize),
        }
        return self.out_group or most[self.method]

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """The field is one row, cut into a piece for each worker."""
        del windows, itemsize
        return 0 if self.method == "OUTER_PRODUCT" else workers

    @property
    def on_matrix_unit(self) -> bool:
        """Whether the vertex uses the matrix unit."""
        return self.method == "AMP"

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        return 2 * math.prod(windows["a"]) * windows["b"][-1]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each method on one product and on a batch of them, either way, and sums in halves."""
        halves = dict.fromkeys(("a", "b", "out"), "float16")
        small = {"a": (2, 5), "b": (5, 3), "out": (2, 3)}
        stack = {name: (2, *window) for name, window in small.items()}
        deep = {"a": (2, 40), "b": (40, 3), "out": (2, 3)}
        row = {"a": (7, 1), "b": (1, 4), "out": (7, 4)}
        return (
            *(Example(cls(method), w) for method in ("HMAC", "AMP") for w in (small, stack)),
            Example(cls("AMP", "float16", swap=True), deep, halves),
            Example(cls("AMP", "float16", 4, 8, swap=False), deep, halves),
            Example(cls("HMAC", "float16", 10, 2, swap=True), deep, halves),
            Example(cls("OUTER_PRODUCT", in_group=1, out_group=2, swap=False), row),
        )
