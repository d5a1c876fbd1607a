"""A convolution as layers describe it, and as poplin's planner does."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from ipuc.planner.poplin.params import ConvParams, Dim, Reach, Yield, canonical
from ipuc.planner.window import Slide


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution to plan: extents, per group.

    Attributes:
        batch: images.
        groups: convolution groups.
        outs: output channels of a group.
        ins: input channels of a group.
        slides: one per field dimension.
    """

    batch: int
    groups: int
    outs: int
    ins: int
    slides: tuple[Slide, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense convolution."""
        outputs = self.batch * self.groups * self.outs * math.prod(s.out for s in self.slides)
        return outputs * self.ins * math.prod(s.kernel for s in self.slides)


def data_gradient(conv: Conv) -> Conv:
    """The convolution that makes the gradient of the data from that of the result.

    Its weights are the layer's with channels exchanged and every kernel dimension reversed.
    """
    return dataclasses.replace(
        conv,
        outs=conv.ins,
        ins=conv.outs,
        slides=tuple(
            Slide(
                s.out,
                s.field,
                s.kernel,
                s.spread,
                s.dilation,
                (s.kernel - 1) * s.dilation - s.pad,
                s.stride,
            )
            for s in conv.slides
        ),
    )


def weight_gradient(conv: Conv) -> Conv:
    """The convolution that makes the gradient of the weights: data with the result's gradient.

    Its images are the layer's input channels, its input channels the images.
    """
    return dataclasses.replace(
        conv,
        batch=conv.ins,
        ins=conv.batch,
        slides=tuple(
            Slide(s.field, s.kernel, s.out, s.dilation, s.stride, s.pad, s.spread)
            for s in conv.slides
        ),
    )


def params_of(conv: Conv, itemsize: int) -> ConvParams:
    """Describe a convolution to the planner, in canonical form.

    Args:
        conv: the problem; every extent is positive.
        itemsize: bytes of an element.
    """
    dims = tuple(_dim(s) for s in conv.slides)
    dims = (Dim(1, 1),) * (2 - len(dims)) + dims
    return canonical(
        ConvParams(itemsize, itemsize, conv.batch, dims, conv.ins, conv.outs, conv.groups)
    )


def _dim(slide: Slide) -> Dim:
    """Negative padding becomes truncation of the result, what is never read padding of none."""
    places = (slide.field - 1) * slide.spread + 1
    span = (slide.out - 1) * slide.stride + (slide.kernel - 1) * slide.dilation + 1
    before = max(slide.pad, 0)
    skipped = max(-slide.pad, 0)
    after = span - places - slide.pad
    return Dim(
        slide.field,
        slide.kernel,
        Reach(dilation=slide.spread, pad=(before, max(after, 0))),
        Reach(dilation=slide.dilation),
        Yield(trunc=(skipped, max(-after, 0)), stride=slide.stride),
    )


def slide_of(dim: Dim) -> Slide:
    """The sliding window of a planner's dimension, over what truncation leaves of the operands."""
    first = dim.data.pad[1 if dim.data.flip else 0]
    least = dim.weights.pad[1 if dim.weights.flip else 0]
    result, stride = dim.result, dim.result.stride
    if dim.computed == 1:
        # The stride is free. The padded outputs beside the only one must see nothing.
        stride = max(stride, dim.data.length(dim.size) + dim.weights.length(dim.kernel))
        stride = stride if any(result.pad) else result.stride
    return Slide(
        dim.data.kept(dim.size),
        dim.out,
        dim.weights.kept(dim.kernel),
        stride,
        dim.weights.dilation,
        first - least - result.trunc[0] + result.pad[0] * stride,
        dim.data.dilation,
    )


def conv_of(params: ConvParams) -> Conv:
    """The convolution that a planner's parameters describe, operands as `slide_of` says."""
    slides = tuple(slide_of(dim) for dim in params.dims)
    return Conv(params.batch, params.groups, params.out_channels, params.in_channels, slides)
