"""ONNX's operators of training: its own tests, and NumPy by the formulas of their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_cases
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.runner import Runner
from onnx.reference import ReferenceEvaluator
from onnx_cases import Array, Case

from ipuc.backend import IpucBackend
from ipuc.errors import ShapeError, UnsupportedOp
from ipuc.planner.context import Granularity

DOMAIN = "ai.onnx.preview.training"
#: Sums of a few float32 terms, in another order.
TOLERANCE = 1e-5


def cases() -> dict[str, Case]:
    """ONNX's tests whose models have an operator of training."""
    return {
        name: case
        for name, case in onnx_cases.cases("node", "simple").items()
        if any(node.domain == DOMAIN for node in case.model.graph.node)
    }


def test_all_nine_are_there() -> None:
    met = [node.op_type for case in cases().values() for node in case.model.graph.node]
    assert {kind: met.count(kind) for kind in ("Gradient", "Momentum", "Adam", "Adagrad")} == {
        "Gradient": 2,
        "Momentum": 3,
        "Adam": 2,
        "Adagrad": 2,
    }


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("name", sorted(cases()))
def test_node(name: str, granularity: Granularity) -> None:
    case = cases()[name]
    rep = IpucBackend.prepare(case.model, granularity=granularity)
    for given, wanted in case.data_sets:
        Runner.assert_similar_outputs(wanted, list(rep.run(given)), case.rtol, case.atol)


def step(op: str, shapes: list[tuple[int, ...]], states: int, **attributes: Any) -> Case:
    """A node that changes tensors of some shapes, with random data; the reference computes it."""
    draw = np.random.default_rng(5)
    given: dict[str, Array] = {}
    for kind in ["x", "g", *"vh"[:states]]:
        for at, shape in enumerate(shapes):
            values = draw.standard_normal(shape).astype(np.float32)
            given[f"{kind}{at}"] = np.abs(values) if kind == "h" else values
    count = [f"{kind}{at}" for kind in ["x", *"vh"[:states]] for at in range(len(shapes))]
    node = helper.make_node(
        op, ["r", "t", *given], [f"new {n}" for n in count], domain=DOMAIN, **attributes
    )
    types = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in given.items()]
    rate = [
        helper.make_tensor_value_info("r", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("t", TensorProto.INT64, []),
    ]
    made = [onnx.ValueInfoProto(name=f"new {name}") for name in count]
    graph = helper.make_graph([node], "step", [*rate, *types], made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(DOMAIN, 1)], ir_version=8)
    return Case(op, onnx.shape_inference.infer_shapes(model), [(list(given.values()), [])], 0, 0)


STEPS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("Momentum", 1, {"alpha": 0.9, "beta": 0.5, "norm_coefficient": 0.1, "mode": "standard"}),
    ("Momentum", 1, {"alpha": 0.9, "beta": 0.5, "norm_coefficient": 0.0, "mode": "nesterov"}),
    ("Adagrad", 1, {"decay_factor": 0.1, "norm_coefficient": 0.1}),
    ("Adagrad", 1, {"epsilon": 0.5}),
    ("Adam", 2, {}),
    ("Adam", 2, {"alpha": 0.5, "beta": 0.75, "norm_coefficient": 0.1, "epsilon": 0.01}),
    ("Adam", 2, {"norm_coefficient_post": 0.25}),
)


@pytest.mark.parametrize("count", [0, 1, 100])
@pytest.mark.parametrize(("op", "states", "attributes"), STEPS)
def test_steps_of_several_tensors(
    op: str, states: int, attributes: dict[str, Any], count: int
) -> None:
    """Matrices and vectors at once, in the first iteration and in later ones."""
    case = step(op, [(2, 3), (5,), (1, 2, 2)], states, **attributes)
    given = [np.float32(0.1), np.int64(count), *(abs(a) for a in case.data_sets[0][0])]
    names = [one.name for one in case.model.graph.input]
    wanted = ReferenceEvaluator(case.model).run(None, dict(zip(names, given, strict=True)))
    found = IpucBackend.run_model(case.model, given, target="tiny")
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_groups_of_another_length_are_refused() -> None:
    case = step("Momentum", [(2,)], 1, alpha=0.5, beta=0.5, norm_coefficient=0.0, mode="standard")
    case.model.graph.node[0].input.append("t")
    with pytest.raises((UnsupportedOp, ShapeError)):
        IpucBackend.run_model(case.model, [np.float32(1), np.int64(0), *case.data_sets[0][0]])


def test_a_mode_that_does_not_exist_is_refused() -> None:
    case = step("Momentum", [(2,)], 1, alpha=0.5, beta=0.5, norm_coefficient=0.0, mode="heavy")
    with pytest.raises(UnsupportedOp, match='no mode is called "heavy"'):
        IpucBackend.run_model(case.model, [np.float32(1), np.int64(0), *case.data_sets[0][0]])


def test_a_step_with_outputs_missing_is_refused() -> None:
    case = step("Adagrad", [(2,)], 1)
    del case.model.graph.node[0].output[1]
    del case.model.graph.output[1]
    with pytest.raises(ShapeError, match="Output 1 is out of bounds"):
        IpucBackend.run_model(case.model, [np.float32(1), np.int64(0), *case.data_sets[0][0]])


