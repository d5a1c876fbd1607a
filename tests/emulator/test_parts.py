"""Large families in parts that run at once: against NumPy, and against the family whole."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.codelets import threads
from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.define import Batch, Codelet, FieldSpec, FreeAxis, In, Out
from ipuc.codelets.reduce import Reduce
from ipuc.emulator import parts
from ipuc.emulator.coalesce import coalesce
from ipuc.emulator.run import Emulator, run
from ipuc.errors import ValueRangeError
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.program.program import Program
from ipuc.target import parse_target

Array = NDArray[Any]
WHOLE = 1 << 60


@pytest.fixture(autouse=True)
def several_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)


@dataclass(frozen=True)
class FailsForTests(Codelet):
    """Gives up where an element is negative, and says in which thread it ran."""

    name: ClassVar[str] = "FailsForTests"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))
    ran: ClassVar[set[int]] = set()

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        del batch
        self.ran.add(threading.get_ident())
        if (operands["x"] < 0).any():
            raise FloatingPointError(f"{operands['x'].min():g} is negative")
        return {"out": np.sqrt(operands["x"])}

    def free_axes(self, windows: Any) -> tuple[FreeAxis, ...]:
        del windows
        return (FreeAxis({"x": 0, "out": 0}),)

    def cycles(self, target: Any, windows: Any, itemsize: int) -> int:
        del target, windows, itemsize
        return 1


def binary(op: str, dtype: str, rows: int, columns: int, tiles: int) -> Program:
    graph = Builder(parse_target("tiny"))
    a, b = (graph.input(name, dtype, (rows, columns)) for name in "ab")
    out = graph.variable("out", dtype, (rows, columns))
    with graph.compute_set("binary") as work:
        places = {name: graph.blocks(t, [rows, 1]) for name, t in zip("ab", (a, b), strict=True)}
        tile = separable(0, np.arange(rows) * tiles // rows, [0])
        work.add(BinaryOp(op), tile, **places, out=graph.blocks(out, [rows, 1]))
    graph.output("out", out, dtype)
    graph.map_rest()
    return graph.build()


def roots(size: int) -> Program:
    graph = Builder(parse_target("tiny"))
    x, out = graph.input("x", "float32", (size,)), graph.variable("out", "float32", (size,))
    with graph.compute_set("roots") as work:
        work.add(FailsForTests(), 0, x=x, out=out)
    graph.output("out", out)
    graph.map_rest()
    return graph.build()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    elements=st.integers(1, 40),
    op=st.sampled_from(["add", "sub", "mul", "max"]),
    dtype=st.sampled_from(["float32", "int64", "float16"]),
    seed=st.integers(0, 1000),
)
def test_values_are_those_of_the_family_whole(
    rows: int, columns: int, elements: int, op: str, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-99, 99, (2, rows, columns)).astype(dtype)
    meaning: dict[str, Any] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "max": np.maximum,
    }
    made = {}
    for limit in (elements, WHOLE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "PART_ELEMENTS", limit)
            made[limit] = run(binary(op, dtype, rows, columns, 4), {"a": a, "b": b})["out"]
    # Each element is one operation, correctly rounded: the same bits.
    np.testing.assert_array_equal(made[elements], meaning[op](a, b), strict=True)
    np.testing.assert_array_equal(made[elements], made[WHOLE], strict=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(vertices=st.integers(1, 6), window=st.integers(1, 30), limit=st.integers(1, 60))
def test_parts_hold_every_element_once_and_no_more_than_is_worth_it(
    vertices: int, window: int, limit: int
) -> None:
    program = binary("add", "float32", vertices, window, 4)
    (family,) = coalesce(program.compute_sets()[0].families)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ELEMENTS", limit)
        cut = parts.parted(family)
    out = np.zeros(vertices * window, int)
    for part in cut:
        access = part.fields["out"]
        window_at = sum(
            (
                step * np.arange(n).reshape([-1] + [1] * (len(access.shape) - axis - 1))
                for axis, (n, step) in enumerate(zip(access.shape, access.strides, strict=True))
            ),
            np.zeros(1, int),
        )
        at = access.offset.dense().reshape(-1, 1) + window_at.reshape(1, -1)
        out[at.reshape(-1)] += 1
    assert (out == 1).all()
    longest = max(*family.grid, *family.fields["out"].shape)
    assert len(cut) == max(1, min(longest, 3 * vertices * window // limit))


def test_a_sum_is_cut_between_its_results_and_never_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums of one vertex, each over a row: the same bits however the rows are shared out."""
    x = np.random.default_rng(0).standard_normal((7, 40)).astype(np.float32)
    made = []
    for limit in (1, WHOLE):
        monkeypatch.setattr(parts, "PART_ELEMENTS", limit)
        graph = Builder(parse_target("tiny"))
        given, out = graph.input("x", "float32", (7, 40)), graph.variable("out", "float32", (7,))
        with graph.compute_set("sum") as work:
            work.add(Reduce("sum"), 0, x=given, out=out)
        graph.output("out", out)
        graph.map_rest()
        made.append(run(graph.build(), {"x": x})["out"])
    np.testing.assert_array_equal(made[0], made[1])
    # 40 float32 terms of order 1
    np.testing.assert_allclose(made[0], x.sum(1, dtype=np.float64), rtol=0, atol=1e-5)


def test_an_error_of_one_part_is_raised_and_the_next_run_is_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "PART_ELEMENTS", 64)
    emulator = Emulator(roots(1024))
    x = np.arange(1024, dtype=np.float32)
    for bad in (0, 511, 1023):
        wrong = x.copy()
        wrong[bad] = -7
        with pytest.raises(FloatingPointError, match="-7 is negative"):
            emulator.run({"x": wrong})
    np.testing.assert_array_equal(emulator.run({"x": x})["out"], np.sqrt(x))


def test_parts_run_in_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ELEMENTS", 64)
    FailsForTests.ran.clear()
    emulator = Emulator(roots(1 << 16))
    emulator.run({"x": np.ones(1 << 16, np.float32)})
    assert threading.get_ident() not in FailsForTests.ran or len(FailsForTests.ran) > 1


@pytest.mark.parametrize("bad", [0, 17, 35])
def test_an_integer_of_any_part_that_does_not_fit_is_noticed(
    bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64-bit integers lie in 32 bits on a tile; what needs more is an error, never wrapped."""
    monkeypatch.setattr(parts, "PART_ELEMENTS", 1)
    program = binary("mul", "int64", 6, 6, 4)
    for variable in program.variables:
        variable.narrowed = True
    a = np.full((6, 6), 3, np.int64)
    np.testing.assert_array_equal(run(program, {"a": a, "b": a})["out"], a * a)
    a.reshape(-1)[bad] = 1 << 16
    with pytest.raises(ValueRangeError, match="4294967296 does not fit"):
        run(program, {"a": a, "b": a})


def test_halves_too_large_are_counted_over_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ELEMENTS", 1)
    emulator = Emulator(binary("mul", "float16", 32, 32, 4))
    a = np.full((32, 32), 300, np.float16)
    a[::2] = 1
    for _ in range(20):
        emulator.run({"a": a, "b": a})
        assert sum(emulator.stores.overflows.values()) == 16 * 32
