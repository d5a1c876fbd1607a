"""What a codelet is: named fields, a batched meaning in NumPy, and a cycle formula.

A codelet is a frozen dataclass in a file of its own; its dataclass fields are Poplar's template
parameters. Defining the class registers it by name, so a saved program finds it again.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.rounding import nearest as nearest_half
from ipuc.errors import InternalError, ProgramError, nearest
from ipuc.target import Target
from ipuc.types import Ints, Shape

Array = NDArray[Any]
#: A number or a column of numbers: formulas serve the profile (one vertex) and the planner
#: (a table of candidates) alike.
Number = Any


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One connectable member of a codelet.

    Attributes:
        name: the field's name.
        reads: the vertex reads it.
        writes: the vertex writes it.
        list_axes: leading window axes that number the entries of a list field; 0 for a vector.
    """

    name: str
    reads: bool
    writes: bool
    list_axes: int = 0


def In(name: str, list_axes: int = 0) -> FieldSpec:  # noqa: N802  (Poplar's word)
    """Declare a field that the vertex only reads."""
    return FieldSpec(name, reads=True, writes=False, list_axes=list_axes)


def Out(name: str, list_axes: int = 0) -> FieldSpec:  # noqa: N802  (Poplar's word)
    """Declare a field that the vertex only writes; all of it."""
    return FieldSpec(name, reads=False, writes=True, list_axes=list_axes)


def InOut(name: str, list_axes: int = 0) -> FieldSpec:  # noqa: N802  (Poplar's word)
    """Declare a field that the vertex reads and then writes; all of it."""
    return FieldSpec(name, reads=True, writes=True, list_axes=list_axes)


def _nowhere(field: str) -> Ints:
    """Where a field lies if nobody has said so."""
    raise InternalError(f'field "{field}" lies in no variable')


def _at_once(task: Callable[[], None]) -> None:
    task()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batched call of `Codelet.compute` is about.

    Attributes:
        grid: shape of the family's grid; operands are shaped [*grid, *window].
        windows: shape of one vertex's window, by field name.
        rounded: (field, sums, number) to the sums as the hardware has them once it has added them
            into that field, if the field is of halves: rounded, as float32. The number tells the
            accumulations of one call apart, from 1 on. Results need no rounding: storing does it.
        into: where a written field may be put without a copy: [*grid, *window], by field name. A
            codelet that fills one returns that very array. The family reads it by that field only,
            if at all: then the operand is a view of the same memory, element for element.
        places: field to the position of each of its elements in its variable: [*grid, *window];
            what codelets that draw random numbers draw them by.
        step: number of the training step.
        start: takes work that fills what `into` gave, which nobody needs before the compute set
            ends. Tasks may run at the same time, and after `compute` has returned.
    """

    grid: Shape
    windows: Mapping[str, Shape]
    rounded: Callable[[str, Array, int], Array] = nearest_half
    into: Mapping[str, Array] = field(default_factory=dict)
    places: Callable[[str], Ints] = _nowhere
    step: int = 0
    start: Callable[[Callable[[], None]], None] = _at_once

    @property
    def axes(self) -> int:
        """Number of leading grid axes of every operand."""
        return len(self.grid)

    def full(self, name: str) -> Shape:
        """Shape [*grid, *window] of a field."""
        return (*self.grid, *self.windows[name])


@dataclass(frozen=True, slots=True)
class FreeAxis:
    """A window axis along which work may be cut anywhere without changing a result.

    The fast emulator joins vertices along such axes into fewer, larger array operations.

    Attributes:
        axes: for each field that moves along it, the axis of its window.
        slide: for a sliding window, (the input fields, stride, dimension of the codelet's
            `pads`): those move `stride` elements for each output and overlap their neighbours'.
    """

    axes: Mapping[str, int]
    slide: tuple[tuple[str, ...], int, int] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One way to use a codelet, from which tests make whole programs.

    Attributes:
        codelet: with the template parameters of this use.
        windows: window shape of every field.
        dtypes: element type by field name, as tiles carry it; float32 where none is given.
        ranges: (least, greatest) random value by field name, where the values of a field must
            stay inside one: indices, or the argument of a logarithm. Integers include both ends.
        larger: windows of the same ranks with more work for the same codelet, for the test that
            cycles grow; None doubles every extent of every window.
    """

    codelet: Codelet
    windows: Mapping[str, Shape]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    larger: Mapping[str, Shape] | None = None

    def dtype(self, name: str) -> str:
        """Element type of a field."""
        return self.dtypes.get(name, "float32")

    def grown(self) -> dict[str, Shape]:
        """Windows of a vertex with more work."""
        if self.larger is not None:
            return dict(self.larger)
        return {name: tuple(2 * n for n in shape) for name, shape in self.windows.items()}


_REGISTRY: dict[str, type[Codelet]] = {}


