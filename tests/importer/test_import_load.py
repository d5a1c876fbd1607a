"""Import: constants computed, shapes settled, functions and branches opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, parser, shape_inference

from ipuc.errors import OptionError, ShapeError, TooLarge, UnsupportedOp
from ipuc.graph.export import to_model
from ipuc.graph.infer import UndecidedShape
from ipuc.graph.ir import Graph, Node
from ipuc.importer.deciding import deciding_inputs
from ipuc.importer.inspect import inspect_model
from ipuc.importer.load import load
from ipuc.importer.read import read_model
from ipuc.types import TensorType

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))

HEAD = '<ir_version: 8, opset_import: ["" : 17]> '


def _model(text: str, head: str = HEAD) -> onnx.ModelProto:
    return parser.parse_model(head + text)


def _ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def _run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, feeds))


def _static_values(model: onnx.ModelProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Static shapes that onnx finds for a whole model by itself."""
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            yield info.name, tuple(d.dim_value for d in dims)


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models_import_with_the_shapes_onnx_finds(path: Path) -> None:
    graph = load(path)
    assert len(graph.inputs) == 1
    assert not {"ConstantOfShape", "Shape", "Unsqueeze"} & set(_ops(graph))
    shapes = dict(_static_values(onnx.load(path)))
    common = [name for name in graph.values() if name in shapes]
    assert len(common) > 0.9 * len(graph.nodes)
    for name in common:
        assert graph.types[name].shape == shapes[name], name


def test_shape_arithmetic_disappears() -> None:
    graph = load(
        _model(
            """g (float[N,6,4] x) => (float[A,B] y)
            <int64[1] zero = {0}, int64[1] one = {1}, int64[1] end = {-1}> {
            s = Shape(x) n = Slice(s, zero, one) shape = Concat<axis = 0>(n, end)
            y = Reshape(x, shape) }"""
        ),
        batch=5,
    )
    assert _ops(graph) == ["Reshape"]
    np.testing.assert_array_equal(graph.constants["shape"], [5, -1])
    assert set(graph.constants) == {"shape"}
    assert graph.types["y"] == TensorType("float32", (5, 24))


def test_constants_are_what_onnxruntime_computes() -> None:
    model = _model(
        """g (float[2] x) => (float[2,3] y, float[3] c)
        <float[3] w = {1.5, -2, 3}, float[3] v = {0.5, 4, -1}> {
        a = Mul(w, v) b = Softmax(a) c = Neg(b) k = Constant<value_floats = [1.0, 2.0, 3.0]>()
        d = Add(c, k) e = Constant<value_ints = [2, 3]>() f = Expand(d, e) y = Relu(f) }"""
    )
    graph = load(model)
    assert graph.nodes == []
    expected = _run(model, {"x": np.zeros(2, np.float32)})
    for name, array in zip(("y", "c"), expected, strict=True):
        # Same formula in float32 by two libraries: exp may differ by one rounding.
        np.testing.assert_allclose(graph.constants[name], array, rtol=1e-6)


def test_random_numbers_are_never_folded() -> None:
    graph = load(
        _model(
            """g (float[2] x) => (float[2] y, float[4] z)
            <float[4] w = {1, 2, 3, 4}, bool train = {1}, float half = {0.5}> {
            r = RandomNormal<shape = [2]>() y = Add(x, r)
            z = Dropout(w, half, train) }"""
        )
    )
    assert _ops(graph) == ["RandomNormal", "Add", "Dropout"]


def test_a_constant_is_not_stored_repeated() -> None:
    text = "g (float[2] x) => (float[A,B] y) <int64[2] s = {%d, 1000}> { y = Expand(w, s) }"
    weight = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w")
    many, few = _model(text % 1000), _model(text % 10)
    for model in (many, few):
        model.graph.initializer.append(weight)
    assert _ops(load(many)) == ["Expand"]
    assert _ops(load(few)) == []


