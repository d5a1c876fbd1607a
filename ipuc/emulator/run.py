"""The fast mode: families joined where they lie side by side, each in one batched call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.coalesce import coalesce
from ipuc.emulator.lifetimes import last_uses, overwritten, wholly_written
from ipuc.emulator.machine import Array, Machine, compute, tensor_values, widened
from ipuc.emulator.moves import Moves
from ipuc.program.family import VertexFamily
from ipuc.program.operand import destination, scatter
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Step, StreamIn
from ipuc.program.tensor import Tensor


class Memory:
    """Contents of all variables, allocated when first written; constants are read in place."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arrays: dict[int, Array] = dict(program.constants)
        self._owned: set[int] = set()
        self._free: dict[tuple[int, str], list[Array]] = {}

    def release(self, variable: int) -> None:
        """Let the memory of a variable be used by another one."""
        if variable in self._owned:
            self._owned.remove(variable)
            array = self.arrays.pop(variable)
            self._free.setdefault((array.size, array.dtype.name), []).append(array)

    def fill(self, variable: int) -> None:
        """Give memory to a variable of which every element is about to be written."""
        if variable not in self._owned and variable not in self.arrays:
            declared = self.program.variables[variable]
            free = self._free.get((declared.size, declared.dtype))
            self.arrays[variable] = free.pop() if free else np.empty(declared.size, declared.dtype)
            self._owned.add(variable)

    def read(self, variable: int) -> Array:
        """Contents of a variable, flat."""
        if variable not in self.arrays:
            return self.write(variable)
        return self.arrays[variable]

    def write(self, variable: int) -> Array:
        """Contents of a variable that is about to change; a constant is copied first."""
        if variable not in self._owned:
            self._owned.add(variable)
            declared = self.program.variables[variable]
            if variable in self.arrays:
                self.arrays[variable] = self.arrays[variable].copy()
            else:
                self.arrays[variable] = np.zeros(declared.size, declared.dtype)
        return self.arrays[variable]

    def tensor(self, tensor: Tensor) -> Array:
        """The values of a tensor: a new array of its shape."""
        return tensor_values(tensor, self.read)


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
        self._dead = [] if keep else last_uses(program)
        self.memory = memory = Memory(program)
        self._joined: dict[int, tuple[ComputeSet, list[VertexFamily]]] = {}
        self._moves: dict[int, tuple[Copy, Moves]] = {}
        self._wide: dict[int, Array] = {}
        watch = None if observe is None else lambda step: observe(step, memory)
        super().__init__(program, watch, arithmetic)
        self.due = overwritten(program) if keep else {}

    def execute(self, compute_set: ComputeSet) -> None:
        """Run every family of a compute set; nothing written is read in the same set."""
        if id(compute_set) not in self._joined:  # keeping the set keeps its id from being reused
            self._joined[id(compute_set)] = (compute_set, coalesce(compute_set.families))
        self.stores.step = compute_set.name
        for variable in wholly_written(self.program, compute_set):
            self.memory.fill(variable)
        for family in self._joined[id(compute_set)][1]:
            into = self._into(family)
            for name, values in compute(family, self._read_wide, self.stores, into).items():
                if values is not into.get(name):
                    access = family.fields[name]
                    scatter(access, self.memory.write(access.variable), values)
        self._wide.clear()

    def done(self, number: int) -> None:
        """Release what no step after this one needs."""
        for variable in self._dead[number] if self._dead else ():
            self.memory.release(variable)

    def _into(self, family: VertexFamily) -> dict[str, Array]:
        """Memory that the vertices may fill themselves: float32, of variables they do not read."""
        specs = family.codelet.fields
        read = {family.fields[spec.name].variable for spec in specs if spec.reads}
        found: dict[str, Array] = {}
        for spec in specs:
            access = family.fields[spec.name]
            if spec.writes and access.variable not in read:
                memory = self.memory.write(access.variable)
                view = destination(access, memory) if memory.dtype == np.float32 else None
                if view is not None:
                    found[spec.name] = view
        return found

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
        if id(step) not in self._moves:
            saturate = self.stores.arithmetic.saturate
            self._moves[id(step)] = (step, Moves(self.program, step, saturate=saturate))
        self._moves[id(step)][1].run(self.memory.read, self.memory.write)

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
