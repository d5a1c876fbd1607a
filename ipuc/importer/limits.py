"""Bounds on memory, asked before anything is allocated.

A file of a few kilobytes can ask for terabytes: one ConstantOfShape is enough. Sizes are therefore
computed in Python integers, which do not overflow, and held against a limit first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import TooLarge
from ipuc.graph.ir import Node
from ipuc.types import TensorType

#: 4 GB, the default of --max-bytes.
DEFAULT_MAX_BYTES = 4 * 10**9

#: A constant is not stored repeated if that makes it this many times larger ...
MAX_GROWTH = 16
#: ... and larger than this many bytes.
GROWTH_FLOOR = 1 << 20

_REPEATING = frozenset({"Expand", "Tile", "Resize", "Upsample", "Pad"})


def readable(count: float) -> str:
    """Write a number of bytes for people: 1.5 GB."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
    step = 0
    while count >= 1000 and step < len(units) - 1:
        count /= 1000
        step += 1
    return f"{count:.0f} {units[step]}" if step == 0 else f"{count:.3g} {units[step]}"


@dataclass(slots=True)
class Budget:
    """Bytes that one import may still allocate for constants.

    Attributes:
        limit: the limit, in bytes.
        used: bytes taken so far.
    """

    limit: int = DEFAULT_MAX_BYTES
    used: int = 0

    def hold(self, count: int, where: str) -> None:
        """Refuse a single value that is larger than the whole limit.

        Raises:
            TooLarge: it is.
        """
        if count > self.limit:
            raise TooLarge(
                f"this value alone takes {readable(count)}; the limit is {readable(self.limit)}",
                where=where,
                fix=f"if that is meant, raise the limit: --max-bytes {count}",
            )

    def take(self, count: int, where: str) -> None:
        """Count bytes about to be allocated for a constant.

        Raises:
            TooLarge: together with what was taken before they exceed the limit.
        """
        self.hold(count, where)
        self.used += count
        if self.used > self.limit:
            raise TooLarge(
                f"the constants of this model take over {readable(self.limit)} with this one",
                where=where,
                fix=f"if that is meant, raise the limit: --max-bytes {2 * self.used}",
            )


def _integers(array: NDArray[Any]) -> list[int]:
    return [int(item) for item in array.ravel().tolist()]


def _range_count(start: float, limit: float, delta: float) -> int:
    """Number of elements of ONNX Range: max(ceil((limit - start) / delta), 0)."""
    if delta == 0 or not all(math.isfinite(item) for item in (start, limit, delta)):
        return 0
    quotient = (limit - start) / delta
    return max(math.ceil(quotient), 0) if math.isfinite(quotient) else 1 << 62


def asked_elements(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, NDArray[Any]]
) -> int:
    """Elements that a node's constants ask for; 0 if the operator makes nothing larger.

    It guards the operators whose output can be far larger than all their inputs, whatever the
    installed onnx makes of an overflow.
    """
    values = [constants.get(name) for name in node.inputs]
    if node.domain or not values:
        return 0
    # A Resize by sizes takes them at position 3; all others look at position 1.
    deciding = values[1] if len(values) > 1 else None
    first = types[node.inputs[0]].shape if node.inputs[0] in types else ()
    count = 0
    if node.op == "ConstantOfShape" and values[0] is not None:
        count = math.prod(_integers(values[0]))
    elif node.op == "Range" and len(values) == 3:
        start, limit, delta = (math.nan if v is None else v.ravel()[0].item() for v in values)
        count = _range_count(start, limit, delta)
    elif node.op == "Resize" and len(values) > 3 and values[3] is not None:
        count = math.prod(_integers(values[3]))
    elif node.op == "Resize" and len(values) > 2 and values[2] is not None:
        count = math.prod(math.ceil(d * s) for d, s in zip(first, values[2].tolist(), strict=False))
    elif deciding is None:
        count = 0
    elif node.op == "Tile":
        count = math.prod(d * r for d, r in zip(first, _integers(deciding), strict=False))
    elif node.op == "Expand":
        count = math.prod(_integers(deciding))
    elif node.op == "OneHot":
        count = math.prod(first) * int(deciding.ravel()[0])
    elif node.op == "Pad":
        # Padding that crops one side does not make the other side cheaper.
        extra = sum(abs(item) for item in _integers(deciding))
        count = math.prod(first) + extra if first else 0
    elif node.op == "Upsample":
        count = math.prod(math.ceil(d * s) for d, s in zip(first, deciding.tolist(), strict=False))
    return abs(count)


def repeats_too_much(
    node: Node, arrays: Mapping[str, NDArray[Any]], outputs: list[TensorType]
) -> bool:
    """Whether storing the result would only repeat a constant many times over."""
    if node.domain or node.op not in _REPEATING:
        return False
    size = sum(kind.size * kind.itemsize for kind in outputs)
    source = max(np.asarray(arrays[name]).nbytes for name in node.inputs if name)
    return size > GROWTH_FLOOR and size > MAX_GROWTH * source
