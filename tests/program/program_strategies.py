"""Hypothesis: random programs, for counting only: races are allowed, windows are inside."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from hypothesis import strategies as st

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.define import FieldSpec, In, InOut
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.steps import Call, ComputeSet, Execute, Repeat, Sequence, Step, Sweep
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import CATALOGUE

TINY = CATALOGUE["tiny"]


class Update(BinaryOp):
    """A BinaryOp that also reads what it writes; without a name of its own it is not registered."""

    fields: ClassVar[tuple[FieldSpec, ...]] = (In("a"), In("b"), InOut("out"))


@st.composite
def mappings(draw: st.DrawFn, size: int) -> TileMapping:
    """Any cover of a variable, neighbours on one tile included."""
    cuts = draw(st.sets(st.integers(1, max(1, size - 1)), max_size=5))
    starts = np.array([0, *sorted(c for c in cuts if c < size)], np.int64)
    tiles = draw(st.lists(st.integers(0, 3), min_size=len(starts), max_size=len(starts)))
    return TileMapping(starts, np.array(tiles, np.int64))


@st.composite
def index_maps(draw: st.DrawFn, grid: tuple[int, ...], limit: int) -> IndexMap:
    """Numbers from 0 to `limit` on a grid: tables, constant tables, or an explicit array."""
    kind = draw(st.sampled_from(["tables", "tables", "explicit"]))
    if kind == "explicit":
        size = int(np.prod(grid))
        numbers = draw(st.lists(st.integers(0, limit), min_size=size, max_size=size))
        shift = draw(st.integers(-3, 3))
        numbers = [number - shift for number in numbers]
        return IndexMap(shift, explicit=np.array(numbers, np.int64).reshape(grid))
    tables, room = [], limit
    for extent in grid:
        most = draw(st.integers(0, room))
        room -= most
        if draw(st.booleans()):
            tables.append([most] * extent)
        else:
            tables.append(draw(st.lists(st.integers(0, most), min_size=extent, max_size=extent)))
    return separable(0, *tables)


@st.composite
def entry_lists(draw: st.DrawFn, access: Access) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Pieces that cover the window's own runs, cut further and sometimes named twice."""
    pieces = []
    for begin, length in access.runs().tolist():
        at = draw(st.integers(0, length))
        pieces += [(begin, at), (begin + at, length - at)] if 0 < at < length else [(begin, length)]
        if draw(st.booleans()):
            pieces.append((begin, length))
    return np.array(draw(st.permutations(pieces)), np.int64).reshape(-1, 2)


@st.composite
def accesses(draw: st.DrawFn, variable: Variable, grid: tuple[int, ...]) -> Access:
    """A field whose windows lie in the variable."""
    shape, strides, low, high = [], [], 0, 0
    for _ in range(draw(st.integers(0, 3))):
        extent = draw(st.integers(1, 4))
        room = variable.size - 1 - (high - low)
        reach = room // (extent - 1) if extent > 1 else 5
        stride = draw(st.integers(-min(reach, 6), min(reach, 6)))
        shape.append(extent)
        strides.append(stride)
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    offset = draw(index_maps(grid, variable.size - 1 - (high - low)))
    moved = IndexMap(offset.base - low, offset.tables, offset.explicit)
    access = Access(variable.id, moved, tuple(shape), tuple(strides))
    if draw(st.booleans()):
        entries = draw(entry_lists(access))
        access = Access(variable.id, moved, tuple(shape), tuple(strides), entries)
    return access


@st.composite
def families(draw: st.DrawFn, variables: list[Variable], *, registered: bool) -> VertexFamily:
    """Vertices with fields on any of the variables."""
    grid = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    codelet = BinaryOp("add") if registered or draw(st.booleans()) else Update("mul")
    tile = draw(index_maps(grid, 3))
    fields = {n: draw(accesses(draw(st.sampled_from(variables)), grid)) for n in ("a", "b", "out")}
    return VertexFamily(codelet, grid, tile, fields, (Origin("layer", "forward"),))


@st.composite
def programs(draw: st.DrawFn, *, registered: bool = False) -> Program:
    """A few variables and compute sets, some of them swept, repeated, or in a function."""
    variables = []
    for id_ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 40))
        mapping = draw(mappings(size))
        variables.append(Variable(id_, f"v{id_}", "float32", (size,), mapping))
    steps: list[Step] = []
    functions: dict[str, Sequence] = {}
    for number in range(draw(st.integers(1, 3))):
        made = draw(st.lists(families(variables, registered=registered), min_size=1, max_size=3))
        compute_set = ComputeSet(f"set{number}", tuple(made))
        sweep = draw(st.booleans()) and all(family.grid for family in made)
        step: Step = Sweep(compute_set) if sweep else Execute(compute_set)
        match draw(st.sampled_from(["plain", "repeat", "function"])):
            case "repeat":
                step = Repeat(2, step)
            case "function":
                functions[f"f{number}"] = Sequence((step,))
                step = Sequence((Call(f"f{number}"), Call(f"f{number}")))
            case _:
                pass
        steps.append(step)
    return Program(TINY, variables, {}, Sequence(tuple(steps)), functions)
