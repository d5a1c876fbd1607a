"""What totals say of their error: the figures of the kinds that the cycles consist of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ipuc.pipeline import compile_model
from ipuc.profile import calibration
from ipuc.profile.accuracy import error_of, generation_of
from ipuc.profile.record import Profile, profile
from ipuc.program.builder import Builder
from ipuc.target import CATALOGUE, parse_target


def model(nodes: list[Any], x: list[int], **weights: tuple[int, ...]) -> ModelProto:
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "mixture",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


MIXTURE = model(
    [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv"),
        helper.make_node("Tanh", ["a"], ["b"], name="tanh"),
        helper.make_node("MaxPool", ["b"], ["c"], name="pool", kernel_shape=[2, 2]),
        helper.make_node("ReduceSum", ["c", "axis"], ["d"], name="sum", keepdims=0),
        helper.make_node("MatMul", ["d", "w"], ["e"], name="layer"),
        helper.make_node("MatMul", ["e", "e"], ["y"], name="product"),
    ],
    [1, 4, 9, 9],
    k=(8, 4, 2, 2),
    w=(7, 8),
)
MIXTURE.graph.initializer.append(numpy_helper.from_array(np.array([0, 2]), "axis"))


@pytest.fixture(scope="module", params=["gc2,tiles=16", "tiny"])
def found(request: pytest.FixtureRequest) -> Profile:
    return profile(compile_model(MIXTURE, target=parse_target(request.param)))


def test_every_kind_has_its_share_and_its_own_figures(found: Profile) -> None:
    error = error_of(found.program, found.steps)
    kinds = {one["kind"]: one for one in error["kinds"]}
    by_layer: dict[str, int] = {}
    for step in found.steps:
        by_layer[step.layer] = by_layer.get(step.layer, 0) + step.cycles * step.times
    total = found.cycles["total"]
    layers = {"conv": "conv", "pooling": "pool", "fc": "layer", "gemm": "product"}
    for kind, layer in layers.items():
        assert kinds[kind]["share"] == pytest.approx(by_layer[layer] / total), kind
    assert set(kinds) == {*layers, "reduction", "other"}
    assert sum(one["share"] for one in error["kinds"]) == pytest.approx(1)
    shares = [one["share"] for one in error["kinds"]]
    assert shares == sorted(shares, reverse=True)
    table = calibration.CYCLES[generation_of(found.program.target)]
    for kind, one in kinds.items():
        if kind not in table:
            assert one["cycles"] is None
            continue
        spread = table[kind]
        assert one["cycles"] == {
            "rows": spread.rows,
            "median": spread.median,
            "p90": spread.p90,
        }
    missing = sum(one["share"] for kind, one in kinds.items() if kind not in table)
    assert error["not_compared"] == pytest.approx(missing)
    assert error["not_compared"] >= kinds["other"]["share"] > 0


def test_the_words_name_the_large_kinds(found: Profile) -> None:
    error = error_of(found.program, found.steps)
    known = calibration.CYCLES[generation_of(found.program.target)]
    for one in error["kinds"]:
        said = f"{one['kind']} median" in error["text"]
        assert said == (one["share"] >= 0.05 and one["kind"] in known), one
    assert error["text"].count("not hardware") == error["memory_text"].count("not hardware") == 1
    assert ("of cycles not compared" in error["text"]) == (error["not_compared"] >= 0.05)


def test_generations() -> None:
    found = {name: generation_of(target) for name, target in CATALOGUE.items()}
    assert found == {"gc2": "Mk1", "gc200": "Mk2", "bow": "Mk2", "tiny": "Mk2"}
    assert generation_of(parse_target("gc2,tiles=8")) == "Mk1"


def test_nothing_to_compare() -> None:
    empty = profile(Builder(CATALOGUE["tiny"]).build())
    assert empty.error["kinds"] == []
    assert "not known" in empty.error["text"]
    relu = model([helper.make_node("Relu", ["x"], ["y"])], [1, 64])
    error = profile(compile_model(relu, target=CATALOGUE["tiny"])).error
    assert error["not_compared"] == 1
    assert "not known" in error["text"]


def test_figures_are_errors() -> None:
    for table in (calibration.CYCLES, calibration.MEMORY):
        assert set(table) == {"Mk1", "Mk2"}
        for spreads in table.values():
            assert {"conv", "fc", "gemm"} <= set(spreads)
            assert all(0 <= s.median <= s.p90 and s.rows > 0 for s in spreads.values())
