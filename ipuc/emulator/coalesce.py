"""Join families into fewer, larger array operations that give the same values.

An uneven split leaves families whose parts differ by one element, and borders leave more. Where a
codelet says that an axis may be cut anywhere (`Codelet.free_axes`), vertices that lie next to each
other along it, of one family or of several, are computed as one. Their fields are the union of
the vertices' fields: nothing else is read or written. Vertices that do not join up, because one
is missing or moved, stay apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable
from dataclasses import replace

import numpy as np

from ipuc.codelets.define import Codelet, FreeAxis
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily
from ipuc.types import Ints

#: Families joined before, by what they look like: layers of a network repeat.
_KNOWN: dict[Hashable, tuple[list[int], list[VertexFamily]]] = {}
#: Most of them; each is some kilobytes.
_MOST_KNOWN = 1024


def coalesce(families: Iterable[VertexFamily]) -> list[VertexFamily]:
    """Join the families of a compute set; tiles no longer matter and are all 0.

    Returns:
        Families that compute the same elements from the same elements, in the order of the first
        family that went into each.
    """
    given = list(families)
    if any(
        a.offset.explicit is not None or a.entries is not None for f in given for a in _fields(f)
    ):
        return _joined(given)
    variables = list(dict.fromkeys(a.variable for f in given for a in _fields(f)))
    key = _look(given, variables)
    if key not in _KNOWN:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = variables, _joined(given)
    theirs, known = _KNOWN[key]
    ours = dict(zip(theirs, variables, strict=True))
    return [_renamed(family, ours, given[0].origins) for family in known]


def _look(families: list[VertexFamily], variables: list[int]) -> Hashable:
    """All that decides how families are joined; variables by number of their first use."""
    numbers = {variable: number for number, variable in enumerate(variables)}
    rows: list[Hashable] = []
    for family in families:
        fields = tuple(
            (
                name,
                numbers[access.variable],
                access.offset.base,
                access.shape,
                access.strides,
                tuple(table.tobytes() for table in access.offset.tables),
            )
            for name, access in family.fields.items()
        )
        rows.append((family.codelet, family.grid, fields))
    return tuple(rows)


def _renamed(
    family: VertexFamily, variables: dict[int, int], origins: tuple[Origin, ...]
) -> VertexFamily:
    fields = {
        name: Access(variables[a.variable], a.offset, a.shape, a.strides)
        for name, a in family.fields.items()
    }
    return VertexFamily(family.codelet, family.grid, family.tile, fields, origins)


def _joined(families: list[VertexFamily]) -> list[VertexFamily]:
    rows = [_Row(_untiled(family)) for family in families]
    for kind in {row.kind for row in rows}:
        axes, choices = kind[1], kind[2]
        # A lone part fits any free axis, so each pair of axes is tried for all families at once;
        # the last axes first, which cut what the first ones hold together.
        for axis, choice in itertools.product(reversed(range(axes)), range(choices)):
            mine = [row for row in rows if row.kind == kind]
            if len(mine) > 1 or mine[0].family.grid[axis] > 1:
                rows = _join_all(rows, kind, axis, choice)
    return [part for row in rows for part in _regular(row.family)]


#: An operand of more elements than this is worth several calls if each then sees a view of it,
#: one of at least so many elements.
LARGE_OPERAND, LARGE_VIEW = 1 << 18, 1 << 14


def _regular(family: VertexFamily) -> list[VertexFamily]:
    """Cut a family whose large operands would be copied, because a table is uneven, into views."""
    pieces = [family]
    for axis in range(len(family.grid)):
        if any(_large_and_uneven(access, axis) for access in _fields(family)):
            runs = [part for piece in pieces for part in _even_runs(piece, axis)]
            if len(runs) * LARGE_VIEW <= max(map(_reach, _fields(family))):
                pieces = runs
    return pieces


def _large_and_uneven(access: Access, axis: int) -> bool:
    if access.offset.explicit is not None:
        return False
    steps = np.diff(access.offset.tables[axis])
    if len(steps) < 2 or (steps == steps[0]).all():
        return False
    return _reach(access) > LARGE_OPERAND


def _reach(access: Access) -> int:
    """Elements that the vertices of a family read or write in one field, shared ones once."""
    moving = (len(table) for table in access.offset.tables if (table != table[0]).any())
    return math.prod(moving) * math.prod(access.shape)


def _even_runs(family: VertexFamily, axis: int) -> list[VertexFamily]:
    """Cut one grid axis where the step of any field's table changes."""
    tables = np.stack([access.offset.tables[axis] for access in _fields(family)])
    steps = np.diff(tables, axis=1)
    parts: list[VertexFamily] = []
    begin, end = 0, family.grid[axis]
    while begin < end:
        same = (steps[:, begin:] == steps[:, begin : begin + 1]).all(axis=0)
        length = int(np.argmin(same)) if not same.all() else len(same)
        stop = min(begin + length + 1, end)
        parts.append(_between(family, axis, begin, stop))
        begin = stop
    return parts