def test_big_constant_nodes_are_weights() -> None:
    values = np.arange(3000, dtype=np.float32)
    node = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(values))
    model = _model("g (float[3000] x) => (float[3000] y) { y = Add(x, w) }")
    model.graph.node.insert(0, node)
    graph = load(model)
    np.testing.assert_array_equal(graph.constants["w"], values)
    assert len(model.graph.node) == 2  # the caller's model stays as it was


def test_functions_are_inlined_and_can_be_kept() -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = own.twice_relu(x) }
        <domain: "own", opset_import: ["" : 17]> twice_relu (a) => (b) { r = Relu(a) b = Add(r, r) }
        """
    )
    assert _ops(load(model)) == ["Relu", "Add"]
    kept = load(model, own={("own", "twice_relu"): _TwiceRelu()})
    assert [(n.domain, n.op) for n in kept.nodes] == [("own", "twice_relu")]
    assert kept.types["y"] == TensorType("float32", (2, 3))
    other = {("own", "twice_relu"): _OfThatName()}
    assert _ops(load(model, own=other)) == ["Relu", "Add"]


class _TwiceRelu:
    body: ClassVar[str] = """
        <domain: "own", opset_import: ["" : 17]> twice_relu (a) => (b) { r = Relu(a) b = Add(r, r) }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        (kind,) = types
        assert kind is not None, node
        return [kind]


class _OfThatName(_TwiceRelu):
    body: ClassVar[str] = _TwiceRelu.body.replace("Add(r, r)", "Mul(r, r)")


def test_operators_onnx_defines_by_others_are_expanded_if_refused() -> None:
    def known(domain: str, op: str, opset: int) -> str | None:
        del domain, opset
        return None if op in {"Mul", "HardSigmoid"} else "no op file"

    model = _model("g (float[4] x) => (float[4] y) { y = HardSwish(x) }")
    graph = load(model, supported=known)
    assert set(_ops(graph)) == {"HardSigmoid", "Mul"}
    assert _ops(load(model)) == ["HardSwish"]
    x = np.array([-4, -1, 0.5, 4], np.float32)
    # x * clip(x/6 + 1/2, 0, 1) in another order of operations: a few float32 roundings.
    [got], [expected] = _run(to_model(graph), {"x": x}), _run(model, {"x": x})
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


BRANCHES = """g (float[2] x, bool c) => (float[2] y) {
    y = If(c) <then_branch = t () => (float[2] v) <float[2] w = {1, 2}>
                                                        { u = Relu(x) v = Add(u, w) },
               else_branch = e () => (float[2] v) { u = Neg(x) v = Relu(u) }> }"""


@pytest.mark.parametrize(("taken", "ops"), [(True, ["Relu", "Add"]), (False, ["Neg", "Relu"])])
def test_a_known_branch_is_taken(taken: bool, ops: list[str]) -> None:
    model = _model(BRANCHES)
    graph = load(model, constants={"c": np.array(taken)})
    assert [op for op in _ops(graph) if op != "Identity"] == ops
    assert graph.inputs == ["x"]
    x = np.array([-1, 3], np.float32)
    [got] = _run(to_model(graph), {"x": x})
    [expected] = _run(model, {"x": x, "c": np.array(taken)})
    np.testing.assert_array_equal(got, expected)


def test_an_unknown_branch_names_the_input() -> None:
    with pytest.raises(UndecidedShape) as caught:
        load(_model(BRANCHES))
    assert caught.value.values == ("c",)
    assert "--const c=FILE.npy" in caught.value.fix


DECIDED = """g (float[2,3] x, int64[N] s, float[2] z) => (float[A,B] y, float[2] q)
    { t = Identity(s) y = Reshape(x, t) q = Relu(z) }"""


def test_an_input_that_decides_a_shape_is_named_and_can_be_given() -> None:
    model = _model(DECIDED)
    assert deciding_inputs(read_model(model)) == ["s"]
    with pytest.raises(UndecidedShape) as caught:
        load(model, shapes={"s": (2,)})
    assert caught.value.values == ("s",)
    assert "Reshape" in caught.value.where
    assert "--const s=" in caught.value.fix
    graph = load(model, constants={"s": np.array([6, 1], np.int64)})
    assert graph.inputs == ["x", "z"]
    assert graph.types["y"].shape == (6, 1)


