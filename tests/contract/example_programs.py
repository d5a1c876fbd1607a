"""Programs made from a codelet's examples: a family of several vertices, laid out in many ways.

Every field has a variable of its own. Windows lie apart in it, with spare elements between them,
so that a window can be shifted by one element and still be no other vertex's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Codelet, Example, FreeAxis, registered
from ipuc.program.builder import Builder
from ipuc.program.family import Access, IndexMap, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.steps import Execute
from ipuc.target import parse_target
from ipuc.types import Ints

Array = NDArray[Any]
TINY = parse_target("tiny")


@dataclass(frozen=True)
class Layout:
    """How the vertices of a family lie on tiles and in memory.

    Attributes:
        name: for the test's name.
        grid: extents of the family's grid.
        shares: read-only field i is shared along grid axis `shares[i % len(shares)]`; -1: along
            none.
        irregular: window pitches grow unevenly, in place of equal steps.
        explicit: offsets are one array in place of a table per axis.
        cut: the windows of a row of vertices are parts of one larger array, cut along this axis
            with nothing between them; None keeps windows apart.
    """

    name: str
    grid: tuple[int, ...]
    shares: tuple[int, ...] = (-1,)
    irregular: bool = False
    explicit: bool = False
    cut: int | None = None


LAYOUTS = (
    Layout("row", (4,)),
    Layout("irregular", (4,), irregular=True),
    Layout("explicit", (2, 2), explicit=True),
    Layout("shared", (2, 3), shares=(0, 1)),
    Layout("shared-other", (3, 2), shares=(1, 0, -1)),
    Layout("shared-irregular", (3, 2, 1), shares=(1, 2, 0), irregular=True),
    Layout("rows", (4,), cut=0),
    Layout("columns", (4,), cut=-1),
)


def codelets() -> dict[str, type[Codelet]]:
    """The codelets of the package; those that other tests define are none of ours."""
    return {
        name: kind
        for name, kind in registered().items()
        if kind.__module__.startswith("ipuc.codelets.")
    }


def examples() -> list[tuple[str, Example]]:
    """Every example of every codelet, with a name for the test."""
    return [
        (f"{name}-{number}", example)
        for name, kind in codelets().items()
        for number, example in enumerate(kind.examples())
    ]


def program_of(example: Example, layout: Layout) -> Program:
    """One compute set with one family; every variable is an input and an output.

    Inputs that the vertices only write show which elements they leave alone.
    """
    graph = Builder(TINY)
    kind = example.codelet
    where = tuple(np.arange(n, dtype=np.int64) for n in layout.grid)
    tile = IndexMap(0, explicit=separable(0, *where).dense() % TINY.tiles)
    fields: dict[str, Access] = {}
    for number, spec in enumerate(kind.fields):
        window = example.windows[spec.name]
        shared = layout.shares[number % len(layout.shares)] if not spec.writes else -1
        strides = [math.prod(window[axis + 1 :]) for axis in range(len(window))]
        if layout.cut is None or not window:
            tables, size = _tables(layout, window, shared)
        else:
            whole = list(window)
            whole[layout.cut] *= layout.grid[0]
            strides = [math.prod(whole[axis + 1 :]) for axis in range(len(whole))]
            step = window[layout.cut] * strides[layout.cut]
            tables, size = [step * np.arange(layout.grid[0])], math.prod(whole)
        tensor = graph.input(spec.name, example.dtype(spec.name), (size,))
        graph.map(tensor, [0, size // 3 + 1], [3, 1])
        offset = separable(0, *tables)
        if layout.explicit:
            offset = IndexMap(0, explicit=np.ascontiguousarray(offset.dense()))
        view = tensor.view()
        assert view is not None
        fields[spec.name] = Access(view.variable, offset, window, tuple(strides))
        graph.output(spec.name, tensor)
    outputs, graph._steps = graph._steps[1::2], graph._steps[::2]
    with graph.compute_set("example") as work:
        work.add(kind, tile, **fields)
    graph._steps += outputs
    return graph.build()


def program_along(example: Example, free: FreeAxis, count: int) -> Program:
    """Vertices next to each other along an axis that the codelet calls free."""
    graph = Builder(TINY)
    kind = example.codelet
    fields: dict[str, Access] = {}
    sliding, stride = free.slide[:2] if free.slide else ((), 1)
    name = next(name for name in free.axes if name not in sliding)
    part = example.windows[name][free.axes[name]]
    for spec in kind.fields:
        window = example.windows[spec.name]
        whole, step = list(window), 0
        if spec.name in free.axes:
            axis = free.axes[spec.name]
            moved = part * stride if spec.name in sliding else part
            whole[axis] += (count - 1) * moved
            step = moved * math.prod(whole[axis + 1 :])
        size = math.prod(whole) + 1
        tensor = graph.input(spec.name, example.dtype(spec.name), (size,))
        graph.map(tensor, [0, (size + 1) // 2], [2, 0])
        strides = [math.prod(whole[axis + 1 :]) for axis in range(len(whole))]
        fields[spec.name] = graph.field(tensor, [step * np.arange(count)], window, strides)
        graph.output(spec.name, tensor)
    outputs, graph._steps = graph._steps[1::2], graph._steps[::2]
    with graph.compute_set("example") as work:
        work.add(kind, [vertex % TINY.tiles for vertex in range(count)], **fields)
    graph._steps += outputs
    return graph.build()


def _tables(layout: Layout, window: tuple[int, ...], shared: int) -> tuple[list[Ints], int]:
    """Offset tables that keep all windows apart, and the size of the variable."""
    pitch = math.prod(window) + 2
    tables: list[Ints] = []
    for axis, extent in reversed(list(enumerate(layout.grid))):
        if axis == shared:
            tables.insert(0, np.zeros(extent, np.int64))
            continue
        gaps = np.full(extent, pitch, np.int64)
        if layout.irregular:
            gaps += np.arange(extent) % 2 + np.arange(extent)
        tables.insert(0, np.cumsum(gaps) - gaps)
        pitch = int(gaps.sum())
    return tables, pitch


def inputs_of(example: Example, program: Program, seed: int) -> dict[str, Array]:
    """Random values in general position for every variable."""
    random = np.random.default_rng(seed)
    return {
        name: values(random, kind.dtype, kind.size, example.ranges.get(name))
        for name, kind in program.inputs.items()
    }


def values(
    random: np.random.Generator, dtype: str, size: int, limits: tuple[float, float] | None
) -> Array:
    """Random elements of one type, inside the limits."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return random.integers(0, 2, size).astype(bool)
    if kind.kind == "f":
        if limits is None:
            return random.normal(size=size).astype(kind)
        return random.uniform(*limits, size).astype(kind)
    low, high = limits or ((0, 50) if kind.kind == "u" else (-50, 50))
    return random.integers(int(low), int(high), size, endpoint=True).astype(kind)


