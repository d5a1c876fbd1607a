"""Graph passes: the same meaning with fewer nodes, and at rest when run twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from ipuc.errors import InternalError
from ipuc.graph.export import to_model
from ipuc.graph.ir import Graph
from ipuc.graph.text import to_text
from ipuc.importer.load import load
from ipuc.passes.define import GraphPass, PassResult, copy_graph
from ipuc.passes.drop_identity import DropIdentity
from ipuc.passes.fold_batch_norm import FoldBatchNorm
from ipuc.passes.manager import run_passes
from ipuc.passes.pipelines import inference_passes, prepare_inference
from ipuc.passes.remove_dead import RemoveDead

#: Folding normalisation into weights rounds in another order: a few float32 roundings per term.
RTOL, ATOL = 1e-4, 1e-5


def _load(text: str, weights: Mapping[str, NDArray[Any]] | None = None, opset: int = 17) -> Graph:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    model.graph.initializer.extend(
        numpy_helper.from_array(a, n) for n, a in (weights or {}).items()
    )
    return load(model)


def _feeds(graph: Graph) -> dict[str, Any]:
    dice = np.random.default_rng(1)
    return {
        name: dice.standard_normal(graph.types[name].shape).astype(graph.types[name].dtype)
        for name in graph.inputs
    }


def _ort(graph: Graph) -> list[Any]:
    session = ort.InferenceSession(to_model(graph).SerializeToString())
    return list(session.run(None, _feeds(graph)))


def _reference(graph: Graph) -> list[Any]:
    return list(ReferenceEvaluator(to_model(graph)).run(None, _feeds(graph)))


def _ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def _apply(one: GraphPass, graph: Graph) -> Graph:
    """Run a pass and hold it to its promises: input untouched, at rest the second time."""
    text = to_text(graph)
    result = one.run(graph)
    assert to_text(graph) == text
    result.graph.check()
    assert result.modified == (to_text(result.graph) != text)
    again = one.run(result.graph)
    assert not again.modified
    assert again.graph is result.graph
    assert (result.graph.inputs, result.graph.outputs) == (graph.inputs, graph.outputs)
    return result.graph


NO_OPS = {
    "Identity(a)": 17,
    "Dropout(a)": 17,
    "Dropout<ratio = 0.5>(a)": 7,
    "Cast<to = 1>(a)": 17,
    "CastLike(a, x)": 17,
    "Reshape(a, same)": 17,
    "Transpose<perm = [0,1,2]>(a)": 17,
    "Transpose<perm = [1,0,2]>(a)": 17,  # only an axis of size one moves, but see the shape below
    "Pad(a, nopads)": 17,
    "Pad<pads = [0,0,0,0,0,0]>(a)": 10,
    "Slice(a, zeros, many)": 17,
    "Slice(a, zeros, many, axes, ones)": 17,
    "Concat<axis = 1>(a)": 17,
    "Expand(a, same)": 17,
    "Tile(a, ones)": 17,
    "Sum(a)": 17,
    "Split<axis = 2, num_outputs = 1>(a)": 18,
}

WEIGHTS = {
    "same": np.array([1, 1, 6], np.int64),
    "nopads": np.zeros(6, np.int64),
    "zeros": np.zeros(3, np.int64),
    "many": np.array([9, 9, 9], np.int64),
    "axes": np.arange(3, dtype=np.int64),
    "ones": np.ones(3, np.int64),
}


def _used(text: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in WEIGHTS.items() if name in text}


@pytest.mark.parametrize("text", NO_OPS)
def test_nodes_that_change_nothing_go(text: str) -> None:
    body = f"g (float[1,1,6] x) => (float[1,1,6] y) {{ a = Relu(x) b = {text} y = Neg(b) }}"
    graph = _load(body, _used(text), NO_OPS[text])
    result = _apply(DropIdentity(), graph)
    assert _ops(result) == ["Relu", "Neg"]
    assert not result.constants
    np.testing.assert_array_equal(_ort(result)[0], _ort(graph)[0])


@pytest.mark.parametrize(
    "text",
    [
        "Transpose<perm = [0,2,1]>(a)",
        "Slice(a, minus, first, axes, minus)",
        "Pad(a, shift)",
        "Cast<to = 11>(a)",
        "Concat<axis = 0>(a, a)",
        "Sum(a, a)",
        "Dropout(a, half, yes)",
    ],
)
def test_nodes_that_change_something_stay(text: str) -> None:
    weights: dict[str, NDArray[Any]] = {
        "minus": -np.ones(3, np.int64),
        "first": -np.full(3, 99, np.int64),
        "axes": np.arange(3, dtype=np.int64),
        "shift": np.array([0, 1, 0, 0, -1, 0], np.int64),
        "half": np.array(0.5, np.float32),
        "yes": np.array(True),
    }
    used = {name: array for name, array in weights.items() if name in text}
    graph = _load(f"g (float[2,3,3] x) => (y) {{ a = Relu(x) y = {text} }}", used)
    result = DropIdentity().run(graph)
    assert not result.modified
    assert result.graph is graph


def test_graph_outputs_keep_their_names() -> None:
    graph = _load(
        """g (float[3] x) => (float[3] y, float[3] z, float[3] copy, float[3] k, bool[3] m,
           float[3] a)
        <float[3] w = {1, 2, 3}> {
        r = Relu(x) y = Identity(r) n = Neg(r) z = Dropout(n)
        copy = Identity(x) k0 = Add(w, w) k = Identity(k0)
        d, m0 = Dropout(n) m = Identity(m0) a = Cast<to = 1>(y) }"""
    )
    result, _ = prepare_inference(graph)
    # x and y are outputs a second time: only these two need a copy.
    assert sorted(_ops(result)) == ["Identity", "Identity", "Neg", "Relu"]
    assert result.constants["m"].all()
    for got, expected in zip(_ort(result), _ort(graph), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_used_mask_becomes_a_constant() -> None:
    graph = _load(
        """g (float[4] x) => (float[4] y)
        { a, m = Dropout(x) f = Cast<to = 1>(m) y = Add(a, f) }"""
    )
    result = _apply(DropIdentity(), graph)
    assert _ops(result) == ["Cast", "Add"]
    np.testing.assert_array_equal(_ort(result)[0], _ort(graph)[0])


def test_dead_nodes_and_extra_outputs_go() -> None:
    graph = _load(
        """g (float[1,1,4,4] x, float[2] unused) => (float[1,1,2,2] y) <float[1] w = {2}> {
        dead = Mul(x, w) deader = Relu(dead)
        y, index = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x) more = Neg(index) }"""
    )
    result = _apply(RemoveDead(), graph)
    assert _ops(result) == ["MaxPool"]
    assert result.nodes[0].outputs == ("y",)
    assert result.inputs == ["x", "unused"]
    assert not result.constants


def test_a_split_keeps_the_parts_that_nobody_reads() -> None:
    graph = _load(
        "g (float[4] x) => (float[2] y) { p, q = Split<num_outputs = 2>(x) y = Relu(p) }",
        opset=18,
    )
    assert not RemoveDead().run(graph).modified


NORM = "{act} = BatchNormalization<epsilon = 0.01>({conv}, s, t, m, v)"
TRAINING = "BatchNormalization<training_mode = 1>"


def _norm_weights(channels: int, seed: int = 3) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(seed)
    drawn = {name: dice.standard_normal(channels).astype(np.float32) for name in "stm"}
    return {**drawn, "v": dice.uniform(0.1, 3, channels).astype(np.float32)}


@settings(max_examples=25, deadline=None)
@given(
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    kernel=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    bias=st.booleans(),
    opset=st.sampled_from([7, 9, 14, 15, 21]),
    epsilon=st.sampled_from(["<epsilon = 0.01>", ""]),
)
def test_batch_norm_folds_into_convolutions(
    groups: int, per_group: int, kernel: tuple[int, ...], bias: bool, opset: int, epsilon: str
) -> None:
    dice = np.random.default_rng(groups)
    out = groups * per_group
    weights = _norm_weights(out)
    weights["w"] = dice.standard_normal((out, 2, *kernel)).astype(np.float32)
    if bias:
        weights["b"] = dice.standard_normal(out).astype(np.float32)
    dims = ",".join(map(str, (2, 2 * groups, *[4] * len(kernel))))
    graph = _load(
        f"""g (float[{dims}] x) => (float[{",".join("N" * (len(kernel) + 2))}] y)
        {{ [conv] c = Conv<group = {groups}>(x, w{", b" if bias else ""})
           [norm] y = BatchNormalization{epsilon}(c, s, t, m, v) }}""",
        weights,
        opset,
    )
    result = _apply(FoldBatchNorm(), graph)
    [node] = result.nodes
    assert (node.op, node.origins, node.outputs) == ("Conv", ("conv", "norm"), ("y",))
    assert node.attributes == graph.nodes[0].attributes
    np.testing.assert_allclose(_ort(result)[0], _ort(graph)[0], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("c = Conv(x, w) {norm} z = Neg(c)", "y, float[A,B,C,D] z"),
        ("c = Conv(x, w) {norm}", "y, float[A,B,C,D] c"),
        ("c = Relu(x) {norm}", "y"),
        ("c = Conv(x, x2) {norm}", "y"),
        (f"c = Conv(x, w) y, m2, v2 = {TRAINING}(c, s, t, m, v)", "y"),
        ("c = Conv(x, w) s2 = Relu(x2) y = BatchNormalization(c, x3, t, m, v)", "y"),
    ],
)
def test_batch_norm_that_cannot_fold_stays(body: str, outputs: str) -> None:
    weights = {**_norm_weights(2), "w": np.ones((2, 2, 1, 1), np.float32)}
    body = body.format(norm=NORM.format(act="y", conv="c"))
    graph = _load(
        f"""g (float[1,2,4,4] x, float[2,2,1,1] x2, float[2] x3) => (float[A,B,C,D] {outputs})
        {{ {body} }}""",
        weights,
    )
    result = FoldBatchNorm().run(graph)
    assert not result.modified
    assert result.graph is graph


def test_overflowing_half_weights_stay_unfolded() -> None:
    weights = {
        "s": np.array([60000], np.float16),
        "t": np.zeros(1, np.float16),
        "m": np.zeros(1, np.float16),
        "v": np.array([1e-4], np.float16),
        "w": np.full((1, 1, 1, 1), 100, np.float16),
    }
    text = """g (float16[1,1,2,2] x) => (float16[A,B,C,D] y)
        { c = Conv(x, w) y = BatchNormalization(c, s, t, m, v) }"""
    assert not FoldBatchNorm().run(_load(text, weights)).modified


def test_two_convolutions_may_share_weights() -> None:
    graph = _load(
        f"""g (float[1,2,4,4] x) => (float[A,B,C,D] y) {{
        c1 = Conv(x, w) {NORM.format(act="a", conv="c1")}
        c2 = Conv(a, w) {NORM.format(act="b", conv="c2")} c3 = Conv(b, w) y = Identity(c3) }}""",
        {**_norm_weights(2), "w": np.array([[1, -1], [0.5, 2]], np.float32)[..., None, None]},
    )
    result, _ = prepare_inference(graph)
    assert _ops(result) == ["Conv", "Conv", "Conv"]
    np.testing.assert_allclose(_ort(result)[0], _ort(graph)[0], rtol=RTOL, atol=ATOL)


_STEPS = {
    "Relu": "{y} = Relu({x})",
    "Identity": "{y} = Identity({x})",
    "Dropout": "{y} = Dropout({x})",
    "Cast": "{y} = Cast<to = 1>({x})",
    "Flip": "{y} = Transpose<perm = [0,1,3,2]>({x})",
    "Still": "{y} = Transpose<perm = [0,1,2,3]>({x})",
    "Norm": "{y} = BatchNormalization({x}, s, t, m, v)",
    "Conv": "{y} = Conv({x}, w)",
    "Add": "{y} = Add({x}, {z})",
    "Dead": "{y} = Identity({x}) dead{y} = Neg({y})",
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 20)), max_size=9))
def test_passes_keep_the_meaning_of_random_graphs(steps: list[tuple[str, int]]) -> None:
    """Chains with skips: every value is an output with chance, so names are held too."""
    values, lines, outputs = ["x"], [], []
    for at, (kind, dice) in enumerate(steps):
        value = f"v{at}"
        z = values[dice % len(values)]
        x = values[-1] if dice % 3 else z
        lines.append(_STEPS[kind].format(x=x, y=value, z=z))
        values.append(value)
        if dice % 5 == 0:
            outputs.append(value)
    lines.append(f"y = Identity({values[-1]})")
    declared = ", ".join(f"float[A,B,C,D] {name}" for name in [*outputs, "y"])
    weights = {**_norm_weights(2), "w": np.array([[1, -1], [0.5, 2]], np.float32)[..., None, None]}
    text = " ".join(lines)
    used = {n: a for n, a in weights.items() if ("Conv" if n == "w" else "Norm") in text}
    graph = _load(f"g (float[1,2,3,3] x) => ({declared}) {{ {text} }}", used)
    result, records = run_passes(graph, inference_passes())
    assert not run_passes(result, inference_passes())[1][0].modified
    assert records[0].nodes_before == len(graph.nodes)
    assert records[-1].nodes_after == len(result.nodes)
    for got, expected in zip(_reference(result), _reference(graph), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@dataclass(frozen=True)
class _Breaks(GraphPass):
    name: ClassVar[str] = "breaks"

    def run(self, graph: Graph) -> PassResult:
        return PassResult(copy_graph(graph, graph.nodes[1:]), modified=True)


@dataclass(frozen=True)
class _Restless(GraphPass):
    name: ClassVar[str] = "restless"

    def run(self, graph: Graph) -> PassResult:
        return PassResult(graph, modified=True)


@dataclass(frozen=True)
class _Renames(GraphPass):
    name: ClassVar[str] = "renames"

    def run(self, graph: Graph) -> PassResult:
        result = copy_graph(graph)
        result.outputs = ["a"]
        return PassResult(result, modified=True)


@pytest.mark.parametrize(
    ("one", "word"),
    [(_Breaks(), "after pass breaks"), (_Restless(), "32 rounds"), (_Renames(), "outputs")],
)
def test_the_manager_catches_broken_passes(one: GraphPass, word: str) -> None:
    graph = _load("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    with pytest.raises(InternalError, match=word):
        run_passes(graph, [one])