def test_shape_of_an_input_does_not_make_it_decide() -> None:
    model = _model(
        "g (float[2,3] x, float[3,2] z) => (float[3,2] y) { s = Shape(z) y = Reshape(x, s) }"
    )
    assert deciding_inputs(read_model(model)) == []
    assert _ops(load(model)) == ["Reshape"]


def test_loops_and_sequences_are_refused_together() -> None:
    def known(domain: str, op: str, opset: int) -> str | None:
        del domain, opset
        return "no op file" if op == "Det" else None

    model = _model(
        """g (float[2,2] x, int64 n, bool c) => (float[2,2] y) {
        d = Det(x) s = SequenceConstruct(x, x) k = SequenceLength(s)
        y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2,2] v) => (bool co, float[2,2] w)
            { co = Identity(ci) w = Relu(v) }> }"""
    )
    with pytest.raises(UnsupportedOp) as caught:
        load(model, supported=known)
    for word in ("3 nodes", "Det", "no op file", "SequenceConstruct", "Loop"):
        assert word in caught.value.what
    assert "SequenceLength" not in caught.value.what  # it only suffers from the one before
    unsupported = dict(inspect_model(model, supported=known).unsupported)
    assert any("Det" in node for node in unsupported)


def test_folded_operators_need_no_support() -> None:
    def known(domain: str, op: str, opset: int) -> str | None:
        del domain, opset
        return None if op == "Reshape" else "no op file"

    model = _model(
        """g (float[N,6] x) => (float[A,B] y)
        <int64 at = {0}, int64[1] two = {2}, int64[1] m = {-1}> {
        s = Shape(x) n = Gather(s, at) ax = Constant<value_ints = [0]>() u = Unsqueeze(n, ax)
        h = Div(u, two) t = Concat<axis = 0>(h, m) y = Reshape(x, t) }"""
    )
    assert load(model, batch=4, supported=known).types["y"].shape == (2, 12)
    assert inspect_model(model, supported=known).unsupported == ()


SYMBOLIC = """g (float[N,3,H,W] image, float[N,7] extra, float[2,2] fixed) => (float[A] y)
    { a = Flatten(image) b = Concat<axis = 1>(a, extra) y = ReduceSum<keepdims = 0>(b) }"""


def test_open_dimensions_are_all_listed_with_their_flags() -> None:
    with pytest.raises(ShapeError) as caught:
        load(_model(SYMBOLIC))
    text = str(caught.value)
    for word in ("--shape image=1,3,H,W", "--shape extra=1x7", "numbers in place of names"):
        assert word in text
    assert "fixed" not in text
    with pytest.raises(ShapeError) as caught:
        load(_model("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"))
    assert "--batch 1, or --shape x=1x3" in caught.value.fix