def _between(family: VertexFamily, axis: int, begin: int, stop: int) -> VertexFamily:
    grid = (*family.grid[:axis], stop - begin, *family.grid[axis + 1 :])
    fields: dict[str, Access] = {}
    for name, access in family.fields.items():
        tables = list(access.offset.tables)
        tables[axis] = tables[axis][begin:stop]
        fields[name] = replace(access, offset=IndexMap(access.offset.base, tuple(tables)))
    return VertexFamily(family.codelet, grid, _nowhere(grid), fields, family.origins)


class _Row:
    """A family, and how its grid axes move along the codelet's free axes.

    Attributes:
        family: the vertices.
        kind: codelet type, number of grid axes and of free axes; only equals can be joined.
        free: the codelet's free axes.
    """

    def __init__(self, family: VertexFamily) -> None:
        self.family = family
        self.free = family.codelet.free_axes(family.windows())
        fixed = any(a.offset.explicit is not None or a.entries is not None for a in _fields(family))
        self.kind = (type(family.codelet), 0 if fixed else len(family.grid), len(self.free))
        self._moves: dict[tuple[int, int], Ints | None] = {}
        self._moving: dict[int, set[str]] = {}

    def begins(self, axis: int, choice: int) -> Ints | None:
        """Begin of every part along a free axis; None if the grid axis moves some other way."""
        if (axis, choice) not in self._moves:
            free = self.free[choice]
            moves = self._moving_fields(axis) <= free.axes.keys()
            find = _begins if self.family.grid[axis] > 1 else _lone_begin
            self._moves[axis, choice] = find(self.family, axis, free) if moves else None
        return self._moves[axis, choice]

    def _moving_fields(self, axis: int) -> set[str]:
        if axis not in self._moving:
            self._moving[axis] = set()
            if self.family.grid[axis] > 1:
                tables = {name: a.offset.tables[axis] for name, a in self.family.fields.items()}
                self._moving[axis] = {n for n, t in tables.items() if (t != t[0]).any()}
        return self._moving[axis]

    def size(self, free: FreeAxis) -> int:
        """Extent of one part along a free axis."""
        name = _steady(free)
        return self.family.fields[name].shape[free.axes[name]]


def _fields(family: VertexFamily) -> Iterable[Access]:
    return family.fields.values()


def _steady(free: FreeAxis) -> str:
    """A field that moves along the axis element by element."""
    return next(name for name in free.axes if free.slide is None or name not in free.slide[0])


def _untiled(family: VertexFamily) -> VertexFamily:
    return replace(family, tile=_nowhere(family.grid))


def _nowhere(grid: tuple[int, ...]) -> IndexMap:
    return IndexMap(0, tuple(np.zeros(n, np.int64) for n in grid))


def _join_all(
    rows: list[_Row], kind: tuple[type[Codelet], int, int], axis: int, choice: int
) -> list[_Row]:
    groups: dict[Hashable, list[_Row]] = {}
    keys: list[Hashable] = []
    for number, row in enumerate(rows):
        joins = row.kind == kind and row.begins(axis, choice) is not None
        keys.append(_key(row, axis, choice) if joins else number)
        groups.setdefault(keys[-1], []).append(row)
    made: list[_Row] = []
    for key in dict.fromkeys(keys):
        group = groups[key]
        lone = len(group) == 1 and group[0].family.grid[axis : axis + 1] in {(), (1,)}
        made += group if lone or isinstance(key, int) else _join(group, axis, choice)
    return made


def _begins(family: VertexFamily, axis: int, free: FreeAxis) -> Ints | None:
    """Position of each part along a free axis; None if some field disagrees."""
    begin: Ints | None = None
    for name, window_axis in free.axes.items():
        if free.slide is not None and name in free.slide[0]:
            continue
        access = family.fields[name]
        table, stride = access.offset.tables[axis], access.strides[window_axis]
        if stride == 0:
            if (table != table[0]).any():
                return None
            continue
        found, rest = np.divmod(table, stride)
        if rest.any() or (begin is not None and (found != begin).any()):
            return None
        begin = found
    if begin is None or free.slide is None:
        return begin
    inputs, stride, _ = free.slide
    for name in inputs:
        access = family.fields[name]
        step = access.strides[free.axes[name]]
        table = access.offset.tables[axis]
        if step == 0 or (table % step).any():
            return None
        lead = table // step - begin * stride
        if (lead != lead[0]).any():
            return None
    return begin


def _lone_begin(family: VertexFamily, axis: int, free: FreeAxis) -> Ints | None:
    """`_begins` of a single part, in plain numbers."""
    inputs = free.slide[0] if free.slide else ()
    begin: int | None = None
    for name, window_axis in free.axes.items():
        if name in inputs:
            continue
        access = family.fields[name]
        stride = access.strides[window_axis]
        if stride:
            found, rest = divmod(int(access.offset.tables[axis][0]), stride)
            if rest or (begin is not None and found != begin):
                return None
            begin = found
    if begin is None:
        return None
    for name in inputs:
        access = family.fields[name]
        stride = access.strides[free.axes[name]]
        if stride == 0 or int(access.offset.tables[axis][0]) % stride:
            return None
    return np.array([begin], np.int64)


