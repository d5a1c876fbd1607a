"""The strict mode: every tile has memory of its own, and only the exchange moves bytes.

A witness for tests. Where a tile holds no element of a variable its memory is poisoned, so a
result that agrees with the fast mode proves that mapping and exchange together bring every
vertex what it reads and take home what it writes. Vertices run one by one, in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.rounding import Arithmetic, fitted
from ipuc.emulator.lifetimes import overwritten
from ipuc.emulator.machine import Array, Machine, compute, widened
from ipuc.errors import ProgramError, TooLarge
from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.operand import gather, scatter
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Move, Step, StreamIn
from ipuc.program.variables import Variable
from ipuc.types import Ints

#: Bytes of all private memories together, unless the caller says otherwise.
MAX_BYTES = 1 << 30
#: Element numbers made at a time while the elements of a family's windows are marked.
_CHUNK = 1 << 21
_ONE = np.zeros(1, np.int64)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes that one exchange phase moves.

    Attributes:
        step: name of the compute set, copy or stream.
        phase: "read" (before a compute set), "write" (what its vertices wrote goes home), "copy"
            or "host".
        received: bytes that arrive at each tile: int64[tiles]. An element that several vertices
            of a tile read arrives once.
        sent: bytes that leave each tile: int64[tiles]. An element sent to many leaves once, and
            once more for every other IPU that needs it.
        links: bytes that go from one IPU to another: int64[ipus, ipus]. An element that several
            tiles of an IPU need comes there once.
    """

    step: str
    phase: str
    received: Ints
    sent: Ints
    links: Ints