def test_symbols_are_bound_everywhere() -> None:
    graph = load(_model(SYMBOLIC), shapes={"image": (4, 3, 8, 9)})
    assert graph.types["extra"].shape == (4, 7)
    graph = load(_model(SYMBOLIC), batch=2, shapes={"image": (2, 3, 5, 5)})
    assert graph.types["b"].shape == (2, 82)
    unnamed = _model("g (float[?,3] x, float[?,3] z) => (float[A,B] y) { y = Add(x, z) }")
    assert load(unnamed, batch=6).types["y"].shape == (6, 3)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"shapes": {"imago": (1, 3, 8, 8)}}, OptionError, 'no input "imago"'),
        ({"shapes": {"image": (1, 3, 8)}}, ShapeError, "rank 3"),
        ({"shapes": {"image": (1, 4, 8, 8)}}, ShapeError, "fixes dimension 1 at 3"),
        ({"shapes": {"image": (1, 3, 8, 8), "extra": (2, 7)}}, ShapeError, "already stands for 1"),
        ({"shapes": {"image": (1, 3, -8, 8)}}, OptionError, "negative"),
        ({"shapes": {"image": (1, 3, 8, 8)}, "batch": 2}, OptionError, "already 1"),
        ({"batch": 0}, OptionError, "at least one"),
        ({"constants": {"fixed": np.zeros((2, 3), np.float32)}}, ShapeError, "fixes dimension 1"),
        ({"constants": {"fixed": np.zeros((2, 2))}}, ShapeError, "float64"),
        ({"constants": {"nothing": np.zeros(2)}}, OptionError, "no input"),
        ({"max_bytes": 0}, OptionError, "positive"),
        ({"max_bytes": 1 << 20, "shapes": {"image": (999, 3, 99, 99)}}, TooLarge, "alone takes"),
    ],
)
def test_options_that_do_not_fit(
    options: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        load(_model(SYMBOLIC), **options)


def test_an_input_of_unknown_rank_is_settled_by_shape() -> None:
    model = _model("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ShapeError, match="unknown rank"):
        load(model)
    assert load(model, shapes={"x": (2, 3)}).types["y"].shape == (2, 3)


def test_batch_needs_something_to_set() -> None:
    fixed = _model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    assert load(fixed, batch=2).types["x"].shape == (2, 3)
    with pytest.raises(OptionError, match="no input has a symbolic leading dimension"):
        load(fixed, batch=4)


def test_shapes_that_do_not_fit_name_the_node() -> None:
    with pytest.raises(ShapeError) as caught:
        load(
            _model("g (float[N,3] x, float[4] z) => (float[A,B] y) { [sum] y = Add(x, z) }"),
            batch=1,
        )
    assert 'Add node "sum"' in caught.value.where
    assert "float32[1x3]" in caught.value.what


def test_old_operator_sets_are_converted() -> None:
    old = parser.parse_model(
        """<ir_version: 3, opset_import: ["" : 6]> g (float[2,3] x, float[3] b) => (float[2,3] y)
        { a = Add<axis = 1, broadcast = 1>(x, b) y = Dropout<is_test = 1>(a) }"""
    )
    graph = load(old)
    assert graph.opset == 7
    x, b = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    [got] = _run(to_model(graph), {"x": x, "b": b})
    np.testing.assert_array_equal(got, x + b)


def test_initializers_that_are_inputs_too_are_weights_with_a_default() -> None:
    model = _model(
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    )
    assert load(model).inputs == ["x"]
    other = np.array([5, 6], np.float32)
    np.testing.assert_array_equal(load(model, constants={"w": other}).constants["w"], other)
    with pytest.raises(ShapeError, match="the model wants"):
        load(model, constants={"w": np.zeros(3, np.float32)})


def test_sparse_initializers_become_dense() -> None:
    values = onnx.numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([[0, 1], [2, 0]], np.int64))
    model = _model("g (float[3,2] x) => (float[3,2] y) { y = Add(x, w) }")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 2]))
    np.testing.assert_array_equal(load(model).constants["w"], [[0, 5], [0, 0], [7, 0]])


def test_names_are_unique_and_outputs_keep_theirs() -> None:
    graph = load(
        _model("g (float[2] x) => (float[2] x2, float[2] x) { [n] a = Relu(x) [n] x2 = Neg(a) }")
    )
    assert [node.name for node in graph.nodes] == ["n", "n_2"]
    assert graph.outputs == ["x2", "x"]


def test_inspect_tells_what_a_model_is() -> None:
    info = inspect_model(
        _model(SYMBOLIC.replace("{ a", "<float[3] w = {1, 2, 3}> { unused = Relu(w) a"))
    )
    assert [one.flag for one in info.inputs] == [
        "--shape image=1,3,H,W",
        "--shape extra=1x7",
        "",
    ]
    assert info.ops == {"Concat": 1, "Flatten": 1, "ReduceSum": 1, "Relu": 1}
    assert (info.parameters, info.parameter_bytes, info.opset) == (3, 12, 17)
    assert inspect_model(_model(DECIDED)).deciding == {"s": "--const s=FILE.npy"}
