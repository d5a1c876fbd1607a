"""What every codelet must keep to. A codelet is tested from the moment its file exists.

Programs are made from the codelet's own examples. Batched calls are held against vertices that run
alone on private memory, cycle formulas against themselves on numbers and on columns, and two
mutations against the elements that may change.
"""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from typing import Any

import example_programs as programs
import numpy as np
import pytest
from numpy.typing import NDArray

import ipuc.codelets
from ipuc.codelets import threads
from ipuc.codelets.define import Codelet, Example, restore
from ipuc.emulator import parts, run, strict
from ipuc.target import CATALOGUE

Array = NDArray[Any]

CODELETS = programs.codelets()
EXAMPLES = programs.examples()
SEEDS = range(4)
by_codelet = pytest.mark.parametrize("kind", CODELETS.values(), ids=CODELETS.keys())
by_example = pytest.mark.parametrize(
    "example", [example for _, example in EXAMPLES], ids=[name for name, _ in EXAMPLES]
)


def _agree(got: dict[str, Array], want: dict[str, Array]) -> None:
    """The same elements: floats to 1e-6 of the largest, for a batch may add in another order.

    Halves are rounded once more, to 11 bits.
    """
    assert got.keys() == want.keys()
    for name, values in want.items():
        if values.dtype.kind != "f":
            np.testing.assert_array_equal(got[name], values, strict=True)
            continue
        scale = float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0))
        unit = 1e-6 if values.dtype == np.float32 else 2.0**-10
        np.testing.assert_allclose(got[name], values, rtol=0, atol=unit * scale, strict=True)


def test_a_file_holds_one_codelet() -> None:
    modules = [kind.__module__ for kind in CODELETS.values()]
    assert sorted(set(modules)) == sorted(modules)