class StrictEmulator(Machine):
    """Executes a program on private tile memories.

    Args:
        program: what to run, for few tiles.
        watch: called after every step at the top level.
        max_bytes: most bytes of all private memories together.
        arithmetic: how halves are made; as the program was compiled, if None.

    Attributes:
        exchanges: what the last runs moved, in order.

    Raises:
        ProgramError: an element is on no tile of the target, or on two.
        TooLarge: the private memories would take more than `max_bytes`.
    """

    def __init__(
        self,
        program: Program,
        watch: Callable[[Step], None] | None = None,
        max_bytes: int = MAX_BYTES,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        super().__init__(program, watch, arithmetic)
        self.due = overwritten(program)
        tiles = program.target.all_tiles
        wanted = tiles * sum(v.size * v.itemsize for v in program.variables)
        if wanted > max_bytes:
            raise TooLarge(
                f"{tiles} private tile memories take {wanted:,} bytes, more than {max_bytes:,}",
                where="strict mode",
                fix="use fewer tiles, a smaller model, or the fast mode",
            )
        self.exchanges: list[Exchange] = []
        self._tiles = tiles
        self._home = [home_tiles(v, tiles) for v in program.variables]
        self._private = [
            np.full((tiles, v.size), poison(v.dtype), v.dtype) for v in program.variables
        ]
        for id_, values in program.constants.items():
            self._private[id_][self._home[id_], np.arange(len(values))] = values

    def read(self, variable: int) -> Array:
        """Contents of a variable, flat: every element from its home tile."""
        home = self._home[variable]
        return np.asarray(self._private[variable][home, np.arange(len(home))])

    def store(self, step: StreamIn, values: Array) -> None:
        """Write an array of the host, flat, into a variable: each element on its home tile."""
        home = self._home[step.variable]
        self._private[step.variable][home, np.arange(len(home))] = values
        arriving = np.bincount(home, minlength=self._tiles) * values.itemsize
        links = np.zeros((self.program.target.ipus,) * 2, np.int64)
        self.exchanges.append(Exchange(step.name, "host", arriving, np.zeros_like(arriving), links))

    def execute(self, compute_set: ComputeSet) -> None:
        """Exchange what is read, run vertex by vertex, take home what is written, forget."""
        self.stores.step = compute_set.name
        needed = self._touched(compute_set, writes=False)
        written = self._touched(compute_set, writes=True)
        self._one_writer(compute_set, written)
        self._move(compute_set.name, "read", needed)
        for family in reversed(compute_set.families):
            for vertex in range(family.count - 1, -1, -1):
                self._vertex(family, vertex)
        self._move(compute_set.name, "write", written)
        for touched in (needed, written):
            for id_, mask in touched.items():
                mask[self._home[id_], np.arange(mask.shape[1])] = False
                self._private[id_][mask] = poison(self.program.variables[id_].dtype)

    def copy(self, step: Copy) -> None:
        """Send every element from its home to the home of its destination."""
        wanted: dict[int, Mask] = {}
        arriving: list[tuple[int, Ints, Ints, Array]] = []
        for move in step.moves:
            into = move.destination.variable
            places = window_elements(move.destination)
            values, source = self._source(move)
            homes = self._home[into][places]
            arriving.append((into, homes, places, values))
            if move.source is not None:
                self._mask(wanted, move.source.variable)[homes, source] = True
        for into, homes, places, values in arriving:
            self._private[into][homes, places] = values
        self._record(step.name, "copy", wanted, incoming=True)

    def _source(self, move: Move) -> tuple[Array, Ints]:
        if move.source is None:
            kind = self.program.variables[move.destination.variable].dtype
            saturate = self.stores.arithmetic.saturate
            value = fitted(np.asarray(move.value), kind, saturate=saturate)
            return value, np.zeros(0, np.int64)
        elements = window_elements(move.source)
        id_ = move.source.variable
        return self._private[id_][self._home[id_][elements], elements], elements

    def _vertex(self, family: VertexFamily, vertex: int) -> None:
        """Run one vertex on the memory of its tile, with no batch to lean on."""
        point = np.array([vertex])
        tile = int(family.tile.at(point)[0])
        ones = (_ONE,) * len(family.grid)
        fields = {
            name: Access(a.variable, IndexMap(int(a.offset.at(point)[0]), ones), a.shape, a.strides)
            for name, a in family.fields.items()
        }
        grid = (1,) * len(ones)
        where = IndexMap(tile, ones)
        single = VertexFamily(family.codelet, grid, where, fields, family.origins)
        specs = family.codelet.fields
        long = any(spec.writes and self.stores.narrowed(fields[spec.name]) for spec in specs)
        operands = {
            spec.name: widened(
                gather(fields[spec.name], self._private[fields[spec.name].variable][tile]),
                long=long,
            )
            for spec in specs
            if spec.reads
        }
        for name, values in compute(single, operands, self.stores).items():
            scatter(fields[name], self._private[fields[name].variable][tile], np.asarray(values))

    def _touched(self, compute_set: ComputeSet, *, writes: bool) -> dict[int, Mask]:
        """Which tile touches which element: bool[tiles, size] by variable."""
        found: dict[int, Mask] = {}
        for family in compute_set.families:
            for spec in family.codelet.fields:
                if spec.writes if writes else spec.reads:
                    access = family.fields[spec.name]
                    mask = self._mask(found, access.variable)
                    for tile, elements in _chunks(family, access):
                        mask[tile, elements] = True
        return found

    def _mask(self, masks: dict[int, Mask], variable: int) -> Mask:
        shape = (self._tiles, self.program.variables[variable].size)
        return masks.setdefault(variable, np.zeros(shape, bool))

    def _one_writer(self, compute_set: ComputeSet, written: Mapping[int, Mask]) -> None:
        for id_, mask in written.items():
            twice = np.flatnonzero(mask.sum(0) > 1)
            if len(twice):
                tiles = ", ".join(str(t) for t in np.flatnonzero(mask[:, twice[0]]))
                raise ProgramError(
                    f'element {twice[0]} of variable "{self.program.variables[id_].name}" is '
                    f"written on tiles {tiles}",
                    where=f'compute set "{compute_set.name}"',
                    fix="put the vertices into successive compute sets",
                )

    def _move(self, step: str, phase: str, touched: Mapping[int, Mask]) -> None:
        """Copy elements from home to every tile that reads them, or from the writer home."""
        incoming = phase == "read"
        for id_, mask in touched.items():
            memory = self._private[id_]
            tile, element = np.nonzero(mask)
            home = self._home[id_][element]
            if incoming:
                memory[tile, element] = memory[home, element]
            else:
                memory[home, element] = memory[tile, element]
        self._record(step, phase, touched, incoming=incoming)

    def _record(
        self, step: str, phase: str, touched: Mapping[int, Mask], *, incoming: bool
    ) -> None:
        away = np.zeros(self._tiles, np.int64)
        at_home = np.zeros(self._tiles, np.int64)
        ipus, each = self.program.target.ipus, self.program.target.tiles
        links = np.zeros((ipus, ipus), np.int64)
        for id_, mask in touched.items():
            size = self.program.variables[id_].itemsize
            tile, element = np.nonzero(mask)
            remote = tile != self._home[id_][element]
            away += np.bincount(tile[remote], minlength=self._tiles) * size
            for ipu in range(ipus):
                there = remote & (tile // each == ipu)
                home = self._home[id_][np.unique(element[there])]
                at_home += np.bincount(home, minlength=self._tiles) * size
                links[:, ipu] += np.bincount(home // each, minlength=ipus) * size
        np.fill_diagonal(links, 0)
        if incoming:
            self.exchanges.append(Exchange(step, phase, away, at_home, links))
        else:
            self.exchanges.append(Exchange(step, phase, at_home, away, links.T))


def poison(dtype: str) -> Array:
    """What memory holds that holds nothing: NaN, or bytes that no result looks like."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.array(np.nan, kind)
    if kind.kind == "b":
        return np.array(True)
    return np.frombuffer(b"\xa5" * kind.itemsize, kind).reshape(())


def home_tiles(variable: Variable, tiles: int) -> Ints:
    """Tile of every element: int64[size].

    Raises:
        ProgramError: an element is on no tile of the target.
    """
    mapping = variable.mapped()
    home = np.full(variable.size, -1, np.int64)
    ends = np.append(mapping.starts[1:], variable.size)
    for begin, end, tile in zip(mapping.starts, ends, mapping.tiles, strict=True):
        home[begin:end] = tile
    lost = np.flatnonzero((home < 0) | (home >= tiles))
    if len(lost):
        raise ProgramError(
            f"element {lost[0]} is on no tile of {tiles}",
            where=f'variable "{variable.name}"',
            fix="map every element to a tile of the target",
        )
    return home


def window_elements(access: Access) -> Ints:
    """Elements of the only window of a copy, in the window's order: int64[n]."""
    places = np.full(1, access.offset.at(np.zeros(1, np.int64))[0], np.int64)
    for extent, stride in zip(access.shape, access.strides, strict=True):
        places = (places[:, None] + np.arange(extent, dtype=np.int64) * stride).reshape(-1)
    return places


def _chunks(family: VertexFamily, access: Access) -> Iterator[tuple[Ints, Ints]]:
    """The (tile, element) pairs of a field, some vertices at a time: int64[n, 1], int64[n, k]."""
    runs = access.runs()
    lengths = runs[:, 1]
    before = np.cumsum(lengths) - lengths
    inside = np.arange(int(lengths.sum())) - np.repeat(before, lengths)
    window = np.repeat(runs[:, 0], lengths) + inside
    each = max(1, _CHUNK // max(len(window), 1))
    for first in range(0, family.count, each):
        points = np.arange(first, min(first + each, family.count))
        yield family.tile.at(points)[:, None], access.offset.at(points)[:, None] + window


def run(
    program: Program, inputs: Mapping[str, Array], max_bytes: int = MAX_BYTES
) -> dict[str, Array]:
    """Run a program once on private tile memories.

    Raises:
        ProgramError: an element is on no tile, or two tiles write it in one superstep.
        ShapeError: an input is missing, unknown, or of the wrong type or shape.
        TooLarge: the private memories would take more than `max_bytes`.
    """
    return StrictEmulator(program, max_bytes=max_bytes).run(inputs)


def run_values(
    program: Program,
    inputs: Mapping[str, Array],
    names: Iterable[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a program and keep the value of every layer: (outputs, values by graph name)."""
    emulator = StrictEmulator(program, max_bytes=max_bytes)
    outputs = emulator.run(inputs)
    wanted = program.values if names is None else names
    return outputs, {name: emulator.value(name) for name in wanted}


__all__ = ["Exchange", "StrictEmulator", "run", "run_values"]
