"""The loop of learning: batch after batch through one training program."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.errors import ValueRangeError
from ipuc.learning.checkpoint import Progress, clear_parts, read_checkpoint, write_checkpoint
from ipuc.learning.data import DataSet, order
from ipuc.pipeline import first_not_finite
from ipuc.program.program import Program
from ipuc.training.loss import LABELS, LOSS

Array = NDArray[Any]
#: Gets state, gives "loss" and perhaps "accuracy"; see `ipuc.learning.evaluate`.
Evaluate = Callable[[Mapping[str, Array]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """How a training run goes.

    Attributes:
        epochs: times that all samples are seen.
        shuffle: seed of the order of samples; None leaves them in order.
        checkpoints: folder of checkpoints; None for none.
        every: steps between checkpoints; one is also written at the end, and when stopped.
        resume: go on from the newest checkpoint, if there is one.
        max_bytes: the most that a checkpoint may take.
    """

    epochs: int
    shuffle: int | None
    checkpoints: Path | None = None
    every: int = 100
    resume: bool = False
    max_bytes: int = 4 << 30


class Stopped(Exception):  # not an error: somebody asked
    """The run was stopped by Ctrl-C, after a whole step.

    Attributes:
        progress: how far it has come.
        saved: the checkpoint; None if the run keeps none.
    """

    def __init__(self, progress: Progress, saved: Path | None) -> None:
        super().__init__("stopped")
        self.progress = progress
        self.saved = saved


@dataclass(slots=True)
class Watch:
    """What is told while a run goes on; all of it may stay silent.

    Attributes:
        begun: called once with the progress from which the run goes on, and all steps.
        step: called after every step with the progress.
        epoch: called after every epoch with the progress.
    """

    begun: Callable[[Progress, int], None] = lambda _progress, _steps: None
    step: Callable[[Progress], None] = lambda _progress: None
    epoch: Callable[[Progress], None] = lambda _progress: None


def learn(
    program: Program,
    data: DataSet,
    course: Course,
    run: Mapping[str, Any],
    evaluate: Evaluate | None = None,
    watch: Watch | None = None,
) -> tuple[Progress, float]:
    """Train.

    Args:
        program: one training step; it has passed the verifier.
        data: the samples.
        course: how the run goes.
        run: what makes the run what it is, JSON values: checkpoints are held to it.
        evaluate: is asked after every epoch.
        watch: is told.

    Returns:
        Losses, evaluations and state at the end; seconds spent in training steps.

    Raises:
        ValueRangeError: the loss is no number any more; says where that began.
        Stopped: by Ctrl-C.
        OptionError: the checkpoint is of another run.
        ContainerError: a checkpoint cannot be written or read.
    """
    told = watch or Watch()
    emulator = Emulator(program, keep=False)
    progress = _begun(course, run, emulator.state()) or Progress(emulator.state())
    emulator.load_state(progress.state)
    batch = program.inputs[LABELS].shape[0]
    each = data.training // batch
    told.begun(progress, each * course.epochs)
    seconds = 0.0
    numbers, numbered = order(data.training, 0, course.shuffle), 0
    with _asked_to_stop() as asked:
        while progress.steps < each * course.epochs:
            epoch, at = divmod(progress.steps, each)
            if epoch != numbered:
                numbers, numbered = order(data.training, epoch, course.shuffle), epoch
            inputs = data.batch(numbers[at * batch : (at + 1) * batch])
            before = progress.state
            start = time.perf_counter()
            emulator.begin_step(progress.steps)
            loss = float(emulator.run(inputs)[LOSS])
            seconds += time.perf_counter() - start
            progress.state = emulator.state()
            if not np.isfinite(loss):
                raise _lost(program, inputs, before, progress.steps, emulator.stores.arithmetic)
            progress.losses.append(loss)
            if at + 1 == each and evaluate is not None:
                progress.epochs.append(evaluate(progress.state))
            told.step(progress)
            if at + 1 == each:
                told.epoch(progress)
            _save(course, run, progress, stopped=asked.is_set(), last=each * course.epochs)
    return progress, seconds


def _begun(course: Course, run: Mapping[str, Any], state: Mapping[str, Array]) -> Progress | None:
    folder = course.checkpoints
    if folder is None or not folder.is_dir():
        return None
    clear_parts(folder)
    return read_checkpoint(folder, run, state, course.max_bytes) if course.resume else None


def _save(
    course: Course, run: Mapping[str, Any], progress: Progress, *, stopped: bool, last: int
) -> None:
    """Write a checkpoint if it is time; end the run if somebody has asked."""
    due = stopped or progress.steps % course.every == 0 or progress.steps == last
    saved = None
    if course.checkpoints is not None and due:
        saved = write_checkpoint(course.checkpoints, progress, run)
    if stopped and progress.steps < last:
        raise Stopped(progress, saved)


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Let the first Ctrl-C wait for the end of a step; the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: object) -> None:
        del number, frame
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _lost(
    program: Program,
    inputs: Mapping[str, Array],
    before: Mapping[str, Array],
    step: int,
    arithmetic: Arithmetic,
) -> ValueRangeError:
    """The error that says at which step and in which layer numbers were lost."""
    fix = (
        "lower the learning rate (--optimizer NAME:lr=...); in halves set --loss-scale auto, "
        "--saturate, or --precision mixed,LAYER=float32"
    )
    what = f"the loss of step {step:,} is no finite number"
    gone = [name for name, array in before.items() if not np.isfinite(array).all()]
    if gone:
        where = f'"{gone[0]}" was lost in the update of step {step - 1:,}'
        return ValueRangeError(what, where=where, fix=fix)
    found = first_not_finite(program, inputs, arithmetic, before)
    where = ""
    if found is not None:
        layer, value = found
        where = f'layer "{layer.layer or layer.name}" ({layer.layer_pass}), value "{value}"'
    return ValueRangeError(what, where=where, fix=fix)