def family_of(program: Program) -> VertexFamily:
    """The only family of an example's program."""
    (family,) = program.families()
    return family


def with_family(program: Program, family: VertexFamily) -> Program:
    """The program with its family replaced."""
    steps = tuple(
        Execute(replace(step.compute_set, families=(family,)))
        if isinstance(step, Execute)
        else step
        for step in program.main.steps
    )
    return replace(program, main=replace(program.main, steps=steps))


def without_vertex(family: VertexFamily, vertex: int) -> VertexFamily:
    """All vertices of a family but one, as a family with explicit offsets."""
    kept = np.delete(np.arange(family.count), vertex)

    def keep(index: IndexMap) -> IndexMap:
        return IndexMap(0, explicit=index.at(kept))

    fields = {n: replace(a, offset=keep(a.offset)) for n, a in family.fields.items()}
    return replace(family, grid=(len(kept),), tile=keep(family.tile), fields=fields)


def shifted(family: VertexFamily, name: str) -> VertexFamily:
    """The family with one field moved on by one element."""
    access = family.fields[name]
    moved = replace(access, offset=replace(access.offset, base=access.offset.base + 1))
    return replace(family, fields={**family.fields, name: moved})


def reached(access: Access, vertex: int) -> Ints:
    """Elements of one vertex's window, by plain counting."""
    start = int(access.offset.dense().reshape(-1)[vertex])
    found = [
        start + sum(i * s for i, s in zip(index, access.strides, strict=True))
        for index in np.ndindex(*access.shape)
    ]
    return np.array(sorted(set(found)), np.int64)


def written(family: VertexFamily) -> Iterator[str]:
    """Names of the fields that vertices write."""
    return (spec.name for spec in family.codelet.fields if spec.writes)
