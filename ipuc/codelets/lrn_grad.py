"""LocalResponseGrad: the gradient of LocalResponse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Example,
    FieldSpec,
    In,
    Number,
    Out,
    ceil_div,
    elements,
)
from ipuc.codelets.loops import fused
from ipuc.codelets.lrn import ChannelWork, neighbours
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class LocalResponseGrad(ChannelWork):
    """out = dy / s ** beta - 2 * alpha * beta / size * x * sum of dy * x / s ** (beta + 1).

    s is bias + alpha / size * energy of a channel's neighbourhood; the sum is over the channels
    whose neighbourhoods hold this one. x: [channels read, *positions], `before` of them ahead of
    those written: up to size - 1; dy: those of the sums; out: [channels written, *positions].

    Attributes:
        size: channels in a neighbourhood, floor((size - 1) / 2) of them ahead of its own.
        alpha: weight of the mean square.
        beta: the power.
        bias: added to the mean square.
        before: channels of x read ahead of the first one written.

    Source: our own estimate: fused map expressions in UnaryOp1D's frame. For each channel of the
    sums, what LocalResponse does, a multiplication and a division; for each one written, `size`
    additions, a multiplication and a subtraction.
    """

    name: ClassVar[str] = "LocalResponseGrad"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("dy"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """The powers of all channels of the sums, then the sums, one neighbour at a time."""
        x, dy = (np.moveaxis(operands[name], batch.axes, 0) for name in ("x", "dy"))
        written, trail = batch.windows["out"][0], self.size - 1 - self.lead
        ahead = min(self.before, trail)
        begin = self.before - ahead
        level = self.level(x, len(dy), begin)
        share = dy / self.raised(level)
        ratio = share * x[begin : begin + len(dy)] / level
        sums = neighbours(ratio, written, ahead - trail, self.size)
        sums *= 2 * self.alpha * self.beta / self.size
        sums *= x[self.before : self.before + written]
        made = share[ahead : ahead + written] - sums
        return {"out": np.moveaxis(made, 0, batch.axes)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        steps = ("square", *("add",) * (self.size + 1), *self.power, "div", "add", "div")
        passes = ((steps, "dy"), (("add",) * (self.size + 2), "out"))
        total = 0
        for names, field in passes:
            cost, each = fused(*names)[itemsize < 4]
            per_worker = ceil_div(elements(windows[field]), workers)
            total = total + ceil_div(per_worker, each) * cost
        return workers * (17 + total) + 20

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """As forward for each channel of the sums, and a multiply-add for each neighbour."""
        sums, out = (int(elements(windows[name])) for name in ("dy", "out"))
        return (2 * self.size + 6) * sums + (self.size + 3) * out

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Inside, at both borders, all channels at once, an even size, another power."""
        inside: dict[str, Shape] = {"x": (7, 2), "dy": (5, 2), "out": (3, 2)}
        border: dict[str, Shape] = {"x": (5, 2), "dy": (4, 2), "out": (3, 2)}
        whole = dict.fromkeys(("x", "dy", "out"), (3, 2, 2))
        return (
            Example(cls(3, 0.5, before=2), inside),
            Example(cls(3, 0.5, before=0), border),
            Example(cls(3, 0.5, before=2), border),
            Example(cls(4, 0.5, 0.6, 2.0), whole),
        )
