"""`ipuc profile --compare`: two profiles side by side, and limits for what may grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipuc.cli.options import CompileOptions
from ipuc.cli.output import Progress, shell_word
from ipuc.cli.source import open_program
from ipuc.errors import ContainerError, OptionError
from ipuc.profile.record import profile
from ipuc.profile.tables import to_json

#: How many of the layers that changed most are told.
MOST_CHANGED = 5


def read_limits(text: str | None, compare: Path | None) -> dict[str, float]:
    """Read cycles=2%,memory=1% into fractions.

    Raises:
        OptionError: it is written otherwise, or there is nothing to compare with.
    """
    if text is None:
        return {}
    if compare is None:
        raise OptionError("--fail-over needs something to compare with", fix="add --compare OTHER")
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if name not in ("cycles", "memory"):
            raise OptionError(
                f'"{name}" has no limit', where="--fail-over", fix="use cycles and memory"
            )
        try:
            limits[name] = float(value.removesuffix("%")) / 100
        except ValueError:
            equals = ""
        if not equals or not value.endswith("%") or not 0 <= limits[name] < float("inf"):
            raise OptionError(
                f'"{part.strip()}" is no limit', where="--fail-over", fix=f"write {name}=2%"
            )
    return limits


def other_profile(path: Path, options: CompileOptions, bar: Progress) -> dict[str, Any]:
    """The profile to compare with: of a program, a model, or as `--json` wrote it.

    Raises:
        ContainerError: a JSON file is not what `ipuc profile --json` writes.
        IpucError: whatever loading and compiling raise.
    """
    if path.suffix != ".json":
        given = options if path.suffix == ".onnx" else CompileOptions(max_bytes=options.max_bytes)
        return to_json(profile(open_program(path, given, bar).program))
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        _figures(read)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContainerError(
            "this is not what ipuc profile --json writes",
            where=str(path),
            fix=f"ipuc profile PROGRAM --json > {shell_word(str(path))}",
        ) from error
    return dict(read)


def _figures(found: dict[str, Any]) -> dict[str, int]:
    return {
        "cycles": int(found["cycles"]["total"]),
        "memory": int(found["memory"]["max_tile_bytes"]),
    }


def total_changes(
    mine: dict[str, Any], other: dict[str, Any], limits: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Both figures of every total, the relative change, and whether that is over its limit."""
    now, before = _figures(mine), _figures(other)
    made: dict[str, dict[str, Any]] = {}
    for name, value in now.items():
        change = (value - before[name]) / max(before[name], 1)
        over = name in limits and change > limits[name]
        made[name] = {"other": before[name], "this": value, "change": change, "over": over}
    return made


def layer_changes(mine: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Layers whose cycles differ, the largest difference first; None where there is no such layer.

    Args:
        mine: what `to_json` made.
        other: the same of the other program, or what a file of unknown origin says.
    """
    now, before = _cycles_by_layer(mine), _cycles_by_layer(other)
    found = [
        {
            "name": name,
            "other": before.get(name),
            "this": now.get(name),
            "change": now.get(name, 0) - before.get(name, 0),
        }
        for name in dict.fromkeys([*now, *before])
        if now.get(name) != before.get(name)
    ]
    return sorted(found, key=lambda row: -abs(row["change"]))


def _cycles_by_layer(found: dict[str, Any]) -> dict[str, int]:
    rows = found.get("layers")
    return {
        str(row["name"]): row["cycles"]
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("name") and type(row.get("cycles")) is int
    }
