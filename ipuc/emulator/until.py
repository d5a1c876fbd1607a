"""Run a program up to one step, and look at memory just before and just after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ipuc.emulator.machine import Array
from ipuc.emulator.run import Emulator
from ipuc.program.program import Program
from ipuc.program.steps import Call, If, Repeat, Sequence, Step, Sweep

Seen = TypeVar("Seen")
#: Gives something for the reader of a variable's contents.
Look = Callable[[Callable[[int], Array]], Seen]


class _Seen(Exception):
    """The step has run, and the rest need not."""


class _Until(Emulator, Generic[Seen]):
    """Counts the steps as a flattened program does: functions at every call, loop bodies once."""

    def __init__(
        self, program: Program, wanted: Step, occurrence: int, position: int, look: Look[Seen]
    ) -> None:
        super().__init__(program, keep=False)
        self.wanted, self.left, self.position = wanted, occurrence, position
        self.look = look
        self.counts = True
        self.seen: tuple[Seen, Seen] | None = None

    def step(self, step: Step) -> None:
        """Execute one step; the wanted one between two looks."""
        match step:
            case Repeat():
                counts = self.counts
                for turn in range(step.count):
                    self.counts = counts and turn == 0
                    self.step(step.body)
                self.counts = counts
                if not step.count:
                    self._pass(step.body)
            case If():
                if self._is_wanted(step):
                    self._between(lambda: None)
                if bool(self.read(step.condition)[0]):
                    self.step(step.then)
                    self._pass(step.otherwise)
                else:
                    self._pass(step.then)
                    self.step(step.otherwise)
            case _ if self._is_wanted(step):
                if isinstance(step, Sweep):
                    for index in range(self.position):
                        self.execute(step.at(index))
                    chosen = step.at(self.position)
                    self._between(lambda: self.execute(chosen))
                self._between(lambda: super(_Until, self).step(step))
            case _:
                super().step(step)

    def _between(self, action: Callable[[], None]) -> None:
        before = self.look(self.read)
        action()
        self.seen = before, self.look(self.read)
        raise _Seen

    def _is_wanted(self, step: Step) -> bool:
        if step is not self.wanted or not self.counts:
            return False
        here = self.left == 0
        self.left -= 1
        return here

    def _pass(self, step: Step) -> None:
        """Count what is not executed, as the flattened program lists it all the same."""
        if self.counts:
            self.left -= occurrences(self.program, step, self.wanted)


def occurrences(program: Program, step: Step, wanted: Step) -> int:
    """How often a step stands in a tree, functions at every call and loop bodies once."""
    match step:
        case Sequence():
            return sum(occurrences(program, child, wanted) for child in step.steps)
        case Repeat():
            return occurrences(program, step.body, wanted)
        case If():
            branches = (step.then, step.otherwise)
            inside = sum(occurrences(program, branch, wanted) for branch in branches)
            return inside + (step is wanted)
        case Call():
            return occurrences(program, program.functions[step.function], wanted)
        case _:
            return int(step is wanted)


def run_until(
    program: Program,
    inputs: Mapping[str, Array],
    wanted: Step,
    look: Look[Seen],
    *,
    occurrence: int = 0,
    position: int = 0,
) -> tuple[Seen, Seen] | None:
    """Run a program up to one of its steps.

    Args:
        program: it has passed the verifier.
        inputs: an array for every input, of the declared type and shape.
        wanted: the step, by identity.
        look: is called before and after the step; it must copy what it wants to keep.
        occurrence: the same step may stand in several places; 0 is the first.
        position: of a sweep, the superstep.

    Returns:
        What `look` gave before and after; None if the run does not come to the step, because it
        lies in a branch that is not taken or in a loop of no turns.

    Raises:
        ShapeError: an input is missing, unknown, or of the wrong type or shape.
        ValueRangeError: a 64-bit integer does not fit 32 bits.
    """
    machine = _Until(program, wanted, occurrence, position, look)
    try:
        machine.run(inputs)
    except _Seen:
        return machine.seen
    return None
