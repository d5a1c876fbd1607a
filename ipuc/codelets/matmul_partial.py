"""MatMulPartial: a block of a matrix product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import (
    as_cycles,
    grouped_product,
    horizontal_mac_cycles,
    matrix_unit_cycles,
)
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
    elements,
)
from ipuc.codelets.half_sums import accumulate, groups
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MatMulPartial(Codelet):
    """out = a @ b for a block of rows, columns and depth.

    a: [*batch, m, k], b: [*batch, k, n], out: [*batch, m, n].

    Attributes:
        method: "mac" multiplies rows by columns with the vector unit (HorizontalMac); "amp" uses
            the matrix unit, with the larger of m and n as its field (ConvPartial1x1).
        partials: element type of the sums. The matrix unit adds to sums in halves after every 16
            products and rounds each time; the vector unit has float32 accumulators.

    Source: PopLibs poplin PerformanceEstimation.hpp (a matrix product is a 1x1 convolution).
    """

    method: str
    partials: str = "float32"

    name: ClassVar[str] = "MatMulPartial"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("a"), In("b"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, merging grid axes into few products."""
        inner = len(batch.windows["out"]) - 2
        a, b = operands["a"], operands["b"]
        grid = (*batch.grid, *batch.windows["out"][:inner])
        if self.method == "amp" and self.partials == "float16":
            products = (
                grouped_product(a[..., k], b[..., k, :], grid, left_rows=1, right_columns=1)
                for k in groups(a.shape[-1])
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
        repeats = elements(tuple(batch))
        if self.method == "mac":
            one = horizontal_mac_cycles(target.worker_contexts, m, n, k, itemsize)
        else:
            halves = self.partials == "float16"
            either = (
                matrix_unit_cycles(target, *mn, k, itemsize, half_sums=halves)
                for mn in ((m, n), (n, m))
            )
            one = np.minimum(*either)
        return as_cycles(one * repeats)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        return 2 * math.prod(windows["a"]) * windows["b"][-1]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Either method on one product, and on a batch of them, and sums in halves."""
        halves = dict.fromkeys(("a", "b", "out"), "float16")
        return (
            *(
                Example(cls(method), {"a": (*lead, 2, 5), "b": (*lead, 5, 3), "out": (*lead, 2, 3)})
                for method in ("mac", "amp")
                for lead in ((), (2,))
            ),
            Example(cls("amp", "float16"), {"a": (2, 40), "b": (40, 3), "out": (2, 3)}, halves),
        )
