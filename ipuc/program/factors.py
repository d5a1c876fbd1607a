"""Axes of several views as common factors: extents along which every view takes even steps."""

from __future__ import annotations

from collections.abc import Sequence as Items

from ipuc.errors import ProgramError
from ipuc.program.tensor import Fill, View, coalesce


def common_factors(sources: Items[View | Fill]) -> list[tuple[int, list[int]]]:
    """Refine the factors of several boxes of one shape to common ones: (extent, strides).

    Neighbouring factors that are one run in every source are merged. A fill has stride 0.
    """
    factors: list[tuple[int, list[int]]] = []
    for axis in range(len(sources[0].shape)):
        stacks = [
            list(s.axes[axis]) if isinstance(s, View) else [(s.shape[axis], 0)] for s in sources
        ]
        stacks = [list(coalesce(tuple(stack))) for stack in stacks]
        inner: list[tuple[int, list[int]]] = []
        while any(stacks):
            extent = _common_extent(stacks)
            strides = []
            for stack in stacks:
                n, stride = stack.pop()
                strides.append(stride)
                if n != extent:
                    stack.append((n // extent, stride * extent))
            inner.append((extent, strides))
        factors += reversed(inner)
    merged: list[tuple[int, list[int]]] = []
    for extent, strides in factors:
        if merged and all(
            outer == extent * stride for outer, stride in zip(merged[-1][1], strides, strict=True)
        ):
            merged[-1] = (merged[-1][0] * extent, strides)
        else:
            merged.append((extent, strides))
    return merged


def _common_extent(stacks: list[list[tuple[int, int]]]) -> int:
    extent = min(stack[-1][0] for stack in stacks)
    if any(stack[-1][0] % extent for stack in stacks):
        raise ProgramError(
            "two tensors cut an axis at places that do not divide each other",
            fix="materialise one of them (Builder.copy)",
        )
    return extent
