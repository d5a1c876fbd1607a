"""Values of a JSON document that nobody vouches for, held to their types and ranges."""

from __future__ import annotations

from typing import Any

from ipuc.errors import ContainerError
from ipuc.program.encode import FLOAT
from ipuc.types import Shape

Json = Any

#: Numbers in a file stay below this, so that sums of a few of them fit 64 bits.
LIMIT = 1 << 48


def need(holds: bool, what: str) -> None:
    """Hold the file to a rule.

    Raises:
        ContainerError: it breaks the rule.
    """
    if not holds:
        raise ContainerError(what)


def whole(value: Json, low: int, high: int, what: str) -> int:
    """A whole number with low <= value < high."""
    need(type(value) is int and low <= value < high, f"{what} is {value!r:.60}")
    return int(value)


def text(value: Json, what: str) -> str:
    """A string."""
    need(isinstance(value, str), f"{what} is {value!r:.60}")
    return str(value)


def items(value: Json, what: str, count: int | None = None) -> list[Json]:
    """A list, of `count` items if that is given."""
    need(isinstance(value, list) and count in (None, len(value)), f"{what} is {value!r:.60}")
    return list(value)


def table(value: Json, what: str) -> dict[str, Json]:
    """A JSON object."""
    need(isinstance(value, dict), f"{what} is {value!r:.60}")
    return dict(value)


def extents(value: Json, what: str, low: int = 0) -> Shape:
    """A shape (or strides, with a negative `low`)."""
    return tuple(whole(item, low, LIMIT, what) for item in items(value, what))


def real(value: Json, what: str) -> float:
    """A number of either kind, or one that JSON has no word for."""
    value = unplain(value)
    need(type(value) in (int, float), f"{what} is {value!r:.60}")
    return value  # type: ignore[no-any-return]


def unplain(value: Json) -> Json:
    """Undo `encode.plain`, but for tuples."""
    if isinstance(value, list):
        return [unplain(item) for item in value]
    if isinstance(value, dict):
        if FLOAT in value:
            return float(text(value[FLOAT], "a number"))
        return {key: unplain(item) for key, item in value.items()}
    return value
