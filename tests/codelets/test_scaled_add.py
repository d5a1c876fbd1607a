"""ScaledAdd against NumPy, and its cycles against the planner's formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.cycles.move import scaled_add
from ipuc.codelets.scaled_add import ScaledAdd
from ipuc.emulator import run, strict
from ipuc.program.builder import Builder
from ipuc.target import CATALOGUE, Target, parse_target

TYPES = ("float32", "float16")


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 6),
    kind=st.sampled_from(TYPES),
    other=st.sampled_from(TYPES),
    times=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_adds_where_the_sum_lies(
    rows: int, columns: int, kind: str, other: str, times: int, seed: int
) -> None:
    """In a loop: each round adds to what the last one left. Exact, as NumPy's float32 is."""
    draw = np.random.default_rng(seed)
    graph = Builder(parse_target("gc200,tiles=7"))
    arrays = {
        "a": draw.normal(size=(rows, columns)).astype(kind),
        "b": draw.normal(size=(rows, columns)).astype(other),
        "scale": np.array([draw.normal()], np.float32),
    }
    given = {
        name: graph.input(name, array.dtype.name, array.shape) for name, array in arrays.items()
    }
    for tensor in given.values():
        graph.map_linear(tensor)
    factor = given["scale"].reshape(())
    assert factor is not None
    with graph.repeat(times), graph.compute_set("update") as work:
        work.add(
            ScaledAdd("" if kind == other else other),
            [row % 7 for row in range(rows)],
            a=graph.field(given["a"], [np.arange(rows) * columns], (columns,)),
            b=graph.field(given["b"], [np.arange(rows) * columns], (columns,)),
            scale=graph.field(factor, [np.zeros(rows, np.int64)], ()),
        )
    graph.output("sum", given["a"])
    program = graph.build()
    want = arrays["a"]
    for _ in range(times):
        product = arrays["b"].astype(np.float32) * arrays["scale"]
        want = (want.astype(np.float32) + product).astype(kind)
    for emulator in (run, strict):
        np.testing.assert_array_equal(emulator.run(program, arrays)["sum"], want, strict=True)


@pytest.mark.parametrize("target", CATALOGUE.values(), ids=CATALOGUE.keys())
@pytest.mark.parametrize("itemsize", [2, 4])
def test_whole_vectors_take_what_calibration_takes(target: Target, itemsize: int) -> None:
    for count in (4, 24, 48, 1000, 4000):
        made = ScaledAdd().cycles(target, {"a": (count,), "b": (count,)}, itemsize)
        assert made == scaled_add(target, count, itemsize)


def test_other_types_take_longer() -> None:
    """240 halves or floats: 60 vectors of four or 120 of two, 10 or 20 for each of six workers."""
    gc2 = CATALOGUE["gc2"]
    windows = {"a": (240,), "b": (240,)}
    assert ScaledAdd().cycles(gc2, windows, 4) == 57 + 6 * (25 + 3 * 20)
    assert ScaledAdd("float16").cycles(gc2, windows, 4) == 57 + 6 * (25 + 4 * 20)
    assert ScaledAdd("float32").cycles(gc2, windows, 2) == 57 + 6 * (25 + 5 * 10)
    assert ScaledAdd().cycles(gc2, {"a": (241,), "b": (241,)}, 4) == 63 + 6 * (25 + 3 * 20)
