"""LRNGrad: the gradient of LRN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.lrn_grad import LocalResponseGrad
from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.planner.neighbours import Read, along_channels
from ipuc.types import TensorType


class LRNGrad(Function):
    """The gradient of y = x / s ** beta, s being bias + alpha / size * energy of neighbours.

    dx = dy / s ** beta - 2 * alpha * beta / size * x * sum of dy * x / s ** (beta + 1), over the
    channels whose neighbourhoods hold this one. `kernel` is [size, 1]; `ahead` and `behind` are
    paddings of channels: how far neighbourhoods reach, and those of the sum.

    Source: Krizhevsky et al. 2012, section 3.3, differentiated; torch and Caffe do the same.
    """

    name: ClassVar[str] = "LRNGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        LRNGrad <kernel, ahead, behind, alpha, beta, bias> (x, dy) => (dx) {
            one = Constant <value_ints = [1]> ()
            rows = Constant <value_ints = [0, 0, 0, -1]> ()
            wide_x = Cast <to = 1> (x)
            wide_dy = Cast <to = 1> (dy)
            image_x = Unsqueeze (wide_x, one)
            image_dy = Unsqueeze (wide_dy, one)
            flat_x = Reshape (image_x, rows)
            flat_dy = Reshape (image_dy, rows)
            factor = Constant <value_float : float = @alpha> ()
            power = Constant <value_float : float = @beta> ()
            least = Constant <value_float : float = @bias> ()
            square = Mul (flat_x, flat_x)
            energy = AveragePool <kernel_shape : ints = @kernel, pads : ints = @ahead,
                                  count_include_pad = 1> (square)
            weighed = Mul (energy, factor)
            level = Add (weighed, least)
            raised = Pow (level, power)
            share = Div (flat_dy, raised)
            product = Mul (share, flat_x)
            ratio = Div (product, level)
            sums = AveragePool <kernel_shape : ints = @kernel, pads : ints = @behind,
                                count_include_pad = 1> (ratio)
            two = Constant <value = float {2.0}> ()
            once = Mul (factor, power)
            twice = Mul (once, two)
            slope = Mul (sums, twice)
            taken = Mul (slope, flat_x)
            left = Sub (share, taken)
            shape = Shape (x)
            whole = Reshape (left, shape)
            dx = CastLike (whole, x)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The gradient has the type of what it belongs to."""
        del node
        (x, _) = types
        assert x is not None
        return [x]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A neighbourhood with as many channels ahead as behind, and one with fewer."""
        image = TensorType("float32", (2, 7, 3, 4))
        numbers = {"alpha": 0.5, "beta": 0.75, "bias": 1.0}
        odd = {"kernel": [5, 1], "ahead": [2, 0, 2, 0], "behind": [2, 0, 2, 0]}
        even = {"kernel": [4, 1], "ahead": [1, 0, 2, 0], "behind": [2, 0, 1, 0]}
        return (
            Example((image, image), {**odd, **numbers}),
            Example((image, image), {**even, **numbers}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set; all energies that a vertex needs are computed where it is."""
        x, upstream = ctx.inputs(node)
        (output,) = node.outputs
        given = node.attributes
        size = int(given["kernel"][0])
        alpha, beta, bias = (float(given[name]) for name in ("alpha", "beta", "bias"))
        codelet = LocalResponseGrad(size, alpha, beta, bias)
        reads = {
            "x": Read(x, size - 1, size - 1),
            "dy": Read(upstream, size - 1 - codelet.lead, codelet.lead),
        }
        ctx.define(output, along_channels(ctx, codelet, reads, output))
