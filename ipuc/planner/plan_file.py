"""Files of plans: the chosen plan of every layer, to look at, to change, and to pin."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipuc.errors import ContainerError, OptionError
from ipuc.files import whole
from ipuc.planner.choices import Record
from ipuc.program.program import Program

FORMAT, VERSION = "ipuc plan", 1

#: A plan takes about a kilobyte; a file larger than this is none.
MAX_BYTES = 16 << 20

#: What a plan was made for, beside the model: the flag that sets each.
_SETTINGS = ("target", "precision", "granularity")


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What a file of plans says.

    Attributes:
        settings: target, precision and granularity that the plans were made for.
        layers: the chosen plan by layer name.
    """

    settings: dict[str, str]
    layers: dict[str, Record] = field(default_factory=dict)

    def check(self, path: Path, **settings: str) -> None:
        """Hold the file to what is compiled now.

        Args:
            path: the file, for the error.
            settings: target, precision and granularity as programs' metadata have them.

        Raises:
            OptionError: one differs.
        """
        for name, now in settings.items():
            then = self.settings[name]
            if then != now:
                raise OptionError(
                    f"these plans are for {name} {then}, this compile is for {now}",
                    where=f"--plan {path}",
                    fix=f"add --{name} {then}, or save plans for {now} (--save-plan)",
                )


def write_plan(program: Program, path: Path) -> int:
    """Write the chosen plan of every layer that has one, as JSON.

    Returns:
        Number of layers in the file.

    Raises:
        ContainerError: the file cannot be written.
    """
    layers = {
        layer.name: layer.plan["chosen"] for layer in program.layers if layer.plan.get("chosen")
    }
    made = {
        "format": FORMAT,
        "version": VERSION,
        "target": program.target.name,
        "precision": program.metadata.get("precision"),
        "granularity": program.metadata.get("granularity"),
        "layers": layers,
    }
    with whole(path, "the plan file") as stream:
        stream.write((json.dumps(made, indent=1) + "\n").encode("utf-8"))
    return len(layers)


def read_plan(path: Path) -> PlanFile:
    """Read a file of plans; it may come from anybody.

    Raises:
        ContainerError: the file cannot be read, or is no file of plans of this version.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ContainerError(
            f"the file cannot be read: {error.strerror or error}",
            where=f"--plan {path}",
            fix="check the path and its permissions",
        ) from error
    if len(text) > MAX_BYTES:
        raise _no_plan(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_plan(path, "it is no JSON") from error
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        raise _no_plan(path, f'its format is not "{FORMAT}"')
    if read.get("version") != VERSION:
        raise _no_plan(path, f"its version is {read.get('version')!r}, not {VERSION}")
    settings = {name: read.get(name) for name in _SETTINGS}
    layers = read.get("layers")
    if not all(isinstance(value, str) for value in settings.values()):
        raise _no_plan(path, f"it does not say {', '.join(_SETTINGS)}")
    if not isinstance(layers, dict):
        raise _no_plan(path, "it has no layers")
    for name, record in layers.items():
        wrong = _wrong(record)
        if wrong:
            raise _no_plan(path, f'layer "{name}": {wrong}')
    return PlanFile({name: str(value) for name, value in settings.items()}, layers)


def _wrong(record: Any) -> str:
    """What makes a record no plan; empty if it may be one."""
    if not isinstance(record, dict):
        return "its plan is no object"
    if not isinstance(record.get("method", ""), str):
        return "its method is no word"
    splits = record.get("splits", {})
    if not isinstance(splits, dict):
        return "its splits are no object"
    for name, parts in (*splits.items(), ("serial", record.get("serial", 1))):
        if not isinstance(parts, int) or isinstance(parts, bool) or parts < 1:
            return f'split "{name}" is {parts!r}, no number of parts'
    return ""


def _no_plan(path: Path, why: str) -> ContainerError:
    return ContainerError(
        f"this is no file of plans: {why}",
        where=f"--plan {path}",
        fix="write one with ipuc compile MODEL --save-plan FILE",
    )
