"""The fast mode: families joined where they lie side by side, each in one batched call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.lifetimes import overwritten
from ipuc.emulator.machine import Array, Machine, compute, widened
from ipuc.emulator.memory import Memory
from ipuc.emulator.prepared import Batched, prepared
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Step, StreamIn, Sweep


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
        for call in work.calls:
            self._call(call)
        self._wide.clear()

    def _call(self, call: Batched) -> None:
        """Run joined vertices."""
        operands = {
            field.name: widened(
                field.reach.gather(self._read_wide(field.variable)), long=call.narrowed
            )
            for field in call.reads
        }
        into: dict[str, Array] = {}
        for field in call.fills:
            place = field.reach.destination(self.memory.write(field.variable))
            if place is not None:
                into[field.name] = place
        for name, values in compute(call.family, operands, self.stores, into).items():
            if values is not into.get(name):
                field = call.writes[name]
                field.reach.scatter(self.memory.write(field.variable), values)

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
