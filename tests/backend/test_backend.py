"""The backend interface; onnx.reference and NumPy are the oracles."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.base import Backend, BackendRep
from onnx.reference import ReferenceEvaluator

import ipuc.backend
from ipuc.backend import IpucBackend, IpucRep
from ipuc.errors import OptionError, ShapeError, UnsupportedOp
from ipuc.target import parse_target

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def model_of(
    *nodes: onnx.NodeProto,
    inputs: dict[str, tuple[int, list[int | str] | None]],
    outputs: dict[str, int],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def reshaping() -> onnx.ModelProto:
    """The shape is computed from an input: y = relu(x) reshaped to concat(n, [-1])."""
    return model_of(
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Constant", [], ["rest"], value_ints=[-1]),
        helper.make_node("Concat", ["n", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["r", "shape"], ["y"]),
        inputs={"x": (TensorProto.FLOAT, ["rows", 3]), "n": (TensorProto.INT64, [1])},
        outputs={"y": TensorProto.FLOAT},
    )


def rep_of(model: onnx.ModelProto) -> IpucRep:
    return IpucBackend.prepare(model)


def test_it_is_a_backend_as_onnx_defines_it() -> None:
    assert issubclass(IpucBackend, Backend)
    assert isinstance(ipuc.backend.prepare(reshaping()), BackendRep)
    assert ipuc.backend.supports_device("CPU")
    assert ipuc.backend.supports_device("CPU:0")
    assert not ipuc.backend.supports_device("CUDA")


def test_an_input_that_decides_a_shape_is_specialised_and_data_are_not() -> None:
    model = reshaping()
    rep = rep_of(model)
    for rows, count in ((2, 3), (2, 6), (4, 2)):
        given = {
            "x": np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32),
            "n": np.array([count], np.int64),
        }
        (y,) = rep.run(list(given.values()))
        (expected,) = ReferenceEvaluator(model).run(None, given)
        np.testing.assert_array_equal(y, expected)
        assert rep.specialised == ("n",)
        assert rep.program is not None
        assert list(rep.program.inputs) == ["x"]


def test_equal_shapes_and_deciding_values_are_compiled_once() -> None:
    rep = rep_of(reshaping())
    rep.run([X, np.array([3], np.int64)])
    first = rep.program
    (y,) = rep.run([-X, np.array([3], np.int64)])
    assert rep.program is first
    np.testing.assert_array_equal(y, np.maximum(-X, 0).reshape(3, 2))
    rep.run([X, np.array([1], np.int64)])
    assert rep.program is not first
    rep.run([X, np.array([3], np.int64)])
    assert rep.program is first


def test_only_the_last_used_programs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipuc.backend, "KEPT_PROGRAMS", 2)
    rep = rep_of(reshaping())
    made = {}
    for rows in (3, 1, 3, 2):  # 3 is used again before 2 comes, so 1 is let go
        rep.run([X, np.array([rows], np.int64)])
        made[rows] = rep.program
    for rows, kept in ((3, True), (2, True), (1, False)):
        (y,) = rep.run([X, np.array([rows], np.int64)])
        np.testing.assert_array_equal(y, np.maximum(X, 0).reshape(rows, -1))
        assert (rep.program is made[rows]) == kept


def test_inputs_by_name_by_order_or_a_single_array_and_outputs_by_name() -> None:
    model = model_of(
        helper.make_node("Relu", ["x"], ["y"]),
        inputs={"x": (TensorProto.FLOAT, [2, 3])},
        outputs={"y": TensorProto.FLOAT},
    )
    rep = rep_of(model)
    expected = np.maximum(X, 0)
    for given in (X, [X], (X,), {"x": X}):
        np.testing.assert_array_equal(rep.run(given)["y"], expected)  # type: ignore[call-overload]
    np.testing.assert_array_equal(ipuc.backend.run_model(model, [X])[0], expected)


def test_target_and_granularity_can_be_chosen() -> None:
    model = reshaping()
    rep = IpucBackend.prepare(model, target="tiny", granularity="worker")
    rep.run([X, np.array([6], np.int64)])
    assert rep.program is not None
    assert rep.program.target.tiles == 4
    assert rep.program.metadata["granularity"] == "worker"
    assert IpucBackend.prepare(model, target=parse_target("gc2")).target.tiles == 1216


@pytest.mark.parametrize("opset", [11, 13, 21])
def test_one_node_runs_by_itself(opset: int) -> None:
    node = helper.make_node("Concat", ["a", "b"], ["c"], axis=-1)
    (made,) = ipuc.backend.run_node(node, [X, X], opset_version=opset)
    np.testing.assert_array_equal(made, np.concatenate([X, X], -1))


def test_a_node_with_a_deciding_input_runs_by_itself() -> None:
    node = helper.make_node("Reshape", ["a", "shape"], ["b"])
    (made,) = ipuc.backend.run_node(node, [X, np.array([3, 2], np.int64)])
    np.testing.assert_array_equal(made, X.reshape(3, 2))


def test_wrong_use_is_answered_clearly() -> None:
    model = reshaping()
    with pytest.raises(OptionError, match="2 inputs"):
        rep_of(model).run([X])
    with pytest.raises(OptionError, match="no device"):
        IpucBackend.prepare(model, "CUDA")
    with pytest.raises(OptionError, match="unknown options: colour"):
        IpucBackend.prepare(model, colour="red")
    with pytest.raises(OptionError, match="unknown options: colour"):
        rep_of(model).run([X, np.array([3], np.int64)], colour="red")
    with pytest.raises(ShapeError):
        rep_of(model).run([X.T, np.array([3], np.int64)])
    with pytest.raises(ShapeError, match="only arrays"):
        rep_of(model).run([[X, X], np.array([3], np.int64)])
    node = helper.make_node("Concat", ["a", "b"], ["c"], axis=0)
    with pytest.raises(OptionError, match="2 inputs"):
        ipuc.backend.run_node(node, [X])
    with pytest.raises(ShapeError, match="do not fit"):
        ipuc.backend.run_node(node, [X, X[0]])


def test_models_that_cannot_be_compiled_are_not_compatible() -> None:
    assert ipuc.backend.is_compatible(reshaping())
    assert not ipuc.backend.is_compatible(reshaping(), "CUDA")
    strange = model_of(
        helper.make_node("NonZero", ["x"], ["y"]),
        inputs={"x": (TensorProto.FLOAT, [2, 3])},
        outputs={"y": TensorProto.INT64},
    )
    assert not ipuc.backend.is_compatible(strange)
    broken = reshaping()
    broken.graph.node[0].input[0] = "nowhere"
    assert not ipuc.backend.is_compatible(broken)
    unknown = reshaping()
    unknown.graph.node[0].op_type = "Rellu"
    with pytest.raises(UnsupportedOp, match="Rellu"):
        rep_of(unknown).run([X, np.array([3], np.int64)])