def test_no_two_codelets_share_a_name() -> None:
    """A saved program names its codelets, so each name must lead to one class."""
    for module in pkgutil.iter_modules(ipuc.codelets.__path__, "ipuc.codelets."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and issubclass(kind, Codelet) and "name" in vars(kind):
                assert CODELETS[kind.name] is kind, module.name


@by_codelet
def test_a_codelet_says_what_it_is(kind: type[Codelet]) -> None:
    assert kind.__doc__
    assert "Source:" in kind.__doc__, "the cycle formula needs its source"
    assert kind.fields
    names = [spec.name for spec in kind.fields]
    assert len(set(names)) == len(names)
    assert any(spec.writes for spec in kind.fields)


@by_codelet
def test_a_codelet_offers_examples(kind: type[Codelet]) -> None:
    examples = kind.examples()
    assert examples, f"{kind.name} needs examples()"
    for example in examples:
        assert type(example.codelet) is kind
        names = {spec.name for spec in kind.fields}
        assert set(example.windows) == set(example.grown()) == names
        assert set(example.dtypes) <= names
        assert set(example.ranges) <= names
        for spec in kind.fields:
            window = example.windows[spec.name]
            assert len(window) == len(example.grown()[spec.name])
            assert spec.list_axes <= len(window)
            assert math.prod(window) > 0


@by_example
def test_parameters_survive_json(example: Example) -> None:
    text = json.dumps(example.codelet.parameters())
    assert restore(example.codelet.name, json.loads(text)) == example.codelet


@by_example
@pytest.mark.parametrize("layout", programs.LAYOUTS, ids=lambda layout: layout.name)
def test_batched_is_one_by_one(example: Example, layout: programs.Layout) -> None:
    program = programs.program_of(example, layout)
    inputs = programs.inputs_of(example, program, seed=1)
    fast = run.run(program, inputs)
    _agree(fast, strict.run(program, inputs))
    family = programs.family_of(program)
    for name, access in family.fields.items():
        # what no vertex writes keeps its bits
        alone = np.ones(len(inputs[name]), bool)
        for vertex in range(family.count) if name in programs.written(family) else ():
            alone[programs.reached(access, vertex)] = False
        np.testing.assert_array_equal(fast[name][alone], inputs[name][alone])


@by_example
def test_vertices_along_a_free_axis_may_be_joined(example: Example) -> None:
    for free in example.codelet.free_axes(example.windows):
        for count in (2, 5):
            program = programs.program_along(example, free, count)
            inputs = programs.inputs_of(example, program, seed=count)
            _agree(run.run(program, inputs), strict.run(program, inputs))


@by_example
@pytest.mark.parametrize("layout", programs.LAYOUTS, ids=lambda layout: layout.name)
def test_parts_at_the_same_time_are_one_by_one(
    example: Example, layout: programs.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many parts as there are vertices, or places where work may be cut; on three threads."""
    monkeypatch.setattr(parts, "PART_ELEMENTS", 1)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    program = programs.program_of(example, layout)
    inputs = programs.inputs_of(example, program, seed=2)
    _agree(run.run(program, inputs), strict.run(program, inputs))


@by_example
@pytest.mark.parametrize("target", CATALOGUE.values(), ids=CATALOGUE.keys())
@pytest.mark.parametrize("itemsize", [2, 4])
def test_cycles(example: Example, target: Any, itemsize: int) -> None:
    codelet = example.codelet
    few = codelet.cycles(target, example.windows, itemsize)
    many = codelet.cycles(target, example.grown(), itemsize)
    for cycles in (few, many):
        assert isinstance(cycles, int | np.integer), "one vertex costs a whole number of cycles"
        assert not isinstance(cycles, bool | np.bool_)
        assert cycles > 0
    assert many >= few
    columns = {
        name: tuple(np.array(pair) for pair in zip(window, example.grown()[name], strict=True))
        for name, window in example.windows.items()
    }
    column = np.broadcast_to(codelet.cycles(target, columns, itemsize), (2,))
    assert column.tolist() == [few, many]
    if example.larger is None:
        huge = {name: tuple(64 * n for n in shape) for name, shape in example.windows.items()}
        assert codelet.cycles(target, huge, itemsize) > few, "work without bound is not free"


@by_example
def test_edges_and_flops(example: Example) -> None:
    edges = example.codelet.edges(example.windows)
    assert isinstance(edges, int)
    assert edges >= len(example.codelet.fields)
    flops = example.codelet.flops(example.windows)
    assert flops >= 0
    assert example.codelet.flops(example.grown()) >= flops


@by_example
def test_one_vertex_taken_away_changes_exactly_its_outputs(example: Example) -> None:
    program = programs.program_of(example, programs.LAYOUTS[0])
    family = programs.family_of(program)
    for vertex in range(family.count):
        changed = False
        without = programs.with_family(program, programs.without_vertex(family, vertex))
        for seed in SEEDS:
            inputs = programs.inputs_of(example, program, seed)
            full, less = run.run(program, inputs), run.run(without, inputs)
            want = dict(full)
            for name in programs.written(family):
                own = programs.reached(family.fields[name], vertex)
                want[name] = full[name].copy()
                want[name][own] = inputs[name][own]
                # its own elements keep their bits
                np.testing.assert_array_equal(less[name][own], inputs[name][own])
                changed |= not np.array_equal(full[name][own], inputs[name][own])
            _agree(less, want)
        assert changed, f"vertex {vertex} writes nothing that can be seen"


@by_example
def test_a_field_shifted_by_one_element_changes_the_result(example: Example) -> None:
    program = programs.program_of(example, programs.LAYOUTS[0])
    family = programs.family_of(program)
    for spec in example.codelet.fields:
        moved = programs.with_family(program, programs.shifted(family, spec.name))
        differs = []
        for seed in SEEDS:
            inputs = programs.inputs_of(example, program, seed)
            full, other = run.run(program, inputs), run.run(moved, inputs)
            differs.append(any(not np.array_equal(full[name], other[name]) for name in full))
        assert any(differs), f"field {spec.name} may lie anywhere"
