"""Gradients of Gemm and MatMul against differences in float64, and against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradients import check_gradient, gradients_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import array, granularities, seeds, targets

#: Sums of at most some 60 products by two engines, in units of the largest gradient.
SUMS = 3e-5
EXTENTS = st.sampled_from([1, 2, 3, 5, 8, 17])

matrices = st.tuples(EXTENTS, EXTENTS, EXTENTS)


@given(
    sizes=matrices,
    turned=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    factors=st.sampled_from([(1.0, 1.0), (0.5, 1.0), (1.0, -2.0), (1.5, 0.0)]),
    bias=st.sampled_from(["none", "whole", "row", "column", "one", "scalar"]),
    where=targets,
    granularity=granularities,
    seed=seeds,
)
@settings(max_examples=30, deadline=None)
def test_gemm(
    sizes: tuple[int, int, int],
    turned: tuple[int, int],
    factors: tuple[float, float],
    bias: str,
    where: tuple[str],
    granularity: Any,
    seed: int,
) -> None:
    """All transpositions and factors; the bias is summed over what it was repeated for."""
    m, k, n = sizes
    shapes = {"whole": (m, n), "row": (n,), "column": (m, 1), "one": (1, 1), "scalar": ()}
    inputs = [
        array(seed, (k, m) if turned[0] else (m, k)),
        array(seed + 1, (n, k) if turned[1] else (k, n)),
    ]
    if bias != "none":
        inputs.append(array(seed + 2, shapes[bias]))
    attributes = {
        "transA": turned[0],
        "transB": turned[1],
        "alpha": factors[0],
        "beta": factors[1],
    }
    check_gradient(
        "Gemm",
        inputs,
        attributes,
        tolerance=SUMS,
        granularity=granularity,
        targets=where,
        seed=seed,
    )


#: Leading dimensions of the left and the right operand; None is a vector.
BATCHES = [
    ((), ()),
    ((3,), ()),
    ((2, 3), ()),
    ((), (3,)),
    ((3,), (3,)),
    ((2, 1), (3,)),
    ((1, 3), (2, 1)),
    (None, ()),
    ((), None),
    (None, None),
    ((2, 3), None),
    (None, (2, 3)),
]


@pytest.mark.parametrize("batches", BATCHES)
@given(sizes=matrices, where=targets, granularity=granularities, seed=seeds)
@settings(max_examples=4, deadline=None)
def test_matmul(
    batches: tuple[Any, Any],
    sizes: tuple[int, int, int],
    where: tuple[str],
    granularity: Any,
    seed: int,
) -> None:
    """Batches that meet one matrix, batches that are repeated, vectors."""
    m, k, n = sizes
    shapes = (
        (k,) if batches[0] is None else (*batches[0], m, k),
        (k,) if batches[1] is None else (*batches[1], k, n),
    )
    inputs = [array(seed + at, shape) for at, shape in enumerate(shapes)]
    check_gradient(
        "MatMul",
        inputs,
        tolerance=SUMS,
        granularity=granularity,
        targets=where,
        seed=seed,
    )


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
@pytest.mark.parametrize("wanted", [(0,), (1,), ()])
def test_what_is_not_wanted_is_not_made(op: str, wanted: tuple[int, ...]) -> None:
    derived = check_gradient(op, [array(0, (4, 3)), array(1, (3, 5))], wanted=wanted)
    assert [node.op for node in derived.backward] == ["Gemm"] * len(wanted)


def test_halves() -> None:
    inputs = [array(at, shape, "float16") for at, shape in enumerate([(4, 6), (6, 3), (3,)])]
    check_gradient("Gemm", inputs, {"alpha": 0.5})
    check_gradient("MatMul", inputs[:2])


@pytest.mark.parametrize("batches", BATCHES)
def test_torch(batches: tuple[Any, Any]) -> None:
    torch = pytest.importorskip("torch")
    shapes = (
        (4,) if batches[0] is None else (*batches[0], 3, 4),
        (4,) if batches[1] is None else (*batches[1], 4, 5),
    )
    inputs = [array(at, shape) for at, shape in enumerate(shapes)]
    (weight,), found = gradients_of("MatMul", inputs)
    ours = [torch.tensor(x, requires_grad=True) for x in inputs]
    torch.matmul(*ours).backward(torch.tensor(weight))
    for mine, theirs in zip(found, ours, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=0, atol=1e-4)
