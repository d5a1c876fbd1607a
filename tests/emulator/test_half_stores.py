"""What is stored in halves: the same bits on any number of tiles, in any mode; overflow counted.

All sums here are of whole numbers that float32 holds exactly, so their order does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.pipeline import compile_model, run_program
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.target import parse_target

Array = NDArray[Any]

TILES = (4, 64, 1472)
DRAW = np.random.default_rng(0)


def model(nodes: list[onnx.NodeProto], weights: dict[str, Array], x: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 10
    # A file must say of what shape its outputs are.
    return onnx.shape_inference.infer_shapes(made)


def chain() -> tuple[onnx.ModelProto, Array]:
    """A product, a sum and a scaling; every one of them has more digits than a half."""
    weights = {
        "w": DRAW.integers(-30, 30, (70, 45)).astype(np.float32),
        "b": DRAW.integers(-999, 999, 45).astype(np.float32),
        "third": np.array(1 / 3, np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
        helper.make_node("Add", ["p", "b"], ["s"], name="sum"),
        helper.make_node("Mul", ["s", "third"], ["y"], name="scale"),
    ]
    return model(nodes, weights, [6, 70]), DRAW.integers(-30, 30, (6, 70)).astype(np.float32)


def convolution() -> tuple[onnx.ModelProto, Array]:
    weights = {"w": DRAW.integers(-9, 9, (12, 40, 3, 3)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])]
    return model(nodes, weights, [2, 40, 7, 7]), DRAW.integers(-9, 9, (2, 40, 7, 7)).astype(
        np.float32
    )


CASES = {"chain": chain(), "convolution": convolution()}


def compiled(
    net: onnx.ModelProto, tiles: int, precision: str = "mixed", **settings: Any
) -> Program:
    target = parse_target(f"gc200,tiles={tiles}")
    return compile_model(net, target=target, precision=precision, arithmetic=Arithmetic(**settings))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [None, 3])
def test_the_same_bits_at_any_tile_count(case: str, seed: int | None) -> None:
    net, x = CASES[case]
    found = [run_program(compiled(net, tiles, seed=seed), {"x": x})["y"] for tiles in TILES]
    assert (found[0] != 0).any()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_seeds_differ_and_repeat() -> None:
    net, x = CASES["chain"]
    program = compiled(net, 64)
    by_seed = [
        run_program(program, {"x": x}, arithmetic=Arithmetic(seed))["y"] for seed in (1, 2, 1)
    ]
    np.testing.assert_array_equal(by_seed[0], by_seed[2])
    assert (by_seed[0] != by_seed[1]).mean() > 0.1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_strict_mode_makes_the_same_bits(case: str, seed: int | None, granularity: Any) -> None:
    net, x = CASES[case]
    program = compile_model(
        net,
        target=parse_target("tiny"),
        granularity=granularity,
        precision="mixed",
        arithmetic=Arithmetic(seed),
    )
    fast, private = Emulator(program), StrictEmulator(program)
    np.testing.assert_array_equal(fast.run({"x": x})["y"], private.run({"x": x})["y"])


@pytest.mark.parametrize("seed", [None, 3])
def test_strict_mode_accumulates_into_halves_alike(seed: int | None) -> None:
    net, x = CASES["convolution"]
    program = compiled(net, 4, "float16", seed=seed)
    fast, private = Emulator(program), StrictEmulator(program)
    np.testing.assert_array_equal(fast.run({"x": x})["y"], private.run({"x": x})["y"])


def test_the_mean_over_seeds_is_the_value() -> None:
    """At the stream and at a store; within 5 standard errors of 400 draws."""
    x = DRAW.uniform(0.5, 1, 50).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"], name="scale")]
    program = compiled(model(nodes, {"w": np.array(0.5, np.float32)}, [50]), 4)
    runs = [run_program(program, {"x": x}, arithmetic=Arithmetic(seed))["y"] for seed in range(400)]
    step = 2.0**-12  # between halves in [0.25, 0.5)
    off = (np.mean(runs, axis=0, dtype=np.float64) - x * 0.5) / step
    assert np.abs(off).max() < 5 * 0.5 / np.sqrt(400)
    nearest = run_program(program, {"x": x})["y"]
    assert np.abs((nearest - x * 0.5) / step).max() > 5 * 0.5 / np.sqrt(400)


def by_definition(x: Array, w: Array) -> Array:
    """A 3x3 convolution, padded by 1, into halves: rounded after each 16 channels and position."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = np.zeros((len(x), len(w), *x.shape[2:]), np.float16)
    for first in range(0, x.shape[1], 16):
        channels = slice(first, first + 16)
        for i, j in np.ndindex(3, 3):
            field = padded[:, channels, i : i + x.shape[2], j : j + x.shape[3]].astype(np.float64)
            added = np.einsum("ncij,oc->noij", field, w[:, channels, i, j].astype(np.float64))
            total = (total.astype(np.float64) + added).astype(np.float16)
    return total.astype(np.float32)