# -- Gradient --------------------------------------------------------------------------------


def network(
    inputs: list[str], outputs: list[str], xs: list[str], zs: list[str] | None = None, y: str = "y"
) -> onnx.ModelProto:
    """h = x @ w, y = relu(h) @ v + h[:, :2], and a node Gradient; `other` is like h."""
    named: dict[str, Any] = {"xs": xs, "y": y, **({"zs": zs} if zs else {})}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["a"], "relu"),
        helper.make_node("MatMul", ["a", "v"], ["s"], "second"),
        helper.make_node("Slice", ["h", "zero", "two", "one"], ["part"], "slice"),
        helper.make_node("Add", ["s", "part"], ["y"], "add"),
        helper.make_node("Gradient", inputs, outputs, "gradient", domain=DOMAIN, **named),
    ]
    shapes = {"x": (3, 4), "w": (4, 5), "v": (5, 2), "other": (3, 5)}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs if name],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [number])
            for name, number in (("zero", 0), ("one", 1), ("two", 2))
        ],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def data() -> dict[str, Array]:
    draw = np.random.default_rng(0)
    shapes = {"x": (3, 4), "w": (4, 5), "v": (5, 2), "other": (3, 5)}
    return {name: draw.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def by_hand(h: Array) -> dict[str, Array]:
    """Gradients of the sum of y, in float64."""
    given = {name: array.astype(np.float64) for name, array in data().items()}
    ones = np.ones((3, 2))
    part = np.concatenate([ones, np.zeros((3, 3))], axis=1)
    dh = (ones @ given["v"].T) * (h > 0) + part
    return {
        "h": dh,
        "v": np.maximum(h, 0).T @ ones,
        "x": dh @ given["w"].T,
        "w": given["x"].T @ dh,
        "s": ones,
    }


def found(model: onnx.ModelProto) -> list[Array]:
    return list(IpucBackend.run_model(model, data(), target="tiny"))


@pytest.mark.parametrize("names", [["x", "w"], ["w", "v", "x"], ["h", "v"], ["s"]])
def test_gradients_with_respect_to_inputs_and_to_values_between(names: list[str]) -> None:
    made = found(network(names, [f"d{name}" for name in names], names))
    wanted = by_hand(data()["x"] @ data()["w"])
    for name, array in zip(names, made, strict=True):
        np.testing.assert_allclose(array, wanted[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_a_gradient_at_other_values() -> None:
    """What depends on h is computed again from the tensor that is given in its place."""
    made = found(network(["other", "v"], ["dh", "dv"], ["h", "v"]))
    wanted = by_hand(data()["other"])
    for name, array in zip("hv", made, strict=True):
        np.testing.assert_allclose(array, wanted[name], rtol=TOLERANCE, atol=TOLERANCE)


def test_values_in_zs_are_independent() -> None:
    """With s held, y depends on h through the slice alone; not at all if the sum is held."""
    (made,) = found(network(["h", "s"], ["dh"], ["h"], ["s"]))
    np.testing.assert_array_equal(made, [[1, 1, 0, 0, 0]] * 3)
    (made,) = found(network(["h", "s", "part"], ["dh"], ["h"], ["s", "part"]))
    np.testing.assert_array_equal(made, np.zeros((3, 5)))


def test_outputs_can_be_left_out() -> None:
    (made,) = found(network(["x", "w"], ["", "dw"], ["x", "w"]))
    wanted = by_hand(data()["x"] @ data()["w"])["w"]
    np.testing.assert_allclose(made, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_gradient_of_a_gradient() -> None:
    """Of x ** 3, and with a value given in the place of x: 3 x ** 2 and 6 x, to the last bits."""

    def gradient(given: str, y: str, made: str) -> onnx.NodeProto:
        return helper.make_node("Gradient", [given], [made], made, domain=DOMAIN, xs=["x"], y=y)

    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Mul", ["square", "x"], ["cube"]),
        gradient("x", "cube", "first"),
        gradient("x", "first", "second"),
        gradient("other", "first", "elsewhere"),
    ]
    ends = ("first", "second", "elsewhere")
    graph = helper.make_graph(
        nodes,
        "cube",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [5]) for n in ("x", "other")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [5]) for n in ends],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    x = np.array([-2, -0.5, 0, 1, 3], np.float32)
    for found, wanted in zip(
        IpucBackend.run_model(model, [x, x + 1], target="tiny"),
        (3 * x**2, 6 * x, 6 * (x + 1)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (network(["x"], ["dx"], ["z"]), 'a value "z", which nothing before it makes'),
        (network(["x"], ["dx"], ["x"], y="dx"), 'a value "dx", which nothing before it makes'),
        (network(["x", "w"], ["dx"], ["x"]), "xs and zs name 1 and 0 values; the node has 2"),
        (network(["v"], ["dx"], ["x"]), r'"x" is float32\[3x4\], and its input "v" is'),
        (network(["zero"], ["dx"], ["zero"]), "only floating point values have gradients"),
    ],
)
def test_what_has_no_meaning_is_refused(model: onnx.ModelProto, told: str) -> None:
    with pytest.raises(UnsupportedOp, match=told) as caught:
        found(model)
    assert caught.value.where == 'Gradient node "gradient"'
    assert caught.value.fix
