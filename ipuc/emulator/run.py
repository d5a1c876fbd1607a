"""The fast mode: every family in one batched call on whole variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Batch
from ipuc.errors import ShapeError
from ipuc.program.family import VertexFamily
from ipuc.program.operand import gather, gather_grid, scatter
from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Repeat,
    Sequence,
    Step,
    StreamIn,
    StreamOut,
    Sweep,
)
from ipuc.program.tensor import Tensor, View
from ipuc.types import TensorType, to_device

Array = NDArray[Any]


class Memory:
    """Contents of all variables, allocated when first written; constants are read in place."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arrays: dict[int, Array] = dict(program.constants)
        self._owned: set[int] = set()

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
        out = np.empty(tensor.shape, tensor.dtype)
        for piece in tensor.pieces:
            place = tuple(slice(b, e) for b, e in zip(piece.begin, piece.end, strict=True))
            if isinstance(piece.source, View):
                out[place] = view_values(piece.source, self.read(piece.source.variable))
            else:
                out[place] = piece.source.value
        return out


def view_values(view: View, flat: Array) -> Array:
    """The elements of a view as an array of its shape."""
    factors = [factor for axis in view.axes for factor in axis]
    return np.ndarray(
        tuple(n for n, _ in factors),
        flat.dtype,
        flat,
        view.offset * flat.itemsize,
        tuple(s * flat.itemsize for _, s in factors),
    ).reshape(view.shape)


class Emulator:
    """Executes a program.

    Args:
        program: what to run; it should have passed the verifier.
        observe: called after every step at the top level with the step and the memory.
    """

    def __init__(
        self, program: Program, observe: Callable[[Step, Memory], None] | None = None
    ) -> None:
        self.program = program
        self.memory = Memory(program)
        self._observe = observe
        self._inputs: dict[str, Array] = {}
        self._outputs: dict[str, Array] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program once.

        Args:
            inputs: an array for every input of the program, of the declared type and shape.

        Returns:
            Every output, in ONNX's own element type.

        Raises:
            ShapeError: an input is missing, unknown, or of the wrong type or shape.
            ValueRangeError: a 64-bit integer does not fit 32 bits.
        """
        self._inputs = check_inputs(self.program.inputs, inputs)
        self._outputs = {}
        for step in self.program.main.steps:
            self.step(step)
            if self._observe is not None:
                self._observe(step, self.memory)
        return self._outputs

    def step(self, step: Step) -> None:
        """Execute one step."""
        match step:
            case Execute():
                self.execute(step.compute_set)
            case Sweep():
                for index in range(step.count):
                    self.execute(step.at(index))
            case Copy():
                self.copy(step)
            case StreamIn():
                self.memory.write(step.variable)[...] = self._inputs[step.name].reshape(-1)
            case StreamOut():
                wanted = self.program.outputs[step.name].dtype
                values = self.memory.tensor(step.tensor)
                self._outputs[step.name] = values.astype(wanted, copy=False)
            case Sequence():
                for child in step.steps:
                    self.step(child)
            case Repeat():
                for _ in range(step.count):
                    self.step(step.body)
            case If():
                taken = bool(self.memory.read(step.condition)[0])
                self.step(step.then if taken else step.otherwise)
            case Call():
                self.step(self.program.functions[step.function])

    def execute(self, compute_set: ComputeSet) -> None:
        """Run every family of a compute set; nothing written is read in the same set."""
        for family in compute_set.families:
            for name, values in compute(family, self.memory.read).items():
                access = family.fields[name]
                scatter(access, self.memory.write(access.variable), values)

    def copy(self, step: Copy) -> None:
        """Carry out a copy; it reads everything before it writes."""
        values = [
            gather(m.source, self.memory.read(m.source.variable)).copy() if m.source else m.value
            for m in step.moves
        ]
        for move, value in zip(step.moves, values, strict=True):
            into = self.memory.write(move.destination.variable)
            scatter(move.destination, into, np.asarray(value))


def compute(family: VertexFamily, read: Callable[[int], Array]) -> dict[str, Array]:
    """Run the vertices of a family: what they write, each [*grid, *window].

    Half operands are computed in float32 and rounded once, when they are stored.
    """
    operands: dict[str, Array] = {}
    for spec in family.codelet.fields:
        if spec.reads:
            access = family.fields[spec.name]
            operand = gather_grid(access, read(access.variable))
            if operand.dtype == np.float16:
                operand = operand.astype(np.float32)
            operands[spec.name] = operand
    with np.errstate(all="ignore"):
        return family.codelet.compute(Batch(family.grid, family.windows()), **operands)


def check_inputs(
    declared: Mapping[str, TensorType], given: Mapping[str, Array]
) -> dict[str, Array]:
    """Hold the host's arrays to the program's inputs.

    Raises:
        ShapeError: an input is missing, unknown, or of the wrong type or shape.
    """
    missing = [name for name in declared if name not in given]
    extra = [name for name in given if name not in declared]
    if missing or extra:
        parts = [f'"{n}" is not given' for n in missing] + [f'"{n}" is unknown' for n in extra]
        wanted = ", ".join(f"{name}: {kind}" for name, kind in declared.items())
        raise ShapeError(f"the inputs do not match: {'; '.join(parts)}", fix=f"give {wanted}")
    checked: dict[str, Array] = {}
    for name, kind in declared.items():
        array = np.asarray(given[name])
        if array.dtype.name != kind.dtype or array.shape != kind.shape:
            found = TensorType(array.dtype.name, array.shape)
            raise ShapeError(
                f"expected {kind}, found {found}", where=f'input "{name}"', fix=f"give {kind}"
            )
        checked[name] = to_device(array, f'input "{name}"')
    return checked


def run(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a program once; see `Emulator.run`."""
    return Emulator(program).run(inputs)


def run_values(
    program: Program, inputs: Mapping[str, Array], names: Iterable[str] | None = None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a program and keep the value of every layer: (outputs, values by graph name)."""
    wanted = program.values if names is None else {n: program.values[n] for n in names}
    emulator = Emulator(program)
    outputs = emulator.run(inputs)
    return outputs, {name: emulator.memory.tensor(tensor) for name, tensor in wanted.items()}


__all__ = ["Emulator", "Memory", "compute", "run", "run_values"]
