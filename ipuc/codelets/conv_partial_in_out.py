"""ConvPartialnx1InOut: a block of a convolution that adds to sums, by the rules of 2017."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.conv_rows import ConvRows
from ipuc.codelets.define import Array, Batch, Example, FieldSpec, In, InOut


class ConvPartialnx1InOut(ConvRows):
    """Adds products to sums; any kernel, as many kernel rows fused as fill the matrix unit.

    See `ConvRows` for fields and parameters.

    Source: PopLibs' convolution planner of winter 2016/17; see `ConvRows`.
    """

    name: ClassVar[str] = "ConvPartialnx1InOut"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("weights"), InOut("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add the sums to what is there."""
        made = self.sums(batch, operands["x"], operands["weights"])
        return {"out": operands["out"] + made}

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A plain block, a strided and dilated one at two borders, a gradient, halves."""
        plain = {"x": (1, 4, 4, 4), "weights": (1, 3, 3, 2, 4), "out": (2, 2, 2)}
        wider = {"x": (2, 9, 9, 4), "weights": (2, 4, 3, 8, 4), "out": (6, 7, 8)}
        halves = {"x": "float16", "weights": "float16"}
        return (
            Example(cls((1, 1), (1, 1), ((0, 0), (0, 0))), plain, larger=wider),
            Example(
                cls((2, 1), (1, 2), ((1, 0), (0, 1))),
                {"x": (2, 3, 3, 3), "weights": (2, 2, 2, 2, 3), "out": (2, 2, 2)},
                larger={"x": (3, 7, 6, 3), "weights": (3, 2, 2, 8, 3), "out": (4, 5, 8)},
            ),
            # The gradient of a stride of 2, and of 3 with a dilated kernel.
            Example(
                cls((1, 1), (1, 2), ((1, 0), (2, 1)), spread=(2, 3)),
                {"x": (1, 2, 2, 3), "weights": (1, 2, 3, 2, 3), "out": (3, 3, 2)},
                larger={"x": (2, 4, 3, 3), "weights": (2, 2, 3, 8, 3), "out": (7, 6, 8)},
            ),
            Example(cls((1, 1), (1, 1), ((0, 0), (0, 0))), plain, halves, larger=wider),
            Example(
                cls((1, 1), (1, 1), ((0, 0), (0, 0)), "float16"),
                plain,
                {**halves, "out": "float16"},
                larger=wider,
            ),
        )
