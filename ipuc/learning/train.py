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

from ipuc.emulator.run import Emulator
from ipuc.errors import OptionError, ValueRangeError
from ipuc.learning.checkpoint import (
    Progress,
    checkpoints,
    clear_parts,
    make_folder,
    read_checkpoint,
    write_checkpoint,
)
from ipuc.learning.data import DataSet, order
from ipuc.pipeline import first_not_finite
from ipuc.program.program import Program
from ipuc.training.loss import LOSS

Array = NDArray[Any]
#: Gets state, gives "loss" and perhaps "accuracy"; see `ipuc.learning.evaluate`.
Evaluate = Callable[[Mapping[str, Array]], dict[str, float]]
#: Steps after which the state is read at the latest.
_OFTEN = 16


@dataclass(frozen=True, slots=True)
class Course:
    """How a training run goes.

    Attributes:
        epochs: times that all samples are seen.
        shuffle: seed of the order of samples; None leaves them in order.
        checkpoints: folder of checkpoints; None for none.
        every: steps between checkpoints; one is also written at the end, and when stopped.
        resume: go on from the newest checkpoint, if there is one; without it the folder must
            hold none.
        max_bytes: the most that a checkpoint may take.
    """

    epochs: int
    shuffle: int | None
    checkpoints: Path | None = None
    every: int = 100
    resume: bool = False
    max_bytes: int = 4 << 30


class Stopped(Exception):  # not an error: somebody asked
    """The run was stopped by Ctrl-C or SIGTERM, after a whole step.

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
        passed: called with every damaged checkpoint that is passed over.

    Losses and evaluations of the progress are those of the step; its state may be some steps old.
    """

    begun: Callable[[Progress, int], None] = lambda _progress, _steps: None
    step: Callable[[Progress], None] = lambda _progress: None
    epoch: Callable[[Progress], None] = lambda _progress: None
    passed: Callable[[Path], None] = lambda _path: None


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
        Stopped: by Ctrl-C or SIGTERM.
        OptionError: the checkpoint is of another run or past its end, or there is one already.
        ContainerError: a checkpoint cannot be written or read.
    """
    told = watch or Watch()
    emulator = Emulator(program, keep=False)
    progress = _begun(course, run, emulator.state(), told) or Progress(emulator.state())
    emulator.load_state(progress.state)
    stay = _Stay(emulator, _Batches(data, course.shuffle, batch_of(program)), progress.steps)
    each = data.training // batch_of(program)
    last = each * course.epochs
    if progress.steps > last:
        raise OptionError(
            f"the checkpoint has {progress.steps:,} steps, and {course.epochs} epochs are {last:,}",
            where=str(course.checkpoints),
            fix=f"ask for --epochs {-(-progress.steps // each)} or more",
        )
    told.begun(progress, last)
    seconds = 0.0
    with _asked_to_stop() as asked:
        while progress.steps < last:
            inputs = stay.batches(progress.steps)
            start = time.perf_counter()
            loss = stay.step(progress.steps, inputs)
            seconds += time.perf_counter() - start
            if not np.isfinite(loss):
                raise _lost(program, stay, progress)
            progress.losses.append(loss)
            ends, stopped = progress.steps % each == 0, asked.is_set()
            due = stopped or progress.steps % course.every == 0 or progress.steps == last
            if ends or due or progress.steps - stay.since >= _OFTEN:
                progress.state, stay.since = emulator.state(), progress.steps
            if ends and evaluate is not None:
                progress.epochs.append(evaluate(progress.state))
            told.step(progress)
            if ends:
                told.epoch(progress)
            saved = None
            if course.checkpoints is not None and due:
                saved = write_checkpoint(course.checkpoints, progress, run)
            if stopped and progress.steps < last:
                raise Stopped(progress, saved)
    return progress, seconds


def batch_of(program: Program) -> int:
    """Samples of a training step."""
    return next(iter(program.inputs.values())).shape[0]


class _Batches:
    """The samples of every step."""

    def __init__(self, data: DataSet, shuffle: int | None, batch: int) -> None:
        self._data, self._shuffle, self._batch = data, shuffle, batch
        self._epoch = -1
        self._numbers = np.empty(0, np.int64)

    def __call__(self, step: int) -> dict[str, Array]:
        epoch, at = divmod(step, self._data.training // self._batch)
        if epoch != self._epoch:
            self._numbers = order(self._data.training, epoch, self._shuffle)
            self._epoch = epoch
        return self._data.batch(self._numbers[at * self._batch : (at + 1) * self._batch])


@dataclass(slots=True)
class _Stay:
    """What stays on the emulated chip from step to step.

    Reading it copies all weights, which in large networks costs a tenth of a step, so it is read
    only now and then; what is between is found by taking the steps again.

    Attributes:
        emulator: holds it.
        batches: samples by step.
        since: steps that had been done when it was last read.
    """

    emulator: Emulator
    batches: _Batches
    since: int

    def step(self, number: int, inputs: Mapping[str, Array]) -> float:
        """Take a step, and give its loss."""
        self.emulator.begin_step(number)
        return float(self.emulator.run(inputs)[LOSS])

    def back(self, state: Mapping[str, Array], number: int) -> dict[str, Array]:
        """Go back to what was read last, and on to just before a step."""
        self.emulator.load_state(state)
        for step in range(self.since, number):
            self.step(step, self.batches(step))
        self.emulator.begin_step(number)
        return self.emulator.state()


def _begun(
    course: Course, run: Mapping[str, Any], state: Mapping[str, Array], told: Watch
) -> Progress | None:
    folder = course.checkpoints
    if folder is None:
        return None
    make_folder(folder)  # now, not when hours of work are to be saved
    clear_parts(folder)
    if course.resume:
        return read_checkpoint(folder, run, state, course.max_bytes, told.passed)
    if found := checkpoints(folder):
        raise OptionError(
            f"there are checkpoints already, the newest is {found[-1].name}",
            where=str(folder),
            fix="go on from it with --resume, or name another folder with --checkpoint",
        )
    return None


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Let the first Ctrl-C or SIGTERM wait for the end of a step; the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: object) -> None:
        del frame
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lost(program: Program, stay: _Stay, progress: Progress) -> ValueRangeError:
    """The error that says at which step and in which layer numbers were lost."""
    step = progress.steps
    fix = (
        "lower the learning rate (--optimizer NAME:lr=...); in halves set --loss-scale auto, "
        "--saturate, or --precision mixed,LAYER=float32"
    )
    what = f"the loss of step {step:,} is no finite number"
    before = stay.back(progress.state, step)
    gone = [name for name, array in before.items() if not np.isfinite(array).all()]
    if gone:
        where = f'"{gone[0]}" was lost in the update of step {step - 1:,}'
        return ValueRangeError(what, where=where, fix=fix)
    arithmetic = stay.emulator.stores.arithmetic
    found = first_not_finite(program, stay.batches(step), arithmetic, before)
    where = ""
    if found is not None:
        layer, value = found
        where = f'layer "{layer.layer or layer.name}" ({layer.layer_pass}), value "{value}"'
    return ValueRangeError(what, where=where, fix=fix)
