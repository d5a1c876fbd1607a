"""Totals and tables of a profile where programs differ from the usual."""

from __future__ import annotations

import pytest

from ipuc.codelets.unary import UnaryOp
from ipuc.profile.record import peak_flops, profile
from ipuc.profile.tables import TABLES, Row, by_codelet, by_compute_set, by_layer, in_order, to_json
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.program.program import Layer, Program
from ipuc.target import CATALOGUE

TINY = CATALOGUE["tiny"]


def looped(times: int) -> Program:
    """A layer in a loop, a copy of no layer, and a layer without steps."""
    build = Builder(TINY)
    x = build.input("x", "float32", (8, 4))
    out = build.variable("out", "float32", (8, 4))
    build.layer = "neg"
    with build.repeat(times), build.compute_set("neg") as neg:
        blocks = {"x": build.blocks(x, [4, 1]), "out": build.blocks(out, [4, 1])}
        neg.add(UnaryOp("neg"), separable(0, range(4), [0]), **blocks)
    build.layer = ""
    turned = build.copy(out.transpose([1, 0]), "turn")
    build.output("y", turned)
    build.layers = [
        Layer("neg", "Neg", ("neg", "also"), ("out",)),
        Layer("view", "Reshape", ("view",), ("v",)),
    ]
    build.map_rest()
    return build.build()


def test_loops_count_every_time_and_layers_add_up() -> None:
    once, thrice = profile(looped(1)), profile(looped(3))
    (first, _), (again, copy) = by_compute_set(once), by_compute_set(thrice)
    assert again["times"] == 3
    for part in ("cycles", "compute", "exchange", "sync", "bytes_exchanged"):
        assert again[part] == 3 * first[part]
    layers = by_layer(thrice)
    assert [row["name"] for row in layers] == ["neg", "view", None]
    assert layers[0]["nodes"] == ["neg", "also"]
    assert layers[1]["cycles"] == 0
    assert layers[1]["bound"] is None
    assert layers[2]["cycles"] == copy["cycles"] > 0
    assert sum(row["cycles"] for row in layers) == thrice.cycles["total"]
    assert by_codelet(thrice)[0]["vertex_cycles"] == 3 * by_codelet(once)[0]["vertex_cycles"]


def test_what_binds_a_layer_is_its_largest_part() -> None:
    for row in by_layer(profile(looped(2))):
        if row["cycles"]:
            parts = {name: row[name] for name in ("compute", "exchange", "sync")}
            assert row[row["bound"]] == max(parts.values())


@pytest.mark.parametrize(
    ("target", "precision", "published"),
    [
        ("gc2", "float32", 31.1),
        ("gc2", "float16", 124.5),
        ("gc2", "mixed", 124.5),
        ("gc200", "float16", 250),
        ("gc200", "mixed", 125),
        ("gc200", "mixed,conv1=float32", 125),
        ("bow", "float16", 349),
        ("bow", "mixed", 174),
    ],
)
def test_peaks_are_the_published_ones(target: str, precision: str, published: float) -> None:
    """Teraflops of data sheets and of the microbenchmarks by Jia et al. (arXiv 1912.03413)."""
    build = Builder(CATALOGUE[target])
    build.metadata = {"precision": precision}
    assert peak_flops(build.build()) / 1e12 == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("name", list(TABLES))
def test_rows_of_a_table_have_one_set_of_columns(name: str) -> None:
    rows = TABLES[name](profile(looped(2)))
    assert rows
    assert len({tuple(row) for row in rows}) == 1


def test_an_empty_program() -> None:
    found = to_json(profile(Builder(TINY).build()))
    assert found["cycles"] == {"total": 0, "compute": 0, "exchange": 0, "sync": 0}
    assert (found["seconds"], found["tflops"], found["layers"]) == (0, 0, [])
    assert len(found["tiles"]) == 4


def test_order_of_rows() -> None:
    rows: list[Row] = [{"a": 1, "b": "y"}, {"a": None, "b": "x"}, {"a": 2.5, "b": None}]
    assert [row["a"] for row in in_order(rows, "a")] == [2.5, 1, None]
    assert [row["b"] for row in in_order(rows, "b")] == ["x", "y", None]
