"""Reductions in popops' stages: their numbers against NumPy's in float64, and their shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reductions import compiled, numbers

from ipuc.emulator.strict import StrictEmulator
from ipuc.pipeline import run_program
from ipuc.profile.cycles import supersteps

ORACLES: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceProd": np.prod,
    "ReduceMin": np.min,
}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_numbers_on_few_tiles(data: st.DataObject) -> None:
    """Shapes that no tile boundary fits: heads, tails, several stages, shares of workers.

    Tolerance: some thousand terms of magnitude 1 in float32, and one rounding to half.
    """
    shape = tuple(data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=3)))
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    op = data.draw(st.sampled_from(sorted(ORACLES)))
    dtype = data.draw(st.sampled_from(["float32", "float16", "int32"]))
    if op == "ReduceProd" and dtype == "int32":
        dtype = "float32"  # a product of whole numbers soon leaves 32 bits
    tiles = data.draw(st.sampled_from([3, 16, 64]))
    program = compiled(op, shape, axes, dtype, f"gc2,tiles={tiles}")
    x = numbers(shape, dtype)
    found = run_program(program, {"x": x})["y"]
    wanted = ORACLES[op](x.astype(np.float64), axis=tuple(axes))
    unit = 2e-3 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(found, wanted, rtol=unit, atol=unit)


@pytest.mark.parametrize(
    ("shape", "axes", "stages"),
    [
        # every column on one tile: nothing is exchanged
        ((1216, 128), [1], ["on tile"]),
        # 20 neighbours hold each column: their partial results go where the result lies
        ((64, 512, 8), [1], ["on tile", "final"]),
        # 606 tiles hold each column: a stage between
        ((2, 30000, 8), [1], ["on tile", "stage 1", "final"]),
        # a tile holds less than a row: nothing to combine before the first exchange
        ((300, 2400), [0], ["stage 1", "final"]),
    ],
)
def test_stages(shape: tuple[int, ...], axes: list[int], stages: list[str]) -> None:
    program = compiled("ReduceSum", shape, axes, "float16")
    assert list(program.layers[-1].plan["chosen"]["splits"]) == stages
    exchanged = [step.exchange > 0 for step in supersteps(program)]
    assert sum(exchanged) == len(stages) - (stages[0] == "on tile")
    x = numbers(shape, "float16")
    wanted = x.astype(np.float64).sum(axis=tuple(axes))
    # partial sums are float32, so only the result is rounded to half
    np.testing.assert_allclose(run_program(program, {"x": x})["y"], wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 500, 6), [1]), ((3, 40, 8, 4), [1, 3]), ((40, 7, 30), [0])]
)
def test_strict_emulation_needs_no_more_than_is_exchanged(
    shape: tuple[int, ...], axes: list[int]
) -> None:
    program = compiled("ReduceSum", shape, axes, "float16", "gc2,tiles=16")
    x = numbers(shape, "float16")
    wanted = x.astype(np.float64).sum(axis=tuple(axes))
    found = StrictEmulator(program).run({"x": x})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_blocks_of_rows_are_added_first() -> None:
    """A GC2 tile holds 4 rows of 8 columns of 4 halves: 4 workers take 2 columns each.

    By hand: 16 + (8 / 4) * (3 + 7 + 3 + 4 - 1), then 17 + 2 * (12 + 4 / 2), worker cycles.
    """
    program = compiled("ReduceSum", (16, 304, 8, 4), [1, 3], "float16")
    steps = supersteps(program)
    assert [step.name for step in steps[:2]] == ["y on tile", "y on tile shares"]
    assert [int(step.compute.max()) for step in steps[:2]] == [6 * 48, 6 * 45]
    assert steps[0].vertices == steps[1].vertices == {"Reduce": 4 * 1216}


@pytest.mark.parametrize("target", ["gc2", "gc200"])
@pytest.mark.parametrize(
    ("op", "shape", "axes", "dtype"),
    [
        ("ReduceSum", (8, 4096, 8), [1], "float16"),
        ("ReduceSum", (2, 30000, 8), [1], "float16"),
        ("ReduceSum", (2, 30001, 6), [1], "float32"),
        ("ReduceSumSquare", (4, 9000, 8), [1], "float16"),
        ("ReduceSum", (12, 200, 8, 4), [1, 3], "float16"),
        ("ReduceMax", (100, 999), [1], "float32"),
        ("ReduceProd", (100, 999), [0], "float32"),
        ("ReduceSum", (300, 2400), [0], "int32"),
        ("ReduceSum", (500000,), [0], "float32"),
    ],
)
def test_planned_is_profiled(
    op: str, shape: tuple[int, ...], axes: list[int], dtype: str, target: str
) -> None:
    """The profile knows the mapping and the vertices, the plan does not."""
    program = compiled(op, shape, axes, dtype, target)
    costs = program.layers[-1].plan["chosen"]["costs"]
    steps = supersteps(program)
    planned = {kind: sum(c for item, c in costs.items() if kind in item) for kind in _KINDS}
    assert planned["compute"] == sum(int(step.compute.max()) for step in steps)
    spent = np.sum([step.compute for step in steps], axis=0)
    assert program.layers[-1].plan["chosen"]["balance"] == pytest.approx(
        spent.max() / spent.mean(), abs=1e-4
    )
    assert planned["sync"] == sum(step.sync for step in steps)
    exchange = sum(step.exchange for step in steps)
    assert planned["exchange"] == pytest.approx(exchange, rel=0.1)


_KINDS = ("compute", "exchange", "sync")


def test_two_reductions_of_a_layer_are_one_record() -> None:
    """ReduceLogSumExp takes a maximum and a sum; its plan has the costs of both."""
    alone = compiled("ReduceMax", (30, 5000), [1]).layers[-1].plan["chosen"]["costs"]
    both = compiled("ReduceLogSumExp", (30, 5000), [1]).layers[-1].plan["chosen"]["costs"]
    assert both["on tile compute"] > alone["on tile compute"]
