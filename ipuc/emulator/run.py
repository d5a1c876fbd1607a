"""The fast mode: families joined where they lie side by side, each in one batched call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ipuc.codelets.rounding import Arithmetic
from ipuc.codelets.threads import Crew, Task
from ipuc.emulator.lifetimes import overwritten
from ipuc.emulator.machine import Array, Machine, Starter, compute, view_of, widened
from ipuc.emulator.memory import Memory
from ipuc.emulator.prepared import Batched, prepared
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Step, StreamIn, Sweep
from ipuc.program.tensor import View

#: Elements of all fields of a family that are worth a task: less is done while a thread wakes up.
WORTH_A_TASK = 1 << 15


class Emulator(Machine):
    """Executes a program.

    Args:
        program: what to run; it should have passed the verifier.
        observe: called after every step at the top level with the step and the memory.
        arithmetic: how halves are made; as the program was compiled, if None.
        keep: keep every value to the end of the run; else memory is used again as soon as no
            later step needs what it holds.
    """

    def __init__(
        self,
        program: Program,
        observe: Callable[[Step, Memory], None] | None = None,
        arithmetic: Arithmetic | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self._prepared = prepared(program)
        self._dead = [] if keep else self._prepared.last_uses()
        self.memory = memory = Memory(program)
        self._wide: dict[int, Array] = {}
        watch = None if observe is None else lambda step: observe(step, memory)
        super().__init__(program, watch, arithmetic)
        self.due = overwritten(program) if keep else {}

    def reset(self) -> None:
        """Go back to the initial contents of all variables: what runs have changed is lost."""
        self.memory.reset()

    def load_state(self, arrays: Mapping[str, Array]) -> None:
        """Put other contents into what stays on the chip: what `state` gave, perhaps long ago.

        Args:
            arrays: by name, as `state` has them; names that are left out stay as they are.
        """
        for name, array in arrays.items():
            for piece in self.program.state[name].tensor.pieces:
                if isinstance(piece.source, View):
                    place = tuple(slice(b, e) for b, e in zip(piece.begin, piece.end, strict=True))
                    flat = self.memory.write(piece.source.variable)
                    view_of(piece.source, flat)[...] = array[place].reshape(
                        [n for axis in piece.source.axes for n, _ in axis]
                    )

    def begin_step(self, number: int) -> None:
        """Say which training step the next run is, by which random bits are drawn."""
        self.stores.arithmetic = replace(self.stores.arithmetic, step=number)

    def step(self, step: Step) -> None:
        """Execute one step."""
        if isinstance(step, Sweep):
            for index in range(step.count):
                self.execute(self._prepared.part(step, index))
        else:
            super().step(step)

    def execute(self, compute_set: ComputeSet) -> None:
        """Run every family of a compute set; nothing written is read in the same set."""
        self.stores.step = compute_set.name
        work = self._prepared.work(compute_set)
        for variable in work.whole:
            self.memory.fill(variable)
        crew = Crew()
        try:
            for call in work.calls:
                if call.family.codelet.multiplies or call.elements < WORTH_A_TASK:
                    self._job(call, crew.start)()
                else:
                    for part in call.parts or (call,):
                        crew.start(self._job(part, _at_once))
        finally:
            crew.finish()
        self._wide.clear()

    def _job(self, call: Batched, start: Starter) -> Task:
        """What is left to do for joined vertices once memory for their results is there."""
        into = {field.variable: self.memory.write(field.variable) for field in call.writes.values()}
        flat = {field.variable: self._read_wide(field.variable) for field in call.reads}

        def job() -> None:
            operands = {
                field.name: widened(field.reach.gather(flat[field.variable]), long=call.narrowed)
                for field in call.reads
            }
            places = {
                field.name: place
                for field in call.fills
                if (place := field.reach.destination(into[field.variable])) is not None
            }
            made = compute(call.family, operands, self.stores, places, start)
            for name, values in made.items():
                if values is not places.get(name):
                    field = call.writes[name]
                    field.reach.scatter(into[field.variable], values)

        return job

    def done(self, number: int) -> None:
        """Release what no step after this one needs."""
        for variable in self._dead[number] if self._dead else ():
            self.memory.release(variable)

    def _read_wide(self, variable: int) -> Array:
        """Contents of a variable, halves as float32: converted once for all families of a set.

        None of them reads what another writes, so the copy holds to the end of the set.
        """
        flat = self.memory.read(variable)
        if flat.dtype != np.float16:
            return flat
        if variable not in self._wide:
            self._wide[variable] = widened(flat)
        return self._wide[variable]

    def copy(self, step: Copy) -> None:
        """Carry out a copy; it reads everything before it writes."""
        saturate = self.stores.arithmetic.saturate
        self._prepared.moves(step, saturate=saturate).run(self.memory)

    def store(self, step: StreamIn, values: Array) -> None:
        """Write an array of the host, flat, into a variable."""
        self.memory.write(step.variable)[...] = values

    def read(self, variable: int) -> Array:
        """Contents of a variable, flat."""
        return self.memory.read(variable)


def _at_once(task: Task) -> None:
    task()


def run(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a program once; see `Machine.run`."""
    return Emulator(program, keep=False).run(inputs)


def run_values(
    program: Program, inputs: Mapping[str, Array], names: Iterable[str] | None = None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a program and keep the value of every layer: (outputs, values by graph name)."""
    emulator = Emulator(program)
    outputs = emulator.run(inputs)
    wanted = program.values if names is None else names
    return outputs, {name: emulator.value(name) for name in wanted}


__all__ = ["Emulator", "Memory", "compute", "run", "run_values"]