def one_vertex(x: tuple[int, ...], w: tuple[int, ...], pad: int, partials: str) -> Program:
    """A convolution of halves on the matrix unit of one tile, all in one vertex."""
    graph = Builder(parse_target("tiny"))
    out = (x[0], 1, w[0], *(n + 2 * pad - k + 1 for n, k in zip(x[2:], w[2:], strict=True)))
    sizes = {"x": (x[0], 1, *x[1:]), "weights": (1, *w), "out": out}
    read = {n: graph.input(n, "float16", size) for n, size in sizes.items() if n != "out"}
    y = graph.variable("c", "float16", out)
    plain = (1,) * (len(x) - 2)
    with graph.compute_set("c") as work:
        codelet = ConvPartial(plain, plain, ((pad, pad),) * len(plain), partials, in_group=16)
        work.add(codelet, 0, **read, out=y)
    graph.output("y", y)
    graph.map_rest()
    return graph.build()


def test_a_convolution_into_halves_rounds_after_every_accumulation() -> None:
    """Bit for bit the definition, in float64."""
    net, small = CASES["convolution"]
    (w,) = (numpy_helper.to_array(t) for t in net.graph.initializer)
    x = DRAW.integers(-100, 100, small.shape).astype(np.float32)
    wanted = by_definition(x, w)
    inputs = {"x": x[:, None].astype(np.float16), "weights": w[None].astype(np.float16)}
    found, once = (
        Emulator(one_vertex(x.shape, w.shape, 1, partials)).run(inputs)["y"][:, 0]
        for partials in ("float16", "float32")
    )
    np.testing.assert_array_equal(found, wanted)
    assert (once != wanted).mean() > 0.1


def test_overflow_is_counted_by_layer_in_both_modes() -> None:
    weights = {"w": np.array(3e4, np.float32), "b": np.array(25e3, np.float32)}
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["m"], name="grow"),
        helper.make_node("Add", ["m", "b"], ["y"], name="move"),
    ]
    program = compiled(model(nodes, weights, [5]), 4)
    x = np.array([0, 1, 2, 3, 7e4], np.float32)
    for emulator in (Emulator(program), StrictEmulator(program)):
        # 7e4 is lost at the stream, 3 * 3e4 in `grow`, 2 * 3e4 + 25000 in `move`.
        y = emulator.run({"x": x})["y"]
        assert emulator.stores.overflows == {"x": 1, "grow": 1, "move": 1}
        np.testing.assert_array_equal(np.isinf(y), [False, False, True, True, True])
    held = Emulator(program, arithmetic=Arithmetic(saturate=True))
    assert held.run({"x": x})["y"].max() == 65504
    assert held.stores.overflows == {"x": 1, "grow": 2, "move": 3}
    held.run({"x": np.zeros(5, np.float32)})
    assert held.stores.overflows == {}


def test_overflow_inside_an_accumulation_is_counted() -> None:
    """The first 16 channels give 76800, the next 16 take it away again."""
    weights = np.full((1, 4, 40, 1, 1), 40, np.float16)
    x = np.zeros((1, 1, 40, 1, 3), np.float16)
    x[0, 0, :16, 0, 1], x[0, 0, 16:32, 0, 1] = 120, -120
    for partials, lost in (("float16", {"c": 4}), ("float32", {})):
        emulator = Emulator(one_vertex((1, 40, 1, 3), (4, 40, 1, 1), 0, partials))
        y = emulator.run({"x": x, "weights": weights})["y"]
        assert emulator.stores.overflows == lost
        assert np.isinf(y[..., 1]).all() == bool(lost)
        assert (y[..., [0, 2]] == 0).all()


@pytest.mark.parametrize("saturate", [False, True])
def test_constants_and_fills_that_are_too_large(saturate: bool) -> None:
    weights = {"pads": np.array([1, 0]), "big": np.array(1e6, np.float32)}
    weights["low"] = np.array([-1e9], np.float32)
    nodes = [
        helper.make_node("Pad", ["x", "pads", "big"], ["p"], name="pad"),
        helper.make_node("Reshape", ["p", "shape"], ["q"], name="shape"),
        helper.make_node("Add", ["q", "low"], ["y"], name="mask"),
    ]
    weights["shape"] = np.array([2, 2])
    net = model(nodes, weights, [3])
    x = np.array([1, 2, 3], np.float32)
    for emulator in (Emulator, StrictEmulator):
        program = compiled(net, 4, saturate=saturate)
        y = emulator(program).run({"x": x})["y"]
        most = 65504 if saturate else np.inf
        np.testing.assert_array_equal(y.reshape(-1)[1:], [-most] * 3)
        assert y[0, 0] == 0 if saturate else np.isnan(y[0, 0])
