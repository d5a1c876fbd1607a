"""LocalResponse: divide each element by a power of the energy of the channels around it."""

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
    elements,
)
from ipuc.codelets.loops import fused
from ipuc.target import Target


@dataclass(frozen=True)
class ChannelWork(Codelet):
    """A vertex type that reads `before` channels ahead of the first one it writes."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0
    before: int = 0

    @property
    def lead(self) -> int:
        """Channels of a neighbourhood ahead of its own."""
        return (self.size - 1) // 2

    @property
    def power(self) -> tuple[str, ...]:
        """Steps of taking the power: 3/4 is two square roots."""
        return ("sqrt", "sqrt", "add") if self.beta == 0.75 else ("pow",)

    def level(self, x: Array, count: int, ahead: int) -> Array:
        """Bias + alpha / size * energy of `count` neighbourhoods, whose own begin at `ahead`."""
        energy = neighbours(x * x, count, ahead - self.lead, self.size)
        energy *= self.alpha / self.size
        energy += self.bias
        return energy

    def raised(self, level: Array) -> Array:
        """Level ** beta."""
        if self.beta == 0.75:
            root = np.sqrt(level)
            root *= np.sqrt(root)
            return root
        return np.asarray(level**self.beta)


def neighbours(values: Array, count: int, begin: int, size: int) -> Array:
    """Sums of `size` values along the first axis; the first sum begins at `begin`.

    Values before the first and behind the last do not exist.
    """
    sums = np.zeros((count, *values.shape[1:]), values.dtype)
    for neighbour in range(size):
        at = begin + neighbour
        first, last = max(0, -at), min(count, len(values) - at)
        if first < last:
            sums[first:last] += values[first + at : last + at]
    return sums


@dataclass(frozen=True)
class LocalResponse(ChannelWork):
    """out = x / (bias + alpha / size * sum of x ** 2 over neighbouring channels) ** beta.

    x: [channels read, *positions]; out: [channels written, *positions]. The channels read begin
    `before` channels ahead of those written; channels beyond those read do not exist.

    Attributes:
        size: channels in a neighbourhood, floor((size - 1) / 2) of them ahead of its own.
        alpha: weight of the mean square.
        beta: the power.
        bias: added to the mean square.
        before: channels read ahead of the first one written.

    Source: our own estimate: a fused map expression in UnaryOp1D's frame: a square, `size`
    additions, a multiply-add, a power, a division; 3/4 as a power is two square roots.
    """

    name: ClassVar[str] = "LocalResponse"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add up the squares of the neighbourhood, one neighbour at a time."""
        x = np.moveaxis(operands["x"], batch.axes, 0)
        written = batch.windows["out"][0]
        level = self.level(x, written, self.before)
        own = x[self.before : self.before + written]
        return {"out": np.moveaxis(own / self.raised(level), 0, batch.axes)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        loops = fused("square", *("add",) * (self.size + 1), *self.power, "div")
        cost, each = loops[0] if itemsize >= 4 else loops[1]
        per_worker = ceil_div(elements(windows["out"]), target.worker_contexts)
        return target.worker_contexts * (17 + ceil_div(per_worker, each) * cost) + 20

    def flops(self, windows: Mapping[str, tuple[int, ...]]) -> int:
        """A multiply-add for each neighbour, a power and a division."""
        return (2 * self.size + 4) * int(elements(windows["out"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Inside, at both borders, all channels at once, an even size, another power."""
        return (
            Example(cls(3, 0.5, before=1), {"x": (5, 2), "out": (3, 2)}),
            Example(cls(3, 0.5, before=0), {"x": (4, 2), "out": (3, 2)}),
            Example(cls(3, 0.5, before=1), {"x": (4, 2), "out": (3, 2)}),
            Example(cls(4, 0.5, 0.6, 2.0), {"x": (3, 2, 2), "out": (3, 2, 2)}),
        )
