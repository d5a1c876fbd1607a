"""Rules by layer: a pattern of names, and what holds for the layers that it fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from ipuc.errors import OptionError, nearest

Value = TypeVar("Value")


def ruled(rules: Sequence[tuple[str, Value]], layer: str, default: Value) -> Value:
    """What holds for a layer: the last rule whose pattern fits its name, or the default."""
    for pattern, value in reversed(rules):
        if fnmatchcase(layer, pattern):
            return value
    return default


def check_patterns(patterns: Iterable[str], layers: Iterable[str], option: str) -> None:
    """Hold every pattern to fit a layer.

    Args:
        patterns: of the rules.
        layers: names of all layers.
        option: where the rules were given.

    Raises:
        OptionError: one fits none.
    """
    names = list(layers)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise OptionError(
                f'no layer fits "{pattern}"',
                where=option,
                fix=f"{nearest(pattern, names)} (* and ? stand for any letters; `ipuc info` "
                "lists the layers)",
            )
