"""Rebuild a program from JSON values and arrays that nobody vouches for.

Every value is held to its type and range before it is used; no name in the file is executed, only
looked up among the codelets that are already imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Codelet, restore
from ipuc.errors import ContainerError, ProgramError
from ipuc.program.archive import too_large
from ipuc.program.checked import (
    LIMIT,
    Json,
    extents,
    items,
    need,
    real,
    table,
    text,
    unplain,
    whole,
)
from ipuc.program.encode import MAX_DEPTH
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily, Workers
from ipuc.program.program import Held, Layer, Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Move,
    Repeat,
    Sequence,
    Step,
    StreamIn,
    StreamOut,
    Sweep,
)
from ipuc.program.tensor import Fill, Piece, Tensor, View
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import Target
from ipuc.target.catalogue import MAX_IPUS, MAX_TILES
from ipuc.types import DEVICE_DTYPES, Ints, Shape, TensorType

T = TypeVar("T")

_DEVICE = frozenset(DEVICE_DTYPES.values())
_HOST = frozenset(DEVICE_DTYPES) | {"float64"}


class Decoder:
    """Reads one program.

    Args:
        document: what `Encoder.document` wrote.
        tables: what `Encoder.tables` wrote.
        table_begins: what `Encoder.table_begins` wrote.
        path: the file, for errors.
        max_bytes: the most that variables, or lists of vertices, may take when expanded.

    Raises:
        ContainerError: a value is of the wrong type or out of range.
        TooLarge: the program would expand to more than `max_bytes`.
    """

    def __init__(
        self,
        document: Json,
        tables: NDArray[Any],
        table_begins: NDArray[Any],
        path: Path,
        max_bytes: int,
    ) -> None:
        self._document = table(document, "the program")
        self._path = path
        self._max_bytes = max_bytes
        for array, what in ((tables, "the tables"), (table_begins, "the list of tables")):
            need(array.dtype == np.int64, f"{what} are {array.dtype}")
        need(
            len(table_begins) > 0
            and bool((np.diff(table_begins, prepend=0, append=len(tables)) >= 0).all())
            and int(table_begins[0]) == 0
            and int(table_begins[-1]) == len(tables),
            "the tables do not follow each other",
        )
        need(
            not len(tables) or bool((tables > -LIMIT).all() and (tables < LIMIT).all()),
            "a number in a table is out of range",
        )
        self._tables = [tables[a:b] for a, b in pairwise(table_begins.tolist())]
        self._target = self._read_target(self._get("target"))
        self._variables: list[Variable] = []
        for value in self._list("variables"):
            self._variables.append(self._variable(value))
        size = sum(variable.size * variable.itemsize for variable in self._variables)
        too_large(path, size, max_bytes)
        self._codelets = [self._codelet(value) for value in self._list("codelets")]
        self._origins = [
            Origin(*(text(part, "an origin") for part in items(value, "an origin", 2)))
            for value in self._list("origins")
        ]
        self._families = [self._family(value) for value in self._list("families")]
        self._sets = [self._compute_set(value) for value in self._list("compute_sets")]

    def _get(self, key: str) -> Json:
        need(key in self._document, f'"{key}" is missing')
        return self._document[key]

    def _list(self, key: str) -> list[Json]:
        return items(self._get(key), f'"{key}"')

    def _named(self, key: str, read: Callable[[Json], T]) -> dict[str, T]:
        return {name: read(value) for name, value in table(self._get(key), f'"{key}"').items()}

    def program(self, constants: Mapping[int, NDArray[Any]], graph_text: str) -> Program:
        """The program, whole.

        Args:
            constants: contents of variables, by id; see `constants`.
            graph_text: the op graph.

        Raises:
            ContainerError: a value is of the wrong type or out of range.
        """
        program = Program(
            self._target,
            self._variables,
            dict(constants),
            Sequence(()),
            inputs=self._named("inputs", _type),
            outputs=self._named("outputs", _type),
            values=self._named("values", self._tensor),
            layers=[_layer(value) for value in self._list("layers")],
            metadata=table(unplain(self._get("metadata")), "the metadata"),
            graph_text=graph_text,
            state=self._named("state", self._held),
        )
        program.main = self._body(self._get("main"))
        program.functions = self._named("functions", self._body)
        for step in program.bodies():
            if isinstance(step, StreamIn):
                need(step.name in program.inputs, f'there is no input "{step.name}"')
            elif isinstance(step, StreamOut):
                need(step.name in program.outputs, f'there is no output "{step.name}"')
            elif isinstance(step, Call):
                need(step.function in program.functions, f'no function "{step.function}"')
        return program

    def constants(self) -> list[Variable]:
        """The variables that have contents in the file."""
        ids = [self._variable_id(value) for value in self._list("constants")]
        need(len(set(ids)) == len(ids), "a constant is named twice")
        return [self._variables[id_] for id_ in ids]

    # -- parts -------------------------------------------------------------------------------

    def _read_target(self, value: Json) -> Target:
        fields = table(value, "the target")
        numbers = {
            key: whole(item, 1, LIMIT, f"the target's {key}")
            for key, item in fields.items()
            if key != "name"
        }
        try:
            target = Target(name=text(fields.get("name"), "the target's name"), **numbers)
        except TypeError as error:
            raise ContainerError(f"the target is none: {error}") from error
        need(target.ipus <= MAX_IPUS, f"the target has {target.ipus} IPUs")
        need(target.all_tiles <= MAX_TILES, f"the target has {target.all_tiles} tiles")
        return target

    def _table(self, value: Json) -> Ints:
        return self._tables[whole(value, 0, len(self._tables), "a table")]

    def _variable_id(self, value: Json) -> int:
        return whole(value, 0, len(self._variables), "a variable's id")

    def _variable(self, value: Json) -> Variable:
        name, dtype, shape, mapping, origin, narrowed = items(value, "a variable", 6)
        need(isinstance(narrowed, bool), "whether a variable is narrowed is neither true nor false")
        need(dtype in _DEVICE, f"a variable has elements of type {dtype!r:.60}")
        mapped = None
        if mapping is not None:
            starts, tiles = (self._table(part) for part in items(mapping, "a mapping", 2))
            need(len(starts) == len(tiles), "a mapping has more starts than tiles, or fewer")
            mapped = TileMapping(starts, tiles)
        return Variable(
            len(self._variables),
            text(name, "a variable's name"),
            dtype,
            extents(shape, "a variable's shape"),
            mapped,
            text(origin, "a variable's origin"),
            narrowed,
        )

    def _codelet(self, value: Json) -> Codelet:
        name, parameters, module = items(value, "a codelet", 3)
        name, module = text(name, "a codelet's name"), text(module, "a codelet's module")
        try:
            return restore(name, unplain(table(parameters, "a codelet's parameters")))
        except ProgramError as error:
            raise ContainerError(
                f'the program uses codelet "{name}" of module "{module}": {error.what}',
                where=str(self._path),
                fix=f"import {module} before the program is loaded",
            ) from error

    def _index_map(self, value: Json, grid: Shape | None) -> IndexMap:
        base, *rest = items(value, "an index map")
        base = whole(base, -LIMIT, LIMIT, "the base of an index map")
        if len(rest) == 1:
            tables = tuple(self._table(item) for item in items(rest[0], "index tables"))
            found = IndexMap(base, tables)
        else:
            explicit, shape = items(rest, "an index map", 2)
            flat, extent = self._table(explicit), extents(shape, "a grid")
            need(len(flat) == math.prod(extent), "an index map has no number for every vertex")
            found = IndexMap(base, explicit=flat.reshape(extent))
        fits = math.prod(found.grid) == 1 if grid is None else found.grid == grid
        need(fits, f"an index map is for grid {found.grid}, not {grid or 'one point'}")
        return found

    def _access(self, value: Json, grid: Shape | None = None) -> Access:
        variable, offset, shape, strides, entries = items(value, "a field", 5)
        window = extents(shape, "a window")
        steps = extents(strides, "strides of a window", -LIMIT)
        need(len(window) == len(steps), "a window has more extents than strides, or fewer")
        too_large(self._path, 16 * _runs(window, steps), self._max_bytes)
        listed = None
        if entries is not None:
            need(self._table(entries).size % 2 == 0, "list entries are no pairs")
            listed = self._table(entries).reshape(-1, 2)
        return Access(
            self._variable_id(variable), self._index_map(offset, grid), window, steps, listed
        )

    def _family(self, value: Json) -> VertexFamily:
        codelet, grid, tile, fields, origins, workers = items(value, "a vertex family", 6)
        need(workers in get_args(Workers), f"a vertex runs on {workers!r:.60} workers")
        shape = extents(grid, "a grid")
        too_large(self._path, 8 * math.prod(shape), self._max_bytes)
        return VertexFamily(
            self._codelets[whole(codelet, 0, len(self._codelets), "a codelet's id")],
            shape,
            self._index_map(tile, shape),
            {name: self._access(f, shape) for name, f in table(fields, "fields").items()},
            tuple(
                self._origins[whole(o, 0, len(self._origins), "an origin's id")]
                for o in items(origins, "origins")
            ),
            workers,
        )

    def _compute_set(self, value: Json) -> ComputeSet:
        name, families = items(value, "a compute set", 2)
        found = [whole(f, 0, len(self._families), "a family's id") for f in items(families, name)]
        return ComputeSet(
            text(name, "a compute set's name"), tuple(self._families[f] for f in found)
        )

    def _tensor(self, value: Json) -> Tensor:
        shape, dtype, pieces = items(value, "a tensor", 3)
        need(dtype in _DEVICE, f"a tensor has elements of type {dtype!r:.60}")
        tensor = Tensor(
            extents(shape, "a tensor's shape"),
            dtype,
            tuple(self._piece(piece) for piece in items(pieces, "a tensor's pieces")),
        )
        too_large(self._path, tensor.size * tensor.itemsize, self._max_bytes)
        for piece in tensor.pieces:
            inside = len(piece.begin) == len(piece.source.shape) == len(tensor.shape) and all(
                e <= n for e, n in zip(piece.end, tensor.shape, strict=True)
            )
            need(inside, "a piece lies outside its tensor")
        covered = sum(math.prod(piece.source.shape) for piece in tensor.pieces)
        need(covered == tensor.size, "the pieces of a tensor do not cover it")
        return tensor

    def _held(self, value: Json) -> Held:
        tensor, dtype = items(value, "a state", 2)
        need(dtype in _HOST, f"a state has elements of type {dtype!r:.60}")
        return Held(self._tensor(tensor), str(dtype))

    def _piece(self, value: Json) -> Piece:
        begin, kind, first, second, *rest = items(value, "a piece")
        at = extents(begin, "a piece's begin")
        if kind == "fill":
            return Piece(at, Fill(real(first, "a fill"), extents(second, "a fill's shape")))
        need(kind == "view" and len(rest) == 1, f"a piece is {kind!r:.60}")
        variable = self._variables[self._variable_id(first)]
        offset = whole(second, 0, LIMIT, "a view's offset")
        axes: list[tuple[tuple[int, int], ...]] = []
        low = high = offset
        for axis in items(rest[0], "a view's axes"):
            factors = [items(factor, "a factor of a view", 2) for factor in items(axis, "an axis")]
            axes.append(
                tuple(
                    (whole(n, 0, LIMIT, "an extent"), whole(s, -LIMIT, LIMIT, "a stride"))
                    for n, s in factors
                )
            )
            low += sum(min(0, (n - 1) * s) for n, s in axes[-1])
            high += sum(max(0, (n - 1) * s) for n, s in axes[-1])
        view = View(variable.id, offset, tuple(axes))
        inside = low >= 0 and high < variable.size
        need(0 in view.shape or inside, f'a view leaves variable "{variable.name}"')
        return Piece(at, view)

    def _body(self, value: Json) -> Sequence:
        step = self._step(value, 0)
        if not isinstance(step, Sequence):
            raise ContainerError(f"a body is {value!r:.60}")
        return step

    def _step(self, value: Json, depth: int) -> Step:
        need(depth <= MAX_DEPTH, f"steps are nested deeper than {MAX_DEPTH}")
        kind, *parts = items(value, "a step")
        step: Step
        match kind, parts:
            case "execute" | "sweep", [index]:
                made = self._sets[whole(index, 0, len(self._sets), "a compute set's id")]
                swept = kind == "sweep"
                need(not swept or all(f.grid for f in made.families), "a sweep has no axis")
                step = Sweep(made) if swept else Execute(made)
            case "copy", [name, moves, layer]:
                step = Copy(
                    text(name, "a copy's name"),
                    tuple(self._move(move) for move in items(moves, "the moves of a copy")),
                    text(layer, "a copy's layer"),
                )
            case "in", [name, variable, shape]:
                id_ = self._variable_id(variable)
                step = StreamIn(text(name, "an input"), id_, extents(shape, "an input's shape"))
            case "out", [name, tensor]:
                step = StreamOut(text(name, "an output"), self._tensor(tensor))
            case "sequence", [steps]:
                step = Sequence(
                    tuple(self._step(child, depth + 1) for child in items(steps, "steps"))
                )
            case "repeat", [count, body]:
                times = whole(count, 0, LIMIT, "a repeat count")
                step = Repeat(times, self._step(body, depth + 1))
            case "if", [condition, then, otherwise]:
                branches = (self._step(then, depth + 1), self._step(otherwise, depth + 1))
                step = If(self._variable_id(condition), *branches)
            case "call", [function, layer, layer_pass, names]:
                step = Call(
                    text(function, "a function's name"),
                    text(layer, "a call's layer"),
                    text(layer_pass, "a call's layer pass"),
                    tuple(_names(pair) for pair in items(names, "a call's names")),
                )
            case _:
                raise ContainerError(f"a step is {value!r:.60}")
        return step

    def _move(self, value: Json) -> Move:
        destination, source, fill = items(value, "a move", 3)
        origin = None if source is None else self._access(source)
        return Move(self._access(destination), origin, real(fill, "a fill"))


def _runs(window: Shape, strides: tuple[int, ...]) -> int:
    """Runs of a window at most, as `Access.runs` would list them."""
    dims = sorted((abs(s), n) for s, n in zip(strides, window, strict=True) if n > 1 and s)
    length = count = 1
    for stride, extent in dims:
        if stride == length and count == 1:
            length *= extent
        else:
            count *= extent
    return count


def _type(value: Json) -> TensorType:
    dtype, shape = items(value, "a type", 2)
    need(dtype in _HOST, f"an array has elements of type {dtype!r:.60}")
    return TensorType(dtype, extents(shape, "an array's shape"))


def _names(value: Json) -> tuple[str, str]:
    inside, outside = items(value, "two names of a value", 2)
    return text(inside, "a name"), text(outside, "a name")


def _layer(value: Json) -> Layer:
    name, op, nodes, outputs, plan, words = items(value, "a layer", 6)
    return Layer(
        text(name, "a layer's name"),
        text(op, "a layer's operator"),
        tuple(text(node, "a node") for node in items(nodes, "nodes")),
        tuple(text(output, "a value") for output in items(outputs, "outputs")),
        table(unplain(plan), "a plan"),
        *(text(word, "a layer's words") for word in items(words, "a layer's words", 4)),
    )
