"""What functions that layers share take and give: layouts, pieces, scalars, state.

The oracle is onnxruntime, or NumPy in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.graph.bodies import DOMAIN
from ipuc.graph.ir import Graph, Node, State
from ipuc.lowering.driver import lower
from ipuc.pipeline import compile_model, run_program
from ipuc.planner.context import Granularity
from ipuc.profile.cycles import supersteps
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.types import TensorType

Array = NDArray[Any]
TINY = parse_target("tiny,tiles=16")


def model_of(text: str, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    """A model with random weights of these shapes."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    draw = np.random.default_rng(1)
    for name, shape in shapes.items():
        array = draw.uniform(-1, 1, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for number, node in enumerate([n for n in model.graph.node if n.op_type == "Conv"], 1):
        node.name = f"c{number}"
    return model


def held(model: onnx.ModelProto, program: Program, x: Array) -> None:
    """Hold a program to the model in onnxruntime, on shared memory and on private memories."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, {"x": x})
    for run in (Emulator(program).run, StrictEmulator(program).run):
        found = run({"x": x})
        for name, values in zip(program.outputs, wanted, strict=True):
            # Sums of up to 1152 products in two layers, in float32.
            scale = 1e-5 * float(np.abs(values).max(initial=1))
            np.testing.assert_allclose(found[name], values, rtol=0, atol=scale)


def test_weights_lie_as_the_function_reads_them() -> None:
    model = model_of(
        """
        cut (float[1, 64, 5, 5] x) => (float[1, 64, 5, 5] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            b = Conv <pads = [1, 1, 1, 1]> (a, v)
            y = Conv <pads = [1, 1, 1, 1]> (b, v)
        }
        """,
        w=(64, 64, 3, 3),
        v=(64, 64, 3, 3),
    )
    plain, program = (
        compile_model(model, target=parse_target("gc200,tiles=400"), outline=outline)
        for outline in (False, True)
    )
    assert program.calls() == ["c1"] * 3
    shape = {v.name: v.shape for v in plain.variables}["w"]
    # A kernel that is cut lies part by part, the argument and both constants alike.
    assert [n for n in shape if n > 1] == [3, 64, 64, 3]
    weights = [v for v in program.variables if v.name in ("w", "v", "c1 argument 1")]
    assert [[n for n in v.shape if n > 1] for v in weights] == [[3, 64, 64, 3]] * 3
    for one in weights:
        assert np.array_equal(one.mapped().starts, weights[0].mapped().starts)
        assert np.array_equal(one.mapped().tiles, weights[0].mapped().tiles)
    costs = [p.layers[0].plan["chosen"]["costs"]["weight exchange"] for p in (plain, program)]
    assert costs[0] == costs[1]
    arrive = [
        int(s.before.received.sum()) for s in supersteps(program) if s.name.endswith("arguments")
    ]
    assert max(arrive) <= 64 * 25 * 4  # of the field alone: no weight changes its tile
    held(model, program, np.random.default_rng(2).uniform(-1, 1, (1, 64, 5, 5)).astype(np.float32))


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_arguments_may_be_parts_and_pieces(granularity: Granularity) -> None:
    model = model_of(
        """
        pieces (float[1, 8, 4, 4] x) => (float[1, 8, 4, 4] y, float[1, 8, 4, 4] z) {
            a = Conv <kernel_shape = [1, 1]> (x, w1)
            s = Constant <value_ints = [4, 4]> ()
            p, q = Split <axis = 1> (a, s)
            b = Concat <axis = 1> (q, p)
            c = Conv <kernel_shape = [1, 1]> (b, w2)
            t = Transpose <perm = [0, 1, 3, 2]> (c)
            d = Conv <kernel_shape = [1, 1]> (t, w1)
            m = Mul (d, d)
            pads = Constant <value_ints = [0, 0, 1, 1, 0, 0, 0, 0]> ()
            u = Pad (m, pads)
            ends = Constant <value_ints = [4, 4]> ()
            from = Constant <value_ints = [0, 0]> ()
            axes = Constant <value_ints = [2, 3]> ()
            e = Slice (u, from, ends, axes)
            y = Conv <kernel_shape = [1, 1]> (e, w2)
            z = Conv <kernel_shape = [1, 1]> (y, w3)
        }
        """,
        w1=(8, 8, 1, 1),
        w2=(8, 8, 1, 1),
        w3=(8, 8, 1, 1),
    )
    program = compile_model(model, target=TINY, granularity=granularity, outline=True)
    assert program.calls() == ["c1"] * 5
    held(model, program, np.random.default_rng(3).uniform(-1, 1, (1, 8, 4, 4)).astype(np.float32))


def test_layers_of_nothing_are_no_functions() -> None:
    model = model_of(
        """
        nothing (float[0, 4, 5, 5] x) => (float[0, 4, 5, 5] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            y = Conv <pads = [1, 1, 1, 1]> (a, w)
        }
        """,
        w=(4, 4, 3, 3),
    )
    program = compile_model(model, target=TINY, outline=True)
    assert not program.functions
    assert run_program(program, {"x": np.zeros((0, 4, 5, 5), np.float32)})["y"].shape == (
        0,
        4,
        5,
        5,
    )


def updates(scales: list[float], *, reads: bool) -> tuple[Graph, dict[str, Array]]:
    """Steps of several 1x1 weights down their gradient, of one field and one delta.

    Args:
        scales: of each step's gradient.
        reads: whether a later layer reads the first weight.
    """
    draw = np.random.default_rng(4)
    kinds = {name: TensorType("float32", (1, 4, 3, 3)) for name in ("x", "dy")}
    kind, nodes, state, constants = TensorType("float32", (4, 4, 1, 1)), [], {}, {}
    for number, scale in enumerate(scales):
        old, new, by = f"w{number}", f"n{number}", f"s{number}"
        constants[by] = np.asarray(scale, np.float32)
        kinds |= {old: kind, new: kind, by: TensorType("float32", ())}
        state[old] = State(new, draw.standard_normal(kind.shape).astype(np.float32))
        attributes = {
            "group": 1,
            "kernel_shape": [1, 1],
            "strides": [1, 1],
            "dilations": [1, 1],
            "pads": [0] * 4,
            "rate": 0.5,
        }
        inputs = (old, "x", "dy", by)
        nodes.append(Node(f"u{number}", "ConvUpdate", inputs, (new,), attributes, DOMAIN))
    outputs = []
    if reads:
        kinds["y"], outputs = kinds["x"], ["y"]
        nodes.append(Node("read", "Conv", ("x", "w0"), ("y",), {"kernel_shape": [1, 1]}))
    given = {name: draw.standard_normal((1, 4, 3, 3)).astype(np.float32) for name in ("x", "dy")}
    return Graph("steps", ["x", "dy"], outputs, kinds, constants, nodes, 18, state=state), given


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize(("scales", "functions"), [([2, 2, 2], 1), ([2, 2, 4, 4, 4], 2)])
def test_state_is_updated_in_its_place(scales: list[float], functions: int, *, reads: bool) -> None:
    graph, given = updates(scales, reads=reads)
    graph.check()
    program = lower(graph, TINY, outline=True)
    assert len(program.functions) == functions
    assert len(program.calls()) == len(scales)
    slope = np.einsum("nihw,nohw->oi", given["x"].astype(float), given["dy"])
    wanted = [state.initial.astype(float) for state in graph.state.values()]
    for machine in (Emulator(program), StrictEmulator(program)):
        weights = wanted
        for _ in range(2):
            outputs = machine.run(given)
            if reads:
                y = np.einsum("nihw,oi->nohw", given["x"].astype(float), weights[0][:, :, 0, 0])
                np.testing.assert_allclose(outputs["y"], y, rtol=0, atol=1e-5 * np.abs(y).max())
            pairs = zip(weights, scales, strict=True)
            weights = [w - 0.5 / scale * slope[:, :, None, None] for w, scale in pairs]
            for name, values in zip(graph.state, weights, strict=True):
                # Nine products and a sum, in float32.
                np.testing.assert_allclose(machine.state()[name], values, rtol=0, atol=1e-5)
