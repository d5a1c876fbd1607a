"""Turn a program into JSON values and a few arrays; `ipuc.program.decode` is the way back.

Objects that are shared (compute sets, families, tables, codelets, origins) are written once and
named by their position.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np

from ipuc.errors import ContainerError
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily
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
from ipuc.program.variables import Variable
from ipuc.types import Ints, TensorType

Json = Any

#: Steps may be nested this deep: far more than any program needs, far less than Python's stack.
MAX_DEPTH = 100

#: The key that marks a number JSON has no word for.
FLOAT = "$float"


class Pool:
    """Equal things once, in the order in which they first came."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._known: dict[Hashable, int] = {}

    def index(self, key: Hashable, make: Callable[[], Json]) -> int:
        """Position of the thing with this key, made if it is new."""
        if key not in self._known:
            made = make()
            self._known[key] = len(self.items)
            self.items.append(made)
        return self._known[key]


#: What differs from one compilation to the next: the same model gives the same bytes.
_NOT_SAVED = frozenset({"seconds"})


class Encoder:
    """Writes one program.

    Args:
        program: what to write.

    Attributes:
        document: the program as JSON values.
        tables: all index tables and mappings, one after another: int64[...].
        table_begins: where each begins in `tables`, and the end: int64[k + 1].

    Raises:
        ContainerError: a codelet's parameter or a note is no JSON value.
    """

    def __init__(self, program: Program) -> None:
        self._tables = Pool()
        self._codelets = Pool()
        self._origins = Pool()
        self._families = Pool()
        self._sets = Pool()
        steps = self._step(program.main, 0)
        functions = {name: self._step(body, 0) for name, body in program.functions.items()}
        self.document: dict[str, Json] = {
            "target": program.target.fields(),
            "variables": [self._variable(variable) for variable in program.variables],
            "constants": sorted(program.constants),
            "codelets": self._codelets.items,
            "origins": self._origins.items,
            "families": self._families.items,
            "compute_sets": self._sets.items,
            "main": steps,
            "functions": functions,
            "inputs": {name: _type(kind) for name, kind in program.inputs.items()},
            "outputs": {name: _type(kind) for name, kind in program.outputs.items()},
            "values": {name: _tensor(value) for name, value in program.values.items()},
            "state": {
                name: [_tensor(held.tensor), held.dtype] for name, held in program.state.items()
            },
            "layers": [
                [
                    layer.name,
                    layer.op,
                    list(layer.nodes),
                    list(layer.outputs),
                    plain(layer.plan, f'plan of layer "{layer.name}"'),
                    [layer.layer, layer.layer_pass, layer.label, layer.sizes],
                ]
                for layer in program.layers
            ],
            "metadata": plain(
                {name: fact for name, fact in program.metadata.items() if name not in _NOT_SAVED},
                "metadata",
            ),
        }
        arrays: list[Ints] = self._tables.items
        self.tables = np.concatenate([np.empty(0, np.int64), *arrays])
        self.table_begins = np.cumsum([0, *map(len, arrays)], dtype=np.int64)

    def _table(self, table: Ints) -> int:
        flat = np.ascontiguousarray(table, np.int64).reshape(-1)
        digest = hashlib.blake2b(flat.data, digest_size=16).digest()
        return self._tables.index((len(flat), digest), lambda: flat)

    def _variable(self, variable: Variable) -> Json:
        mapping = variable.mapping
        tables = mapping and [self._table(mapping.starts), self._table(mapping.tiles)]
        shape = list(variable.shape)
        return [variable.name, variable.dtype, shape, tables, variable.origin, variable.narrowed]

    def _index_map(self, index: IndexMap) -> Json:
        if index.explicit is not None:
            return [index.base, self._table(index.explicit), list(index.explicit.shape)]
        return [index.base, [self._table(table) for table in index.tables]]

    def _access(self, access: Access) -> Json:
        entries = None if access.entries is None else self._table(access.entries)
        offset = self._index_map(access.offset)
        return [access.variable, offset, list(access.shape), list(access.strides), entries]

    def _family(self, family: VertexFamily) -> Json:
        codelet = family.codelet
        parameters = plain(codelet.parameters(), f"parameters of codelet {codelet.name}")
        made = [codelet.name, parameters, type(codelet).__module__]
        return [
            self._codelets.index(repr(made), lambda: made),
            list(family.grid),
            self._index_map(family.tile),
            {name: self._access(access) for name, access in family.fields.items()},
            [self._origins.index(o, partial(_origin, o)) for o in family.origins],
            family.workers,
        ]

    def _compute_set(self, compute_set: ComputeSet) -> Json:
        families = [
            self._families.index(id(family), partial(self._family, family))
            for family in compute_set.families
        ]
        return [compute_set.name, families]

    def _step(self, step: Step, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise ContainerError(
                f"steps are nested deeper than {MAX_DEPTH}", fix="use functions instead"
            )
        made: Json
        match step:
            case Execute() | Sweep():
                wanted = step.compute_set
                index = self._sets.index(id(wanted), partial(self._compute_set, wanted))
                made = ["sweep" if isinstance(step, Sweep) else "execute", index]
            case Copy():
                moves = [
                    [
                        self._access(move.destination),
                        move.source and self._access(move.source),
                        plain(move.value, f'copy "{step.name}"'),
                    ]
                    for move in step.moves
                ]
                made = ["copy", step.name, moves, step.layer]
            case StreamIn():
                made = ["in", step.name, step.variable, list(step.shape)]
            case StreamOut():
                made = ["out", step.name, _tensor(step.tensor)]
            case Sequence():
                made = ["sequence", [self._step(child, depth + 1) for child in step.steps]]
            case Repeat():
                made = ["repeat", step.count, self._step(step.body, depth + 1)]
            case If():
                branches = [self._step(s, depth + 1) for s in (step.then, step.otherwise)]
                made = ["if", step.condition, *branches]
            case Call():
                names = [list(pair) for pair in step.names]
                made = ["call", step.function, step.layer, step.layer_pass, names]
        return made


def _origin(origin: Origin) -> Json:
    return [origin.layer, origin.layer_pass]


def _type(kind: TensorType) -> Json:
    return [kind.dtype, list(kind.shape)]


def _tensor(tensor: Tensor) -> Json:
    pieces: list[Json] = []
    for piece in tensor.pieces:
        source = piece.source
        if isinstance(source, View):
            axes = [[list(factor) for factor in axis] for axis in source.axes]
            pieces.append([list(piece.begin), "view", source.variable, source.offset, axes])
        else:
            value = plain(source.value, "fill")
            pieces.append([list(piece.begin), "fill", value, list(source.shape)])
    return [list(tensor.shape), tensor.dtype, pieces]


def plain(value: Any, where: str) -> Json:
    """Give a value in JSON's own words; tuples become lists, NumPy scalars numbers.

    Raises:
        ContainerError: it has no such form.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT: repr(value)}
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in value]
    if (
        isinstance(value, dict)
        and all(isinstance(key, str) for key in value)
        and FLOAT not in value
    ):
        return {key: plain(item, where) for key, item in value.items()}
    raise ContainerError(
        f"a value of type {type(value).__name__} cannot be saved",
        where=where,
        fix="use numbers, strings, lists, and dicts with strings for keys",
    )
