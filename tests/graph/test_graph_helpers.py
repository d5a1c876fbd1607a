"""Inference, folding, text and export of single nodes and graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import parser

from ipuc.errors import OptionError, ShapeError, UnsupportedOp
from ipuc.graph.export import to_model
from ipuc.graph.fold import evaluate
from ipuc.graph.infer import UndecidedShape, infer
from ipuc.graph.ir import Graph, Node, constant_type
from ipuc.graph.text import to_text
from ipuc.importer.load import load
from ipuc.types import TensorType

F32 = "float32"


def _node(op: str, *inputs: str, opset: int = 17, **attributes: Any) -> Node:
    return Node(op.lower(), op, inputs, ("y",), attributes, "", opset, (op.lower(),))


def _broadcastable() -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Two shapes that NumPy broadcasts, of up to four axes each."""

    def shrink(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
        axes = st.lists(st.booleans(), min_size=len(shape), max_size=len(shape))
        kept = axes.map(lambda ones: tuple(1 if o else d for o, d in zip(ones, shape, strict=True)))
        return st.tuples(kept, st.integers(0, len(shape))).map(lambda pair: pair[0][pair[1] :])

    shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
    return shapes.flatmap(lambda shape: st.tuples(shrink(shape), shrink(shape)))


@given(_broadcastable())
def test_inferred_shapes_are_numpys(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = shapes
    types = {"a": TensorType(F32, a), "b": TensorType(F32, b)}
    [kind] = infer(_node("Mul", "a", "b"), types, {})
    assert kind == TensorType(F32, np.broadcast_shapes(a, b))


def test_constant_inputs_decide_shapes() -> None:
    types = {"x": TensorType(F32, (2, 6)), "s": TensorType("int64", (2,))}
    node = _node("Reshape", "x", "s")
    assert infer(node, types, {"s": np.array([3, -1])}) == [TensorType(F32, (3, 4))]
    with pytest.raises(UndecidedShape) as caught:
        infer(node, types, {})
    assert caught.value.values == ("s",)


def test_scalar_constants_keep_their_rank() -> None:
    types = {name: TensorType("int64", ()) for name in "abc"}
    constants: dict[str, NDArray[Any]] = {
        name: np.array(value, np.int64) for name, value in zip("abc", (1, 8, 2), strict=True)
    }
    assert infer(_node("Range", "a", "b", "c"), types, constants) == [TensorType("int64", (4,))]


@pytest.mark.parametrize(
    ("op", "opset", "outputs", "expected"),
    [
        ("Dropout", 7, ("y", "m"), [(4, 5), (4, 5)]),
        ("BatchNormalization", 7, ("y", "", "m", "", ""), [(4, 5), (5,)]),
        ("MeanVarianceNormalization", 13, ("y",), [(4, 5)]),
    ],
)
def test_shapes_that_old_operator_sets_only_describe(
    op: str, opset: int, outputs: tuple[str, ...], expected: list[tuple[int, ...]]
) -> None:
    names = ("x", "s", "s", "s", "s") if op == "BatchNormalization" else ("x",)
    node = Node("n", op, names, outputs, {}, "", opset)
    types = {"x": TensorType(F32, (4, 5)), "s": TensorType(F32, (5,))}
    assert [kind.shape for kind in infer(node, types, {})] == expected


def test_comparisons_and_old_concats_have_shapes_too() -> None:
    types = {"a": TensorType(F32, (4, 1)), "b": TensorType(F32, (5,)), "c": TensorType(F32, (3,))}
    for op in ("GreaterOrEqual", "LessOrEqual"):
        for opset in (12, 15, 16):
            found = infer(_node(op, "a", "b", opset=opset), types, {})
            assert found == [TensorType("bool", (4, 5))]
        with pytest.raises(ShapeError, match=r"broadcast|Incompatible"):
            infer(_node(op, "b", "c", opset=12), types, {})
    for opset in (10, 11):
        found = infer(_node("Concat", "b", "c", opset=opset, axis=-1), types, {})
        assert found == [TensorType(F32, (8,))]


def test_inference_errors_say_node_and_types() -> None:
    types = {"a": TensorType(F32, (3,)), "b": TensorType(F32, (4,))}
    with pytest.raises(ShapeError) as caught:
        infer(_node("Add", "a", "b"), types, {})
    assert caught.value.where == 'Add node "add"'
    assert "a: float32[3], b: float32[4]" in caught.value.what
    with pytest.raises(UnsupportedOp, match="did you mean Add"):
        infer(_node("Addd", "a", "b"), types, {})
    with pytest.raises(UnsupportedOp, match="came with operator set 9"):
        infer(_node("Where", "a", "b", opset=8), types, {})
    with pytest.raises(UnsupportedOp, match="withdrawn"):
        infer(_node("Scatter", "a", "b"), types, {})


def test_the_operator_set_decides_the_meaning() -> None:
    """Softmax changed with operator set 13: before, it ran over all axes from `axis` on."""
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    e = np.exp(x - x.max((1, 2), keepdims=True), dtype=np.float64)
    # float32 exp and one division: a few units in the last place.
    for opset in (11, 12):
        [old] = evaluate(_node("Softmax", "x", opset=opset), {"x": x})
        np.testing.assert_allclose(old, e / e.sum((1, 2), keepdims=True), rtol=1e-6)
    [new] = evaluate(_node("Softmax", "x", opset=13), {"x": x})
    np.testing.assert_allclose(new, e / e.sum(2, keepdims=True), rtol=1e-6)


def test_evaluate_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ShapeError, match="cannot be computed") as caught:
        evaluate(_node("Reshape", "x", "s"), {"x": np.zeros(5), "s": np.array([2, 2])})
    assert 'Reshape node "reshape"' in caught.value.where
    with pytest.raises(UnsupportedOp):
        evaluate(_node("Nonsense", "x"), {"x": np.zeros(5)})


def _graph() -> Graph:
    return load(
        parser.parse_model(
            """<ir_version: 8, opset_import: ["" : 17], metadata_props: ["weights" : "random"]>
            net (float[1,2,4,4] x) => (float[1,3] y)
            <float[3,2,1,1] w = {1, -2, 0.5, 4, 3, 2}> {
            [c] a = Conv<pads = [0,0,0,0], auto_pad = "NOTSET">(x, w)
            [l] b = LeakyRelu<alpha = 0.25>(a)
            [m] mn = Constant<value = float {0.5}>() [k] d = Clip(b, , mn)
            p = GlobalAveragePool(d) y = Flatten(p) }"""
        )
    )


GOLDEN = """graph "net" opset 17
  input %x: float32[1x2x4x4]
  const %mn: float32[] [0.5]
  const %w: float32[3x2x1x1] [1, -2, 0.5, 4, 3, 2]
  %a: float32[1x3x4x4] = Conv(%x, %w) {auto_pad='NOTSET', pads=[0, 0, 0, 0]}  # c
  %b: float32[1x3x4x4] = LeakyRelu(%a) {alpha=0.25}  # l
  %d: float32[1x3x4x4] = Clip(%b, _, %mn)  # k
  %p: float32[1x3x1x1] = GlobalAveragePool(%d)  # GlobalAveragePool_4
  %y: float32[1x3] = Flatten(%p)  # Flatten_5
  output %y: float32[1x3]
"""


def test_text_is_stable_and_complete() -> None:
    assert to_text(_graph()) == GOLDEN


def test_text_shows_a_changed_weight() -> None:
    graph = _graph()
    weights = np.arange(12, dtype=np.float32).reshape(3, 4, 1, 1)
    graph.constants["w"], graph.types["w"] = weights, constant_type(weights)
    before = to_text(graph)
    assert "crc " in before
    graph.constants["w"] = weights + np.eye(3, 4, dtype=np.float32).reshape(3, 4, 1, 1) * 1e-6
    assert to_text(graph) != before


def test_export_runs_elsewhere_and_comes_back_the_same() -> None:
    graph = _graph()
    model = to_model(graph, extra_outputs=["a", "d"])
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4), dtype=np.float32)
    session = ort.InferenceSession(model.SerializeToString())
    y, a, d = (np.asarray(one) for one in session.run(None, {"x": x}))
    wide = np.einsum("nchw,kc->nkhw", x.astype(np.float64), graph.constants["w"][:, :, 0, 0])
    # Two products and a sum in float32.
    np.testing.assert_allclose(a, wide, rtol=1e-5, atol=1e-6)
    assert d.max() <= 0.5
    np.testing.assert_allclose(y, d.mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert to_text(load(to_model(graph))) == GOLDEN
    assert load(to_model(graph)).metadata == {"weights": "random"}
    with pytest.raises(OptionError, match="no value"):
        to_model(graph, extra_outputs=["b2"])


@settings(max_examples=30)
@given(
    st.sampled_from(["float32", "float16", "int64", "int32", "bool", "uint8"]),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
)
def test_constants_of_every_type_survive_export(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(int(np.prod(shape))) % 2).astype(dtype).reshape(shape)
    kind = TensorType(dtype, shape)
    graph = Graph("g", [], ["c"], {"c": kind}, {"c": array}, [], 17)
    graph.check()
    back = load(to_model(graph)).constants["c"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
