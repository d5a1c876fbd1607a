"""What convolutions and poolings have in common: strides, dilations and kinds of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.planner.window import Slide
from ipuc.types import Shape


def slides_of(node: Node, field: Shape, kernel: Shape, out: Shape) -> tuple[Slide, ...]:
    """Read the sliding window of each field dimension from a node's attributes.

    Args:
        node: a Conv or pooling node.
        field: input extents.
        kernel: window extents.
        out: output extents, as shape inference gives them.
    """
    dims = len(field)
    strides = list(node.attributes.get("strides") or [1] * dims)
    dilations = list(node.attributes.get("dilations") or [1] * dims)
    pads = begin_pads(node, field, kernel, out)
    return tuple(
        Slide(n, o, k, int(s), int(d), p)
        for n, o, k, s, d, p in zip(field, out, kernel, strides, dilations, pads, strict=True)
    )


def begin_pads(node: Node, field: Shape, kernel: Shape, out: Shape) -> list[int]:
    """Zeros before the first element of each dimension.

    SAME_UPPER puts the odd zero at the end, SAME_LOWER at the begin. Where the kernel is smaller
    than the stride and elements are left over, the first window begins at the first element, as
    in onnx.reference (onnxruntime skips some in Conv, others in LpPool, and refuses MaxPool).

    Source: ONNX Conv.
    """
    dims = len(field)
    mode = node.attributes.get("auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    if mode == "VALID":
        return [0] * dims
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        return [int(p) for p in (node.attributes.get("pads") or [0] * (2 * dims))[:dims]]
    strides = list(node.attributes.get("strides") or [1] * dims)
    dilations = list(node.attributes.get("dilations") or [1] * dims)
    pads: list[int] = []
    for n, o, k, s, d in zip(field, out, kernel, strides, dilations, strict=True):
        total = max(0, (o - 1) * s + (k - 1) * d + 1 - n)
        pads.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
    return pads


def written_out(slides: Sequence[Slide]) -> dict[str, Any]:
    """The attributes of sliding windows, for gradients: whatever mode the node had, in numbers.

    The end is padded as far as the last window reaches, so that rounding down gives the right
    number of windows.

    Returns:
        `strides`, `dilations` and `pads`.
    """
    ends = [max(0, -_unread(s)) for s in slides]
    return {
        "strides": [s.stride for s in slides],
        "dilations": [s.dilation for s in slides],
        "pads": [*(s.pad for s in slides), *ends],
    }


def output_padding(slides: Sequence[Slide]) -> list[int]:
    """Elements at the end of each dimension that no window reads: the gradient there is 0."""
    return [max(0, _unread(s)) for s in slides]


def _unread(slide: Slide) -> int:
    """Elements behind the last window; how far that reaches over the end, if negative."""
    last = (slide.out - 1) * slide.stride - slide.pad
    return slide.field - last - ((slide.kernel - 1) * slide.dilation + 1)


def field_of(node: Node, out: Shape, kernel: Shape) -> Shape:
    """Extents of the field whose gradient a node makes, from its attributes in numbers.

    Source: ONNX ConvTranspose-11.

    Raises:
        ShapeError: the attributes do not fit the rank.
    """
    named = ("strides", "dilations", "pads", "output_padding")
    strides, dilations, pads, more = (list(node.attributes[name]) for name in named)
    dims = len(out)
    if [len(strides), len(dilations), len(pads), len(more), len(kernel)] != [
        *(dims, dims, 2 * dims, dims, dims)
    ]:
        raise ShapeError(f"the attributes do not fit {dims} field dimensions", where=node.where())
    return tuple(
        (out[d] - 1) * strides[d]
        + (kernel[d] - 1) * dilations[d]
        + 1
        + more[d]
        - pads[d]
        - pads[dims + d]
        for d in range(dims)
    )
