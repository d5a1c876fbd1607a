"""What convolutions and poolings have in common: strides, dilations and kinds of padding."""

from __future__ import annotations

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
