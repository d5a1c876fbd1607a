"""ConvPartial1x1OutRows: rows of outputs of a kernel of one element, by the rules of 2017."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.conv_rows import ConvRows
from ipuc.codelets.define import Array, Batch, Example


class ConvPartial1x1OutRows(ConvRows):
    """Sums of a kernel of one element and full groups of channels, which need no clearing.

    See `ConvRows` for fields and parameters.

    Source: PopLibs' convolution planner of winter 2016/17; see `ConvRows`.
    """

    name: ClassVar[str] = "ConvPartial1x1OutRows"

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Make the sums."""
        return {"out": self.sums(batch, operands["x"], operands["weights"])}

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A row of floats, and rows of halves with sums in floats and in halves."""
        row = {"x": (2, 1, 5, 16), "weights": (2, 1, 1, 8, 16), "out": (1, 5, 8)}
        longer = {"x": (3, 1, 50, 16), "weights": (3, 1, 1, 8, 16), "out": (1, 50, 8)}
        halves = dict.fromkeys(row, "float16")
        plain = ((1, 1), (1, 1), ((0, 0), (0, 0)))
        return (
            Example(cls(*plain), row, larger=longer),
            Example(cls(*plain), row, {**halves, "out": "float32"}, larger=longer),
            Example(cls(*plain, "float16"), row, halves, larger=longer),
        )
