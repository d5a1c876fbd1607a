"""--recompute: the same step in less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import mlp, normed, shared
from training_judge import Judge, same

from ipuc.emulator.run import Emulator
from ipuc.errors import OptionError
from ipuc.pipeline import compile_model, initial_graph, random_inputs
from ipuc.planner.context import Granularity
from ipuc.profile.record import profile
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer


def deep(layers: int = 12, ratio: float = 0.25, size: int = 16) -> onnx.ModelProto:
    """Convolutions of one shape, each with batch normalization, ReLU and Dropout."""
    draw = np.random.default_rng(3)
    weights: dict[str, Any] = {"ratio": np.asarray(ratio)}
    nodes, x = [], "x"
    for i in range(layers):
        weights[f"w{i}"] = draw.standard_normal((4, 4, 3, 3)) / 6
        weights |= {f"s{i}": np.ones(4), f"b{i}": np.zeros(4)}
        weights |= {f"m{i}": np.zeros(4), f"v{i}": np.ones(4)}
        norm = [f"c{i}", f"s{i}", f"b{i}", f"m{i}", f"v{i}"]
        nodes += [
            helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", norm, [f"n{i}"], f"bn{i}"),
            helper.make_node("Relu", [f"n{i}"], [f"r{i}"], f"relu{i}"),
            helper.make_node("Dropout", [f"r{i}", "ratio"], [f"d{i}"], f"drop{i}"),
        ]
        x = f"d{i}"
    weights["fc"] = draw.standard_normal((4 * size * size, 3)) / size
    nodes += [
        helper.make_node("Flatten", [x], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc"], ["y"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def compiled(
    model: onnx.ModelProto,
    *patterns: str,
    optimizer: str = "momentum:lr=0.1",
    granularity: Granularity = "tile",
    precision: str = "float32",
) -> Program:
    training = Training(optimizer=parse_optimizer(optimizer), recompute=patterns)
    target = parse_target("tiny")
    return compile_model(
        model, target=target, training=training, granularity=granularity, precision=precision
    )


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize(
    ("model", "patterns"),
    [
        (deep(3, size=6), ("relu*", "bn*", "drop*")),
        (deep(4, size=6), ("all",)),
        (deep(3, size=6), ("*",)),
        (deep(3, size=6), ("conv1",)),
        (mlp(), ("*",)),
        (shared(), ("again", "relu", "first")),
    ],
)
def test_the_results_are_the_same_bits(
    model: onnx.ModelProto, patterns: tuple[str, ...], precision: str, granularity: Granularity
) -> None:
    """Dropout included, in which the same elements are dropped; running statistics move once."""
    plain = compiled(model, granularity=granularity, precision=precision)
    again = compiled(model, *patterns, granularity=granularity, precision=precision)
    first, second = Emulator(plain), Emulator(again)
    for seed in range(2):
        inputs = random_inputs(plain, seed)
        wanted, found = (one.run(inputs) | one.state() for one in (first, second))
        assert wanted.keys() == found.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert again.metadata["training"]["recomputed"]


def test_a_deep_network_fits_that_did_not() -> None:
    model = deep(size=40)
    found = [profile(compiled(model, *some)) for some in ((), ("relu*", "bn*", "drop*"), ("all",))]
    live = [one.memory.max_live_bytes for one in found]
    assert [one.memory.fits for one in found] == [False, True, True]
    assert live[0] > 1.5 * live[1]
    assert live[1] > 1.05 * live[2]
    # nothing is free: a forward pass is about a third of the work
    cycles = [one.cycles["total"] for one in found]
    assert all(1.1 * cycles[0] < one < 1.4 * cycles[0] for one in cycles[1:])


@pytest.mark.parametrize("patterns", [("relu*", "bn*", "drop*"), ("all",), ("*",)])
def test_the_exported_graph_runs_in_onnxruntime(patterns: tuple[str, ...]) -> None:
    """Without dropout, whose masks are other engines' own; tolerance of some hundred roundings."""
    program = compiled(deep(4, ratio=0, size=6), *patterns)
    emulator, judge = Emulator(program), Judge.of(program)
    for seed in range(2):
        inputs = random_inputs(program, seed)
        same(emulator.run(inputs) | emulator.state(), judge.step(inputs), 5e-5)


def test_all_keeps_some_results_and_the_last_stretch() -> None:
    program = compiled(deep(4, size=6), "all")
    names = [f"{kind}{i}" for i in range(4) for kind in ("conv", "bn", "relu", "drop")]
    again = [name in program.metadata["training"]["recomputed"] for name in names]
    assert again[0]
    assert not any(again[-3:])
    assert 6 <= again.count(True) <= 12


def test_copies_belong_to_their_layer_and_the_backward_pass() -> None:
    program = compiled(normed(), "bn", "relu")
    graph = initial_graph(program)
    copies = [node for node in graph.nodes if "again" in node.name]
    assert [(one.layer, one.layer_pass) for one in copies] == [
        ("bn", "backward"),
        ("relu", "backward"),
    ]
    # the running statistics that the copy could make are nobody's, and no vertex makes them
    assert not [name for name in copies[0].outputs[1:] if name in program.values]


def test_a_layer_that_does_not_exist_is_refused_with_near_names() -> None:
    with pytest.raises(OptionError, match="no layer is called") as caught:
        compiled(normed(), "bnn")
    assert "bn" in caught.value.fix
    assert caught.value.where == "--recompute"
