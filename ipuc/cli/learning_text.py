"""What `ipuc train` shows while it learns, and reports when it has."""

from __future__ import annotations

import shutil
import sys
from typing import Any, Self

import click

from ipuc.cli.modelled import cost_of, memory_line
from ipuc.cli.output import duration, say
from ipuc.learning.checkpoint import Progress
from ipuc.program.program import Program

#: Columns that label, percentage, time left, loss and accuracy take beside the bar.
_BESIDE = 68


class Display:
    """A bar with loss, accuracy and time left on a terminal; a line after each epoch anywhere.

    Args:
        quiet: print no lines.
        epochs: of the run.
        each: steps of an epoch.

    Attributes:
        steps_here: steps done since the run was begun or resumed.
    """

    def __init__(self, *, quiet: bool, epochs: int, each: int) -> None:
        self._quiet, self._epochs, self._each = quiet, epochs, each
        self._visible = sys.stderr.isatty()
        self._bar: Any = None
        self._words = ""
        self.steps_here = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def begun(self, progress: Progress, steps: int) -> None:
        """Begin the bar where the run begins."""
        if progress.steps and not self._quiet:
            say(f"resumed at step {progress.steps:,} of {steps:,}")
        if self._visible:
            self._bar = click.progressbar(
                length=steps,
                # A line that is wider than the terminal is not drawn over but below.
                width=max(4, min(36, shutil.get_terminal_size().columns - _BESIDE)),
                label="learn   ",
                file=sys.stderr,
                item_show_func=lambda _: self._words,
            )
            self._bar.__enter__()
            self._bar.update(progress.steps)

    def step(self, progress: Progress) -> None:
        """Show the loss of a step."""
        self.steps_here += 1
        if self._bar is not None:
            accuracy = progress.epochs[-1].get("accuracy") if progress.epochs else None
            self._words = f"loss {progress.losses[-1]:.4f}" + (
                "" if accuracy is None else f", accuracy {accuracy:.1%}"
            )
            self._bar.update(1, self._words)

    def epoch(self, progress: Progress) -> None:
        """Print what an epoch has come to."""
        if self._quiet:
            return
        number = progress.steps // self._each
        mean = sum(progress.losses[-self._each :]) / self._each
        text = f"epoch {number:>{len(str(self._epochs))}}/{self._epochs}: loss {mean:.4f}"
        if progress.epochs:
            found = progress.epochs[-1]
            text += f", validation loss {found['loss']:.4f}"
            if "accuracy" in found:
                text += f", accuracy {found['accuracy']:.1%}"
        if self._bar is not None:
            click.echo(err=True)
        say(text)


def report(
    program: Program, done: Progress, seconds: float, steps: int, each: int
) -> dict[str, Any]:
    """What came out, what it would take on the chip, and what it took here.

    Args:
        program: one training step.
        done: the run.
        seconds: that training steps took on this machine.
        steps: done in those seconds.
        each: steps of an epoch.

    Returns:
        JSON values; times in seconds.
    """
    cost = cost_of(program)
    modelled = cost.get("seconds")
    return {
        "steps": done.steps,
        "epochs": done.epochs,
        "loss": done.losses[-1],
        "chip": {
            "cycles": cost.get("cycles"),
            "step_seconds": modelled,
            "epoch_seconds": None if modelled is None else modelled * each,
            "steps_per_second": 1 / modelled if modelled else None,
            "memory": cost.get("memory"),
        },
        "emulator": {
            "step_seconds": seconds / steps if steps else None,
            "epoch_seconds": seconds / steps * each if steps else None,
            "steps_per_second": steps / seconds if seconds else None,
        },
    }


def print_report(found: dict[str, Any]) -> None:
    """Print a report for people."""
    chip, here = found["chip"], found["emulator"]
    say(f"{found['steps']:,} steps, last loss {found['loss']:.4f}")
    if found["epochs"] and "accuracy" in found["epochs"][-1]:
        say(f"  accuracy on the validation samples: {found['epochs'][-1]['accuracy']:.2%}")
    if chip["step_seconds"]:
        say(
            f"  on the chip (modelled): {chip['cycles']:,} cycles, "
            f"{duration(chip['step_seconds'])} a step, {duration(chip['epoch_seconds'])} an epoch, "
            f"{_rate(chip['steps_per_second'])} steps a second"
        )
        say(f"    {memory_line(chip['memory'])}")
    if here["step_seconds"]:
        say(
            f"  emulated here (measured): {duration(here['step_seconds'])} a step, "
            f"{duration(here['epoch_seconds'])} an epoch, "
            f"{_rate(here['steps_per_second'])} steps a second"
        )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
