"""Count small programs with Python sets, element by element, straight from the definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from ipuc.program.family import Access, VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import Execute, Sweep

Run = tuple[int, int]


def window_elements(access: Access, point: int) -> list[int]:
    """Elements that one vertex touches, in window order."""
    offset = int(access.offset.dense().reshape(-1)[point])
    places = itertools.product(*(range(n) for n in access.shape))
    return [offset + sum(i * s for i, s in zip(at, access.strides, strict=True)) for at in places]


def vertex_runs(access: Access, point: int) -> list[Run]:
    """Contiguous pieces, (begin, end) each, that one vertex connects."""
    offset = int(access.offset.dense().reshape(-1)[point])
    return [(offset + int(b), offset + int(b) + int(n)) for b, n in access.runs() if n]


def vertices(program: Program) -> Iterator[tuple[VertexFamily, int]]:
    """Every vertex once."""
    for family in program.families():
        for point in range(family.count):
            yield family, point


def graph(program: Program) -> tuple[list[tuple[int, int, int]], set[tuple[int, int]]]:
    """The vertex graph: regions (variable, begin, end) in order, and (vertex, region) pairs."""
    cuts: dict[int, set[int]] = {}
    touched: dict[int, set[int]] = {}
    for family, point in vertices(program):
        for access in family.fields.values():
            for begin, end in vertex_runs(access, point):
                cuts.setdefault(access.variable, set()).update((begin, end))
                touched.setdefault(access.variable, set()).update(range(begin, end))
    regions: list[tuple[int, int, int]] = []
    region_of: dict[tuple[int, int], int] = {}
    for variable, at in sorted(cuts.items()):
        for begin, end in itertools.pairwise(sorted(at)):
            if begin in touched[variable]:
                region_of.update({(variable, e): len(regions) for e in range(begin, end)})
                regions.append((variable, begin, end))
    pairs = {
        (number, region_of[access.variable, element])
        for number, (family, point) in enumerate(vertices(program))
        for access in family.fields.values()
        for begin, end in vertex_runs(access, point)
        for element in range(begin, end)
    }
    return regions, pairs


def messages(program: Program) -> int:
    """Contiguous runs that one tile gets from another, over all supersteps."""
    needs: dict[tuple[int, int, int, int, str], set[int]] = {}
    for number, compute_set in enumerate(program.compute_sets()):
        sweep = any(
            isinstance(step, Sweep) and step.compute_set is compute_set for step in program.bodies()
        )
        for family in compute_set.families:
            tiles = family.tile.dense().reshape(-1)
            for point in range(family.count):
                index = point // math.prod(family.grid[1:]) if sweep else 0
                for spec in family.codelet.fields:
                    access = family.fields[spec.name]
                    for way, wanted in (("read", spec.reads), ("write", spec.writes)):
                        if wanted:
                            key = (number, index, access.variable, int(tiles[point]), way)
                            elements = needs.setdefault(key, set())
                            elements.update(window_elements(access, point))
    total = 0
    for (_, _, variable, tile, _), elements in needs.items():
        homes = program.variables[variable].mapped().dense(program.variables[variable].size)
        for element in elements:
            home = int(homes[element])
            before = element - 1 in elements and int(homes[element - 1]) == home
            total += home != tile and not before
    return total


def field_slots(program: Program) -> int:
    """Poplar's edges of codelets whose fields are all vectors."""
    return sum(
        1 if access.entries is None else len(access.entries)
        for family, _ in vertices(program)
        for access in family.fields.values()
    )


def steps_of(program: Program) -> int:
    """Compute sets that some step names."""
    found = [s.compute_set for s in program.bodies() if isinstance(s, Execute | Sweep)]
    return len({id(compute_set) for compute_set in found})


def as_array(pairs: set[tuple[int, int]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The pairs in order."""
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)
