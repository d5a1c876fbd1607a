"""Goldens say what the text looks like; the laws say that it misses no change."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_example import example
from program_strategies import programs

from ipuc.program.family import Access, IndexMap, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Execute, Sequence
from ipuc.program.tensor import concat, fill
from ipuc.program.text import access_text, map_text, table_text, tensor_text, to_text
from ipuc.program.variables import TileMapping


def test_text_of_an_example(golden: Callable[[str, str], None]) -> None:
    golden("example.txt", to_text(example()))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ([7], "7"),
        ([0, 0, 0], "0"),
        ([0, 1, 2], "0..2"),
        ([0, 4, 8], "0..8/4"),
        ([8, 4, 0], "8..0/-4"),
        ([0, 4, 5], f"0..5~{zlib.crc32(struct.pack('<3q', 0, 4, 5)):08x}"),
    ],
)
def test_tables(table: list[int], text: str) -> None:
    assert table_text(np.array(table, np.int64)) == text


def test_maps() -> None:
    assert map_text(IndexMap(5)) == "5"
    assert map_text(separable(5, [0, 0], [0])) == "5"
    assert map_text(separable(5, [0, 2], [0])) == "5 + [0..2/2, 0]"
    assert map_text(IndexMap(1, explicit=np.full((2, 2), 3))) == "1 + one by one 3"
    assert map_text(separable(0, [])) == "of no vertex"


def test_fields() -> None:
    access = Access(3, separable(1, [0, 8]), (2, 4), (16, -1))
    assert access_text(access) == "v3 at 1 + [0..8/8] window [2/16 4/-1]"
    listed = replace(access, entries=np.array([[0, 4], [16, 4]], np.int64))
    assert access_text(listed).startswith(access_text(access) + " in 2 entries ~")


def test_long_lists_are_counted() -> None:
    many = concat([fill(float(i), (1,), "float32") for i in range(20)], 0)
    assert tensor_text(many).endswith("[7] = 7.0 over 1; and 12 more pieces")


def family_changes(family: VertexFamily) -> list[VertexFamily]:
    """The family with one thing different, each way."""
    access = family.fields["b"]
    moved = replace(access, offset=replace(access.offset, base=access.offset.base + 1))
    other = replace(access, variable=access.variable + 1)
    tile = replace(family.tile, base=family.tile.base + 1)
    return [
        replace(family, fields={**family.fields, "b": moved}),
        replace(family, fields={**family.fields, "b": other}),
        replace(family, tile=tile),
        replace(family, origins=()),
        replace(family, codelet=type(family.codelet)("sub")),  # type: ignore[call-arg]
    ]


@settings(max_examples=40, deadline=None)
@given(programs(), st.data())
def test_text_tells_families_apart(program: Program, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(list(program.families())))
    every = [family, *family_changes(family)]
    bodies = [Sequence((Execute(ComputeSet("set", (one,))),)) for one in every]
    texts = {to_text(replace(program, main=body, functions={})) for body in bodies}
    assert len(texts) == len(every)


@settings(max_examples=40, deadline=None)
@given(programs())
def test_text_tells_mappings_apart(program: Program) -> None:
    before = to_text(program)
    mapping = program.variables[0].mapping
    assert mapping is not None
    program.variables[0].mapping = TileMapping(mapping.starts, (mapping.tiles + 1) % 4)
    assert to_text(program) != before
    program.variables[0].mapping = mapping
    assert to_text(program) == before
    program.variables[0].mapping = None
    assert "on no tile" in to_text(program)