@dataclass(frozen=True)
class Codelet(ABC):
    """A vertex type.

    Subclasses are frozen dataclasses with the class attributes `name` and `fields`; one without
    template parameters needs no decorator. `name` is Poplar's spelling (ConvPartialnx1,
    ReduceAdd); two codelets may not share one.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[FieldSpec, ...]]
    #: It multiplies matrices, and shares that out over threads itself; the more vertices at once,
    #: the better. The emulator cuts large families of any other codelet into parts.
    multiplies: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the codelet, so that saved programs can name it."""
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            _REGISTRY[cls.name] = cls

    @abstractmethod
    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Run all vertices of a family at once.

        Args:
            batch: grid and window shapes.
            **operands: every field that is read, shaped [*grid, *window]; axes on which an
                operand is shared have stride 0. Half operands arrive as float32.

        Returns:
            Every field that is written, shaped [*grid, *window] (or broadcastable to it).
        """

    @abstractmethod
    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Tile cycles of one vertex, all six workers included; a sum over a tile's vertices.

        Args:
            target: the machine.
            windows: shape of each field's window; entries may be arrays (planner columns).
            itemsize: bytes of one data element.
        """

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of the element that `cycles` asks about, from those of the fields: the widest."""
        return max(sizes.values())

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """Poplar's edges of one vertex: one per vector field, one per entry of a list field."""
        return sum(math.prod(windows[spec.name][: spec.list_axes]) for spec in self.fields)

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """Entries of the worklists that tell each worker which outputs it makes; 0 without them.

        Args:
            windows: shape of each field's window.
            workers: worker contexts of a tile.
            itemsize: as `cycles` has it.
        """
        del windows, workers, itemsize
        return 0

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The cycle formula of one vertex with its numbers filled in, for people.

        Returns:
            An expression of numbers, +, x, / and ceil, " = " and the cycles; or, of a codelet that
            does not write its formula out, what `cycles` is asked for in place of the expression.
            Words may follow after a semicolon.
        """
        asked = ", ".join(f"{name} {'x'.join(map(str, n)) or 1}" for name, n in windows.items())
        made = int(self.cycles(target, windows, itemsize))
        workers = target.worker_contexts
        return f"cycles({asked}; {itemsize}-byte elements, {workers} workers) = {made:,}"

    @property
    def on_matrix_unit(self) -> bool:
        """Whether the vertex uses the matrix unit, whose code is long and results aligned."""
        return False

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Floating point operations of one vertex (a multiply-add is two)."""
        del windows
        return 0

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Window axes along which vertices may be joined; none if in doubt."""
        del windows
        return ()

    def joined(self, dim: int, last: Codelet) -> Codelet:
        """The codelet of a row of vertices joined along a slide: this one is the first of them."""
        raise AssertionError(f"{self.name} has no slide {dim} to join with {last.name}")

    def parameters(self) -> dict[str, Any]:
        """Template parameters, as JSON values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Small uses of the codelet, at least one for each kind of work it does.

        The contract tests make a program from each: batched against one by one, cycles, and
        mutations. A codelet of the package without an example fails them.
        """
        return ()

    @classmethod
    def spec(cls, name: str) -> FieldSpec:
        """Find a field by name."""
        for spec in cls.fields:
            if spec.name == name:
                return spec
        raise ProgramError(
            f'codelet {cls.name} has no field "{name}"',
            fix=nearest(name, [spec.name for spec in cls.fields]),
        )


def source_of(kind: type[Codelet]) -> str:
    """Where a cycle formula comes from: the `Source:` of the docstring; empty without one."""
    for owner in kind.__mro__:
        _, said, rest = inspect.cleandoc(owner.__doc__ or "").partition("Source:")
        if said:
            return " ".join(rest.split("\n\n")[0].split()).rstrip(".")
    return ""


def pointwise(windows: Mapping[str, Shape], fields: Sequence[str]) -> tuple[FreeAxis, ...]:
    """The free axes of fields that have one window shape: all of them."""
    axes = range(len(windows[fields[0]]))
    return tuple(FreeAxis(dict.fromkeys(fields, axis)) for axis in axes)


def joined_pads(first: Codelet, last: Codelet, name: str, dim: int) -> tuple[tuple[int, int], ...]:
    """Pairs of border sizes of two codelets that were joined along one dimension."""
    low, high = first.parameters()[name], last.parameters()[name]
    return (*low[:dim], (low[dim][0], high[dim][1]), *low[dim + 1 :])


def registered() -> dict[str, type[Codelet]]:
    """Every codelet by name, ours discovered, a user's once their module is imported."""
    package = importlib.import_module("ipuc.codelets")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ipuc.codelets.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def tupled(value: Any) -> Any:
    """Turn the lists of JSON back into the tuples of template parameters."""
    return tuple(tupled(item) for item in value) if isinstance(value, list) else value


def restore(name: str, parameters: Mapping[str, Any]) -> Codelet:
    """Make the codelet that a saved program names.

    Raises:
        ProgramError: no such codelet, or parameters it does not take.
    """
    known = registered()
    if name not in known:
        raise ProgramError(
            f'no codelet is called "{name}"',
            fix=f"import the Python file that defines it first, or {nearest(name, known)}",
        )
    try:
        return known[name](**{key: tupled(value) for key, value in parameters.items()})
    except TypeError as error:
        raise ProgramError(f"codelet {name} does not take these parameters: {error}") from None


def ceil_div(a: Number, b: Number) -> Number:
    """ceil(a / b) for whole numbers and columns of them."""
    return -(-a // b)


def elements(window: tuple[Number, ...]) -> Number:
    """Product of a window's extents; works on planner columns too."""
    product: Number = 1
    for extent in window:
        product = product * extent
    return product


def maximum(a: Number, b: Number) -> Number:
    """Larger of two numbers or columns, as Python ints where both are."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)
