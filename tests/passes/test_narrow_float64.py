"""float64 inside a model becomes float32; at its border it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from ipuc.backend import run_model
from ipuc.errors import IpucError, ValueRangeError
from ipuc.graph.export import to_model
from ipuc.graph.text import to_text
from ipuc.importer.load import load
from ipuc.passes.narrow_float64 import NarrowFloat64
from ipuc.passes.pipelines import prepare_inference

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def _model(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')


INSIDE = _model("""g (float[2,3] x) => (float[2,3] y) <double[3] w = {1.5, 2, 1e30}> {
    a = Cast<to = 11>(x)  b = Mul(a, w)  c = CastLike(x, b)  d = Add(b, c)  y = CastLike(d, x)
}""")


def test_values_inside_become_float32() -> None:
    graph = load(INSIDE)
    before = to_text(graph)
    result = NarrowFloat64().run(graph)
    assert to_text(graph) == before
    assert result.modified
    result.graph.check()
    assert {kind.dtype for kind in result.graph.types.values()} == {"float32"}
    # what is left is a sound model of its own
    onnx.checker.check_model(to_model(result.graph), full_check=True)
    again = NarrowFloat64().run(result.graph)
    assert again.graph is result.graph
    assert not again.modified


def test_results_have_the_precision_of_float32() -> None:
    results: Any = ReferenceEvaluator(INSIDE).run(None, {"x": X})
    # one rounding for each of three operators; where a sum cancels, relative to its terms
    np.testing.assert_allclose(run_model(INSIDE, [X])[0], results[0], rtol=4e-7, atol=4e-7)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("g (double[2] x) => (double[2] y) { y = Exp(x) }", "float64"),
        ("g (double[2] x) => (float[2] y) { y = Cast<to = 1>(x) }", "float64"),
        ("g (float[2] x) => (double[2] y) { y = Cast<to = 11>(x) }", 'Cast node ".*float64'),
    ],
)
def test_float64_at_the_border_is_refused(text: str, word: str) -> None:
    model = _model(text)
    graph, _ = prepare_inference(load(model))
    assert "float64" in {kind.dtype for kind in graph.types.values()}
    kind: Any = np.float64 if "double[2] x" in text else np.float32
    with pytest.raises(IpucError, match=word):
        run_model(model, [np.ones(2, kind)])


def test_a_constant_beyond_float32_is_an_error() -> None:
    model = _model("""g (float[2] x) => (float[2] y) <double[2] w = {1, -1e300}> {
        a = Cast<to = 11>(x)  b = Add(a, w)  y = Cast<to = 1>(b)
    }""")
    with pytest.raises(ValueRangeError, match=r'-1e\+300 does not fit[^"]*"w"'):
        run_model(model, [X[0, :2]])


def test_infinities_stay() -> None:
    model = _model("""g (float[2] x) => (float[2] y) <double[2] w = {1, 0}> {
        i = Log(w)  a = Cast<to = 11>(x)  b = Add(a, i)  y = Cast<to = 1>(b)
    }""")
    (made,) = run_model(model, [X[0, :2]])
    np.testing.assert_array_equal(made, [X[0, 0], -np.inf])
