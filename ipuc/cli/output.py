"""How results are printed: JSON for machines, tables and numbers for people."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ipuc.cli.guard import plain

#: Steps of a progress bar.
_TICKS = 1000


def print_json(value: Any) -> None:
    """Print a JSON value; NaN and infinities, which JSON lacks, as null."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def say(text: str = "") -> None:
    """Print a line of the result on stdout."""
    click.echo(plain(text))


def note(text: str) -> None:
    """Print a line about the work on stderr."""
    click.echo(plain(text), err=True)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    click.echo(click.style("warning: ", fg="yellow", bold=True) + plain(text), err=True)


def next_step(text: str) -> None:
    """End a success with the command that is useful next, on stderr: it is no result."""
    click.echo(click.style(f"next: {plain(text)}", dim=True), err=True)


def counted(count: int, thing: str) -> str:
    """Write a number of things: 1 layer, 2 layers."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def table(rows: Iterable[Sequence[str]], right: Sequence[int] = (), indent: str = "  ") -> None:
    """Print rows in columns.

    Args:
        rows: cells; the first row is the head.
        right: columns whose cells stand at the right edge.
        indent: before each row.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    for row in cells:
        parts = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo(indent + "  ".join(parts).rstrip())


def readable_seconds(seconds: float) -> str:
    """Write a duration for people: 3 minutes."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(int(seconds), 0)} second{'s' if int(seconds) != 1 else ''}"


def duration(seconds: float) -> str:
    """Write a short time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def shell_word(text: str) -> str:
    """Quote a word for the shell where that is needed, so that printed commands can be pasted."""
    return shlex.quote(text)


class Progress:
    """A progress bar on a terminal and nothing in a pipe; `ipuc.pipeline.Progress`.

    Each stage has its own bar; calling with a new stage closes the one before.
    """

    def __init__(self) -> None:
        self._visible = sys.stderr.isatty()
        self._stage = ""
        self._bar: Any = None
        self._done = 0

    def __call__(self, stage: str, done: int, of: int) -> None:
        """Show that `done` of `of` steps of a stage are finished."""
        if not self._visible:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._done = stage, 0
            self._bar = click.progressbar(
                length=_TICKS,
                label=f"{stage:<8}",
                file=sys.stderr,
                update_min_steps=_TICKS // 200,
            )
            self._bar.__enter__()
        ticks = _TICKS * done // max(of, 1)
        self._bar.update(max(ticks - self._done, 0))
        self._done = max(ticks, self._done)

    def close(self) -> None:
        """Finish the bar of the current stage."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar, self._stage = None, ""


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar that is closed whatever happens."""
    bar = Progress()
    try:
        yield bar
    finally:
        bar.close()


@contextmanager
def timed() -> Iterator[list[float]]:
    """Measure seconds of wall time; the list gets them as its only item when the block ends."""
    seconds: list[float] = []
    start = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - start)
