"""Build programs as with Poplar's Graph: variables, mappings, vertices, steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from collections.abc import Sequence as Items
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ProgramError, ShapeError
from ipuc.program.compute_set import ComputeSetBuilder, one_view
from ipuc.program.factors import common_factors
from ipuc.program.family import Access, Origin, VertexFamily, Workers, separable
from ipuc.program.mapping import map_by_use
from ipuc.program.moves import copy_moves
from ipuc.program.program import Held, Layer, Program
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
from ipuc.program.tensor import Tensor, View, coalesce, of_variable
from ipuc.program.variables import TileMapping, Variable, linear_mapping
from ipuc.program.verify import verify
from ipuc.target import Target
from ipuc.types import Ints, Shape, TensorType, device_dtype, to_device

__all__ = ["Builder", "ComputeSetBuilder", "common_factors"]


class Builder:
    """Author of a program.

    On a machine of several IPUs, vertices and variables are put on tiles of one of them at a time:
    `ipu` says which, and its tiles are called 0 to `target.tiles` - 1.

    Args:
        target: the machine to build for.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.variables: list[Variable] = []
        self.constants: dict[int, NDArray[Any]] = {}
        self.functions: dict[str, Sequence] = {}
        self.inputs: dict[str, TensorType] = {}
        self.outputs: dict[str, TensorType] = {}
        self.values: dict[str, Tensor] = {}
        self.state: dict[str, Held] = {}
        self.layers: list[Layer] = []
        self.metadata: dict[str, Any] = {}
        self.layer = ""
        self.layer_pass = "forward"
        self.ipu = 0
        #: What runs the vertices of the compute sets that follow; see `VertexFamily.workers`.
        self.workers: Workers = "all"
        self._steps: list[Step] = []
        #: For each variable the families that wrote it first, the body in which they stand, and
        #: the IPU as whose tiles theirs are numbered.
        self._makers: dict[int, tuple[list[Step], int, tuple[VertexFamily, ...]]] = {}
        #: The IPU of every variable that no vertex touches: int by variable id.
        self._ipus: list[int] = []
        #: For variables that no vertex touches, the variable that they lie like.
        self.like: dict[int, int] = {}

    @property
    def first_tile(self) -> int:
        """The machine's number of the first tile of the IPU that is built for now."""
        return self.ipu * self.target.tiles

    # -- variables ---------------------------------------------------------------------------

    def variable(self, name: str, dtype: str, shape: Shape) -> Tensor:
        """Add a variable that somebody maps later, and view the whole of it.

        Raises:
            ShapeError: tiles carry no such element type.
        """
        device = device_dtype(dtype, name)
        variable = Variable(len(self.variables), name, device, tuple(shape), origin=self.layer)
        self.variables.append(variable)
        self._ipus.append(self.ipu)
        return of_variable(variable)

    def constant(self, name: str, array: NDArray[Any]) -> Tensor:
        """Add a variable with initial contents; 64-bit integers become 32-bit.

        Raises:
            ValueRangeError: an integer does not fit 32 bits.
        """
        values = to_device(np.asarray(array), name)
        tensor = self.variable(name, values.dtype.name, values.shape)
        self.constants[len(self.variables) - 1] = np.ascontiguousarray(values).reshape(-1)
        return tensor

    def is_fresh(self, variable: int) -> bool:
        """Whether nothing uses or maps a variable yet."""
        mapped = self.variables[variable].mapping is not None
        return not (mapped or self._program().touches(variable))

    def relay(self, variable: int, shape: Shape, order: Items[int]) -> Tensor:
        """Lay a variable that nothing touches out with the axes of a shape in another order.

        Args:
            variable: its id.
            shape: row-major as it lies now.
            order: axes, the outermost first.

        Returns:
            The same elements under the same shape.
        """
        if variable in self.constants:
            array = self.constants[variable].reshape(shape).transpose(order)
            self.constants[variable] = np.ascontiguousarray(array).reshape(-1)
        self.variables[variable].shape = tuple(shape[axis] for axis in order)
        return of_variable(self.variables[variable]).transpose([int(a) for a in np.argsort(order)])

    def input(self, name: str, dtype: str, shape: Shape, carried: str | None = None) -> Tensor:
        """Add a variable that the host writes at this point of the program.

        Args:
            name: of the input.
            dtype: ONNX element type of the host's array.
            shape: of the array.
            carried: type in which tiles carry it, if another: float16 for an array of float32.

        Raises:
            ShapeError: tiles carry no such element type.
        """
        _once(name, self.inputs, "input")
        tensor = self.variable(name, carried or dtype, shape)
        self.inputs[name] = TensorType(dtype, tuple(shape))
        self._steps.append(StreamIn(name, len(self.variables) - 1, tuple(shape)))
        return tensor

    def output(self, name: str, tensor: Tensor, dtype: str | None = None) -> None:
        """Let the host read a tensor at this point of the program."""
        _once(name, self.outputs, "output")
        self.outputs[name] = TensorType(dtype or tensor.dtype, tensor.shape)
        self._steps.append(StreamOut(name, tensor))

    # -- tile mapping ------------------------------------------------------------------------

    def _whole(self, tensor: Tensor) -> Variable:
        view = tensor.view()
        if view is None or self.variables[view.variable].size != tensor.size:
            raise ProgramError(
                "only a whole variable can be mapped", fix="map it before viewing it"
            )
        return self.variables[view.variable]

    def map(self, tensor: Tensor, starts: Items[int], tiles: Items[int]) -> None:
        """Map a variable: interval i begins at starts[i] and lives on tiles[i]."""
        variable = self._whole(tensor)
        where = np.asarray(tiles, np.int64) + self.first_tile
        variable.mapping = TileMapping(np.asarray(starts, np.int64), where)

    def map_linear(self, tensor: Tensor, grain: int = 1, first_tile: int = 0) -> None:
        """Spread a variable over the tiles in order."""
        variable = self._whole(tensor)
        tiles, begin = self.target.tiles - first_tile, self.first_tile + first_tile
        variable.mapping = linear_mapping(variable.size, tiles, grain, variable.itemsize, begin)

    def placed(self, tensor: Tensor) -> TileMapping | None:
        """Where the variable under a view lies, as far as the steps so far decide it.

        Returns:
            The mapping, in the machine's numbers of tiles; None if no vertex touches the variable
            yet, nobody has mapped it, and it lies like no other.
        """
        variable = self.variables[self.one_view(tensor).variable]
        if variable.mapping is not None:
            return variable.mapping
        users = [
            [
                family
                for family in compute_set.families
                if any(access.variable == variable.id for access in family.fields.values())
            ]
            for compute_set in self._program().compute_sets()
        ]
        if not any(users):
            other = self.like.get(variable.id)
            return None if other is None else self.placed(of_variable(self.variables[other]))
        found = replace(variable)
        map_by_use([found], users, self.target.tiles)
        return found.mapping

    # -- fields ------------------------------------------------------------------------------

    def field(
        self,
        tensor: Tensor,
        tables: Items[Items[int] | Ints],
        shape: Shape,
        strides: Items[int] | None = None,
    ) -> Access:
        """Connect windows of a tensor: the general form.

        Args:
            tensor: one strided view.
            tables: per grid axis, the element offset that each position adds.
            shape: window extents.
            strides: window strides in elements; row-major within the window if None.
        """
        view = self.one_view(tensor)
        if strides is None:
            strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        offset = separable(view.offset, *[np.asarray(t, np.int64) for t in tables])
        return Access(view.variable, offset, tuple(shape), tuple(strides))

    def blocks(self, tensor: Tensor, parts: Items[int]) -> Access:
        """Connect equal blocks: axis i is cut into parts[i], one grid axis for each axis.

        Raises:
            ShapeError: an extent is not a multiple of its parts (use `split_axis`, which gives a
                family for each size).
        """
        view = self.one_view(tensor)
        tables, shape, strides = [], [], []
        for axis, extent, count in zip(view.axes, tensor.shape, parts, strict=True):
            if extent % count:
                raise ShapeError(
                    f"{extent} elements do not split into {count} equal parts",
                    fix="use split_axis and add one family for each size of part",
                )
            factors = coalesce(axis) or ((1, 0),)
            if len(factors) != 1:
                raise ShapeError("this axis is not one run", fix="materialise the tensor first")
            size = extent // count
            tables.append(np.arange(count) * size * factors[0][1])
            shape.append(size)
            strides.append(factors[0][1])
        return Access(view.variable, separable(view.offset, *tables), tuple(shape), tuple(strides))

    @staticmethod
    def one_view(tensor: Tensor) -> View:
        """The only view of a tensor.

        Raises:
            ProgramError: the tensor joins several variables or holds a constant fill.
        """
        return one_view(tensor)

    # -- steps -------------------------------------------------------------------------------

    @contextmanager
    def _collect(self) -> Iterator[list[Step]]:
        outer, self._steps = self._steps, []
        try:
            yield self._steps
        finally:
            self._steps = outer

    @contextmanager
    def compute_set(self, name: str, *, sweep: bool = False) -> Iterator[ComputeSetBuilder]:
        """Fill a compute set; it is executed where the `with` block stands.

        Args:
            name: for reports and errors.
            sweep: run the positions of the first grid axis one after another.
        """
        origins = (Origin(self.layer, self.layer_pass),)
        making = ComputeSetBuilder(name, origins, self.workers, self.first_tile)
        yield making
        made = ComputeSet(name, tuple(making.families))
        if made.families:
            self._steps.append(Sweep(made) if sweep else Execute(made))
            writing: dict[int, dict[int, VertexFamily]] = {}
            for number, family in enumerate(made.families):
                tile = replace(family.tile, base=family.tile.base - self.first_tile)
                for spec in family.codelet.fields if family.count else ():
                    if spec.writes:
                        users = writing.setdefault(family.fields[spec.name].variable, {})
                        users[number] = replace(family, tile=tile)
            for variable, users in writing.items():
                found = (self._steps, self.ipu, tuple(users.values()))
                self._makers.setdefault(variable, found)

    def makers(self, variable: int) -> tuple[VertexFamily, ...]:
        """Families of the first compute set that writes a variable: its elements live with them.

        Tiles are numbered as those of the IPU that is built for. None are told of a variable that
        is made on another IPU, or in another body than the one being filled, which may run more
        often or less.
        """
        body, ipu, families = self._makers.get(variable, (None, self.ipu, ()))
        return families if body is self._steps and ipu == self.ipu else ()

    def follow(self, variable: int, other: int) -> None:
        """Let a variable into which another was copied whole lie as that does.

        Where it lies is still decided by the vertices that touch it, if any do; work in place may
        stand where the other's makers stand.
        """
        self.like[variable] = other
        if other in self._makers:
            _, ipu, families = self._makers[other]
            moved = tuple(family.moved({other: variable}) for family in families)
            self._makers[variable] = (self._steps, ipu, moved)

    @contextmanager
    def repeat(self, count: int) -> Iterator[None]:
        """Repeat the steps of the `with` block."""
        with self._collect() as steps:
            yield
        self._steps.append(Repeat(count, Sequence(tuple(steps))))

    @contextmanager
    def function(self, name: str) -> Iterator[None]:
        """Define a function from the steps of the `with` block; `call` runs it."""
        _once(name, self.functions, "function")
        with self._collect() as steps:
            yield
        self.functions[name] = Sequence(tuple(steps))

    def call(self, name: str, names: Items[tuple[str, str]] = ()) -> None:
        """Run a function defined before, for the layer that is built now.

        Args:
            name: of the function.
            names: values by their name in the function, and what they are called here.
        """
        if name not in self.functions:
            raise ProgramError(f'no function is called "{name}"', fix="define it first")
        self._steps.append(Call(name, self.layer, self.layer_pass, tuple(names)))

    def branch(self, condition: Tensor, then: str, otherwise: str) -> None:
        """Run one of two functions.

        Args:
            condition: one bool or int32 element; copied to a variable of its own if it is part
                of a larger one.
            then: function to run if it is not zero.
            otherwise: function to run if it is.

        Raises:
            ProgramError: a function is not defined.
            ShapeError: the condition is not one bool or int32 element.
        """
        for name in (then, otherwise):
            if name not in self.functions:
                raise ProgramError(f'no function is called "{name}"', fix="define it first")
        if condition.size != 1 or condition.dtype not in ("bool", "int32"):
            raise ShapeError(
                f"a condition is one bool or int32 element, not {condition.dtype}"
                f"[{'x'.join(map(str, condition.shape))}]"
            )
        view = condition.view()
        if view is None or self.variables[view.variable].size != 1:
            view = self.one_view(self.copy(condition, "condition"))
        both = (Call(name, self.layer, self.layer_pass) for name in (then, otherwise))
        self._steps.append(If(view.variable, *both))

    def copy_into(self, destination: Tensor, source: Tensor, name: str = "copy") -> None:
        """Copy a tensor onto another of the same shape, piece by piece."""
        self.copy_together([(destination, source)], name)

    def copy_together(self, pairs: Items[tuple[Tensor, Tensor]], name: str) -> None:
        """Copy tensors, (destination, source) of one shape each, in one step."""
        moves = [move for destination, source in pairs for move in copy_moves(destination, source)]
        if moves:
            self._steps.append(Copy(name, tuple(moves), self.layer))

    def copy(self, tensor: Tensor, name: str = "copy") -> Tensor:
        """Copy a tensor into a new row-major variable (a charged step) and view that."""
        made = self.variable(name, tensor.dtype, tensor.shape)
        self.copy_into(made, tensor, name)
        return made

    def reshape(self, tensor: Tensor, shape: Shape, name: str = "reshape") -> Tensor:
        """View a tensor under another shape, through a copy only where no view can."""
        made = tensor.reshape(shape)
        if made is None:
            made = self.copy(tensor, name).reshape(shape)
        assert made is not None
        return made

    def solid(self, tensor: Tensor, name: str = "copy") -> Tensor:
        """Give the tensor as one strided view with one factor per axis, copied if need be."""
        view = tensor.view()
        if view is not None and all(len(coalesce(axis)) <= 1 for axis in view.axes):
            axes = tuple(coalesce(axis) or ((1, 0),) for axis in view.axes)
            return replace(
                tensor, pieces=(replace(tensor.pieces[0], source=replace(view, axes=axes)),)
            )
        return self.copy(tensor, name)

    # -- the end -----------------------------------------------------------------------------

    def map_rest(self) -> None:
        """Map every variable that is not mapped yet by its use (what lowering does)."""
        program = self._program()
        first = [ipu * self.target.tiles for ipu in self._ipus]
        families = [compute_set.families for compute_set in program.compute_sets()]
        users = (family for mine in families for family in mine) if self.like else ()
        used = {access.variable for family in users for access in family.fields.values()}
        alike = self.like.keys() - used
        decided = [variable for variable in self.variables if variable.id not in alike]
        map_by_use(decided, families, self.target.tiles, first)
        for id_ in alike:
            variable, other = self.variables[id_], self.like[id_]
            while other in alike:
                other = self.like[other]
            variable.mapping = variable.mapping or self.variables[other].mapping

    def _program(self) -> Program:
        return Program(
            self.target,
            self.variables,
            self.constants,
            Sequence(tuple(self._steps)),
            dict(self.functions),
            dict(self.inputs),
            dict(self.outputs),
            dict(self.values),
            list(self.layers),
            dict(self.metadata),
            state=dict(self.state),
        )

    def build(self) -> Program:
        """Finish: the program, held to Poplar's rules.

        Raises:
            ProgramError: a rule is broken.
        """
        program = self._program()
        verify(program)
        return program


def _once(name: str, known: Collection[str], what: str) -> None:
    """Refuse a second thing of one name.

    Raises:
        ProgramError: there is one already.
    """
    if name in known:
        raise ProgramError(
            f'the program has the {what} "{name}" already', fix="choose another name"
        )