def _key(row: _Row, axis: int, choice: int) -> Hashable:
    """What must agree for two rows to be joined: all but their parts along this axis."""
    family, free = row.family, row.free[choice]
    fields: list[Hashable] = []
    for name, access in family.fields.items():
        along = free.axes.get(name)
        window = tuple(n for a, n in enumerate(access.shape) if a != along)
        tables = tuple(t.tobytes() for a, t in enumerate(access.offset.tables) if a != axis)
        held = int(access.offset.tables[axis][0]) if along is None else None
        fields.append((access.variable, access.offset.base, window, access.strides, tables, held))
    if free.slide is None:
        return (family.codelet, *fields)
    inputs, stride, dim = free.slide
    access = family.fields[inputs[0]]
    step = access.strides[free.axes[inputs[0]]]
    first = int(access.offset.tables[axis][0]) // step - _part(row, axis, choice) * stride
    parameters = family.codelet.parameters()
    lead = first - parameters["pads"][dim][0]
    rest = tuple(
        (name, tuple(p for d, p in enumerate(value) if d != dim) if name in _BORDERS else value)
        for name, value in parameters.items()
    )
    return (rest, lead, *fields)


def _part(row: _Row, axis: int, choice: int) -> int:
    """Begin of the first part."""
    begins = row.begins(axis, choice)
    assert begins is not None
    return int(begins[0])


#: Template parameters that hold a pair for each dimension of the field.
_BORDERS = {"pads", "counted"}


def _join(rows: list[_Row], axis: int, choice: int) -> list[_Row]:
    """Join rows that together cover an interval without overlap; else leave them alone."""
    free = rows[0].free[choice]
    begins = [found for row in rows if (found := row.begins(axis, choice)) is not None]
    begin = np.concatenate(begins)
    size = np.repeat([row.size(free) for row in rows], [len(b) for b in begins])
    order = np.argsort(begin, kind="stable")
    begin, size = begin[order], size[order]
    if len(begin) == 1 or (begin[1:] != begin[:-1] + size[:-1]).any():
        return rows
    if free.slide is not None and any(_inner_border(rows, axis, free, n) for n in free.slide[0]):
        return rows
    source = np.repeat(np.arange(len(rows)), [len(b) for b in begins])[order]
    first, last = rows[int(source[0])].family, rows[int(source[-1])].family
    final = int(np.argmax(begins[int(source[-1])]))
    opening = int(np.argmin(begins[int(source[0])]))
    low, extent = int(begin[0]), int(begin[-1] + size[-1] - begin[0])
    fields: dict[str, Access] = {}
    for name, access in first.fields.items():
        along = free.axes.get(name)
        tables = access.offset.tables
        if along is None:
            fields[name] = _moved(access, axis, int(tables[axis][0]), None, 0)
        elif free.slide is not None and name in free.slide[0]:
            step = access.strides[along]
            end = last.fields[name]
            begin_in = int(tables[axis][opening]) // step
            end_in = int(end.offset.tables[axis][final]) // step + end.shape[along]
            fields[name] = _moved(access, axis, begin_in * step, along, end_in - begin_in)
        else:
            at = low * access.strides[along]
            fields[name] = _moved(access, axis, at, along, extent)
    codelet = first.codelet
    if free.slide is not None:
        codelet = codelet.joined(free.slide[2], last.codelet)
    grid = (*first.grid[:axis], 1, *first.grid[axis + 1 :])
    return [_Row(VertexFamily(codelet, grid, _nowhere(grid), fields, first.origins))]


def _inner_border(rows: list[_Row], axis: int, free: FreeAxis, name: str) -> bool:
    """Whether a part misses elements beyond a window that is not the outermost.

    Joined, it would see its neighbour's elements where it alone sees the border.
    """
    assert free.slide is not None
    begins, ends, low, high = [], [], [], []
    for row in rows:
        access = row.family.fields[name]
        along = free.axes[name]
        begin = access.offset.tables[axis] // access.strides[along]
        missing = row.family.codelet.parameters()["pads"][free.slide[2]]
        begins.append(begin)
        ends.append(begin + access.shape[along])
        low.append(np.full(len(begin), missing[0] > 0))
        high.append(np.full(len(begin), missing[1] > 0))
    begin, end = np.concatenate(begins), np.concatenate(ends)
    inner_low = np.concatenate(low) & (begin > begin.min())
    inner_high = np.concatenate(high) & (end < end.max())
    return bool((inner_low | inner_high).any())


def _moved(access: Access, axis: int, begin: int, along: int | None, extent: int) -> Access:
    tables = list(access.offset.tables)
    tables[axis] = np.array([begin], np.int64)
    shape = access.shape
    if along is not None:
        shape = (*shape[:along], extent, *shape[along + 1 :])
    offset = IndexMap(access.offset.base, tuple(tables))
    return Access(access.variable, offset, shape, access.strides)
