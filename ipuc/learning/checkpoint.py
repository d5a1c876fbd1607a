"""Checkpoints: all that a training run needs to go on, in files that appear whole or not at all.

Random bits, dropout masks and the order of samples are functions of seed, step and epoch, so the
weights, the optimizer's state and the counters are everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError, OptionError
from ipuc.npz import read_arrays, write_arrays

Array = NDArray[Any]

#: Version of the file's contents.
FORMAT = 1
#: Checkpoints that are kept: if the newest were damaged, the one before is there.
KEPT = 2

_MANIFEST, _LOSSES, _STATE = "manifest", "losses", "state/"


@dataclass(slots=True)
class Progress:
    """How far a training run has come.

    Attributes:
        state: weights, running statistics and the optimizer's numbers, by name.
        losses: of all steps so far.
        epochs: what the evaluation after each epoch has found.
    """

    state: dict[str, Array]
    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.losses)


def write_checkpoint(folder: Path, progress: Progress, run: Mapping[str, Any]) -> Path:
    """Write a checkpoint, and remove all but the newest `KEPT`.

    Args:
        folder: is made if it is missing.
        progress: what to keep.
        run: what the run is, JSON values; `read_checkpoint` holds another run to it.

    Returns:
        The file.

    Raises:
        ContainerError: it cannot be written; older checkpoints stay as they are.
    """
    make_folder(folder)
    manifest = {"format": FORMAT, "run": dict(run), "epochs": progress.epochs}
    arrays: dict[str, Array] = {
        _MANIFEST: np.frombuffer(json.dumps(manifest).encode(), np.uint8),
        _LOSSES: np.asarray(progress.losses, np.float64),
    }
    arrays |= {_STATE + name: array for name, array in progress.state.items()}
    path = folder / f"step-{progress.steps:09d}.npz"
    try:
        write_arrays(path, arrays)
    except ContainerError as error:
        older = checkpoints(folder)
        last = f"the last good one is {older[-1].name}" if older else "there is none before it"
        raise ContainerError(
            f"the checkpoint of step {progress.steps:,} cannot be written "
            f"({error.what.rpartition(': ')[2]}); {last}",
            where=str(folder),
            fix="make room on the disk, then go on with --resume",
        ) from error
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the oldest first."""
    return sorted(folder.glob("step-*.npz"))


def clear_parts(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for part in folder.glob(".step-*.part"):
        part.unlink(missing_ok=True)


def read_checkpoint(
    folder: Path,
    run: Mapping[str, Any],
    state: Mapping[str, Array],
    max_bytes: int,
    passed: Callable[[Path], None] = lambda _path: None,
) -> Progress | None:
    """Read the newest checkpoint that is whole.

    Args:
        folder: where they lie.
        run: what the run is now.
        state: of the program; names, types and shapes must agree.
        max_bytes: the most that a file may take.
        passed: is told of every damaged checkpoint that is passed over.

    Returns:
        None if there is no checkpoint.

    Raises:
        OptionError: the checkpoint is of another run: says what differs.
        ContainerError: none can be read.
        TooLarge: it takes more than `max_bytes`.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            arrays = read_arrays(path, max_bytes)
            manifest = json.loads(arrays.pop(_MANIFEST).tobytes())
            losses = arrays.pop(_LOSSES)
        except (ContainerError, KeyError, ValueError) as error:
            if path == found[0]:
                told = f"none of {len(found)} checkpoints" if len(found) > 1 else "no checkpoint"
                raise ContainerError(
                    f"{told} can be read: damaged",
                    where=str(path),
                    fix="begin again, with another --checkpoint folder",
                ) from error
            passed(path)
            continue
        _hold(manifest, run, path)
        kept = {name.removeprefix(_STATE): array for name, array in arrays.items()}
        _hold_state(kept, state, path)
        return Progress(kept, losses.tolist(), list(manifest["epochs"]))
    return None


def _hold(manifest: Any, run: Mapping[str, Any], path: Path) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        version = manifest.get("format") if isinstance(manifest, dict) else None
        raise OptionError(
            f"this checkpoint has format {version}, and this ipuc reads {FORMAT}",
            where=str(path),
            fix="go on with the version of ipuc that wrote it, or begin again without --resume",
        )
    before = manifest.get("run")
    before = before if isinstance(before, dict) else {}
    # What is written as JSON comes back as JSON: tuples as lists.
    now = json.loads(json.dumps(dict(run)))
    differ = [key for key in now if before.get(key) != now[key]]
    if differ:
        told = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in differ)
        raise OptionError(
            f"this checkpoint is of another run: {told}",
            where=str(path),
            fix="use the same model, data, version and options, or another --checkpoint folder",
        )


def _hold_state(found: Mapping[str, Array], state: Mapping[str, Array], path: Path) -> None:
    def kinds(arrays: Mapping[str, Array]) -> set[tuple[str, str, tuple[int, ...]]]:
        return {(name, array.dtype.name, array.shape) for name, array in arrays.items()}

    if kinds(found) != kinds(state):
        other = sorted(name for name, _, _ in kinds(found) ^ kinds(state))
        raise OptionError(
            f"this checkpoint is of another model: {', '.join(other[:4])} differ",
            where=str(path),
            fix="use another --checkpoint folder",
        )


def make_folder(folder: Path) -> None:
    """Make the folder of checkpoints, unless it is there.

    Raises:
        ContainerError: it cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ContainerError(
            f"the folder of checkpoints cannot be made: {error.strerror or error}",
            where=str(folder),
            fix="name another place with --checkpoint",
        ) from error
