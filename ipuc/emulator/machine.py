"""The control flow of a program, the same for every way to hold its memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ipuc.codelets.define import Batch
from ipuc.codelets.rounding import Arithmetic, fitted
from ipuc.emulator.stores import Stores
from ipuc.errors import ShapeError
from ipuc.program.family import VertexFamily
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
#: Takes a task of a codelet; see `Batch.start`.
Starter = Callable[[Callable[[], None]], None]


@cache
def _one_library_thread() -> ThreadpoolController:
    """Hold the matrix library to one thread: `ipuc.codelets.threads` shares products out."""
    return ThreadpoolController()


class Machine(ABC):
    """Walks the steps of a program; subclasses say what a step does to memory.

    Args:
        program: what to run; it should have passed the verifier.
        watch: called after every step at the top level.
        arithmetic: how halves are made; as the program was compiled, if None.

    Attributes:
        stores: rounds, and knows how many values were too large for a half.
        due: values of the graph to keep before a top-level step, by its number.
        kept: those values, once that step has run.
    """

    def __init__(
        self,
        program: Program,
        watch: Callable[[Step], None] | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self.program = program
        self.stores = Stores(program, arithmetic)
        self.due: Mapping[int, list[str]] = {}
        self.kept: dict[str, Array] = {}
        self._watch = watch
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
        self.stores.overflows.clear()
        self.kept.clear()
        with _one_library_thread().limit(limits=1, user_api="blas"):
            for number, step in enumerate(self.program.main.steps):
                for name in self.due.get(number, ()):
                    self.kept[name] = self.tensor(self.program.values[name])
                self.step(step)
                if self._watch is not None:
                    self._watch(step)
                self.done(number)
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
                values = self._inputs[step.name].reshape(-1)
                self.store(step, self.stores.flat(step.variable, values))
            case StreamOut():
                wanted = self.program.outputs[step.name].dtype
                values = self.tensor(step.tensor)
                self._outputs[step.name] = values.astype(wanted, copy=False)
            case Sequence():
                for child in step.steps:
                    self.step(child)
            case Repeat():
                for _ in range(step.count):
                    self.step(step.body)
            case If():
                taken = bool(self.read(step.condition)[0])
                self.step(step.then if taken else step.otherwise)
            case Call():
                with self.stores.called(step):
                    self.step(self.program.functions[step.function])

    def done(self, number: int) -> None:
        """Note that a top-level step, counted from 0, has run."""
        del number

    @abstractmethod
    def execute(self, compute_set: ComputeSet) -> None:
        """Run the vertices of one superstep."""

    @abstractmethod
    def copy(self, step: Copy) -> None:
        """Carry out a copy; it reads everything before it writes."""

    @abstractmethod
    def store(self, step: StreamIn, values: Array) -> None:
        """Write an array of the host, flat, into a variable."""

    @abstractmethod
    def read(self, variable: int) -> Array:
        """Contents of a variable, flat, as the host would see them."""

    def tensor(self, tensor: Tensor) -> Array:
        """The values of a tensor: a new array of its shape."""
        return tensor_values(tensor, self.read)

    def state(self) -> dict[str, Array]:
        """What stays on the chip from run to run, by name, in ONNX's own element types."""
        return {
            name: self.tensor(held.tensor).astype(held.dtype, copy=False)
            for name, held in self.program.state.items()
        }

    def value(self, name: str) -> Array:
        """A value of the graph, after a run that kept it."""
        known = self.kept.get(name)
        return self.tensor(self.program.values[name]) if known is None else known


def tensor_values(tensor: Tensor, read: Callable[[int], Array]) -> Array:
    """Put a tensor together from the flat contents of its variables."""
    out = np.empty(tensor.shape, tensor.dtype)
    for piece in tensor.pieces:
        place = tuple(slice(b, e) for b, e in zip(piece.begin, piece.end, strict=True))
        if isinstance(piece.source, View):
            out[place] = view_values(piece.source, read(piece.source.variable))
        else:
            out[place] = fitted(np.asarray(piece.source.value), tensor.dtype)
    return out


def view_values(view: View, flat: Array) -> Array:
    """The elements of a view as an array of its shape."""
    return view_of(view, flat).reshape(view.shape)


def view_of(view: View, flat: Array) -> Array:
    """The elements of a view in place, with an axis for each factor of its axes."""
    factors = [factor for axis in view.axes for factor in axis]
    return np.ndarray(
        tuple(n for n, _ in factors),
        flat.dtype,
        flat,
        view.offset * flat.itemsize,
        tuple(s * flat.itemsize for _, s in factors),
    )


def _at_once(task: Callable[[], None]) -> None:
    task()


def compute(
    family: VertexFamily,
    operands: Mapping[str, Array],
    stores: Stores,
    into: Mapping[str, Array] | None = None,
    start: Starter = _at_once,
) -> dict[str, Array]:
    """Run the vertices of a family: what memory then holds in each field, [*grid, *window].

    Half operands are computed in float32 and rounded once, here. Codelets may fill the memory
    `into` themselves, in tasks that they give to `start`; see `Batch`.
    """
    with np.errstate(all="ignore"):
        batch = Batch(
            family.grid,
            family.windows(),
            lambda name, sums, number: stores.accumulated(family, name, sums, number),
            into or {},
            lambda name: stores.elements(family.fields[name]),
            stores.arithmetic.step,
            start,
        )
        made = family.codelet.compute(batch, **operands)
    made = {name: stores.field(family, name, np.asarray(v)) for name, v in made.items()}
    if len(made) > 1:
        # Storing one output must not change another that is a view of memory.
        return {
            name: values.copy()
            if any(np.may_share_memory(values, operand) for operand in operands.values())
            else values
            for name, values in made.items()
        }
    return made


def widened(operand: Array, *, long: bool = False) -> Array:
    """Turn halves into float32; axes on which vertices share elements keep stride 0.

    Args:
        operand: [*grid, *window].
        long: turn 32-bit integers into 64-bit ones too, because the result stands for those: a
            sum or product that does not fit 32 bits must be noticed.
    """
    wide: type[np.generic] | None = np.float32 if operand.dtype == np.float16 else None
    if long and operand.dtype in (np.int32, np.uint32):
        wide = np.int64
    if wide is None:
        return operand
    kept = tuple(slice(None) if step else slice(1) for step in operand.strides)
    return np.broadcast_to(operand[kept].astype(wide), operand.shape)


def check_inputs(
    declared: Mapping[str, TensorType], given: Mapping[str, Array]
) -> dict[str, Array]:
    """Hold the host's arrays to the program's inputs.

    Raises:
        ShapeError: an input is missing, unknown, or of the wrong type or shape.
        ValueRangeError: a 64-bit integer does not fit 32 bits.
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
            # The type alone is wrong: say what to write.
            fix = f'x.astype("{kind.dtype}")' if array.shape == kind.shape else f"give {kind}"
            raise ShapeError(f"expected {kind}, found {found}", where=f'input "{name}"', fix=fix)
        checked[name] = to_device(array, f'input "{name}"')
    return checked
