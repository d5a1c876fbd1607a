"""MatMul and Gemm against NumPy, onnx.reference and onnxruntime, at every granularity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_node, compiled, feeds, one_node
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import Shape, array, granularities, seeds, targets

from ipuc.emulator.run import run
from ipuc.emulator.strict import run as run_strict
from ipuc.errors import IpucError

#: A sum of n products below 9 rounds by at most n * 9 * 2^-24; n is at most 200 here, and partial
#: sums come in another order.
SUMS: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
EXTENTS = st.sampled_from([1, 2, 3, 5, 8, 17, 40])
oracles = st.sampled_from(["reference", "runtime"])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Shape, Shape]:
    """Shapes that numpy.matmul multiplies."""
    m, n = draw(EXTENTS), draw(EXTENTS)
    k = draw(st.sampled_from([1, 2, 7, 16, 33, 200]))
    kind = draw(st.sampled_from(["matrices", "row", "column", "both", "batch", "batch", "left"]))
    if kind == "both":
        return (k,), (k,)
    if kind == "row":
        return (k,), (*draw(st.sampled_from([(), (2,), (3, 2)])), k, n)
    if kind == "column":
        return (*draw(st.sampled_from([(), (2,), (3, 2)])), m, k), (k,)
    if kind == "matrices":
        return (m, k), (k, n)
    if kind == "left":
        return (3, 2, m, k), (k, n)
    batch = draw(st.sampled_from([(2,), (3, 2), (1, 5), (7,)]))
    whole = [
        tuple(n if keep else 1 for n, keep in zip(batch, keeps, strict=True))
        for keeps in (draw(st.tuples(*(st.booleans() for _ in batch))) for _ in range(2))
    ]
    cut = draw(st.integers(0, len(batch)))
    return (*whole[0], m, k), (*whole[1][cut:], k, n)


@given(shapes=pairs(), seed=seeds, granularity=granularities, where=targets, oracle=oracles)
@settings(max_examples=120, deadline=None)
def test_matmul(
    shapes: tuple[Shape, Shape], seed: int, granularity: Any, where: tuple[str], oracle: str
) -> None:
    """Vectors, matrices and batches that broadcast."""
    a, b = (array(seed + i, shape) for i, shape in enumerate(shapes))
    check_node("MatMul", [a, b], oracle=oracle, granularity=granularity, targets=where, **SUMS)


@given(
    seed=seeds,
    extents=st.tuples(EXTENTS, EXTENTS, st.sampled_from([1, 3, 16, 65])),
    flips=st.tuples(st.booleans(), st.booleans()),
    factors=st.tuples(st.sampled_from([1.0, 0.5, -2.0]), st.sampled_from([1.0, 0.0, 0.25])),
    bias=st.sampled_from(["none", "scalar", "row", "column", "full", "one"]),
    constant=st.booleans(),
    granularity=granularities,
    where=targets,
    oracle=oracles,
)
@settings(max_examples=120, deadline=None)
def test_gemm(
    seed: int,
    extents: tuple[int, int, int],
    flips: tuple[bool, bool],
    factors: tuple[float, float],
    bias: str,
    constant: bool,
    granularity: Any,
    where: tuple[str],
    oracle: str,
) -> None:
    """Transposes, factors, and every way in which a bias broadcasts."""
    m, n, k = extents
    a = array(seed, (k, m) if flips[0] else (m, k))
    b = array(seed + 1, (n, k) if flips[1] else (k, n))
    shapes = {"scalar": (), "row": (n,), "column": (m, 1), "full": (m, n), "one": (1, 1)}
    c = [] if bias == "none" else [array(seed + 2, shapes[bias])]
    alpha, beta = factors
    attributes = {"transA": int(flips[0]), "transB": int(flips[1]), "alpha": alpha, "beta": beta}
    check_node(
        "Gemm",
        [a, b, *c],
        attributes,
        constants=(1,) if constant else (),
        oracle=oracle,
        granularity=granularity,
        targets=where,
        **SUMS,
    )


@given(shapes=pairs(), seed=seeds, granularity=granularities, where=targets)
@settings(max_examples=40, deadline=None)
def test_matmul_of_halves(
    shapes: tuple[Shape, Shape], seed: int, granularity: Any, where: tuple[str]
) -> None:
    """Halves are multiplied and summed in float32 and rounded once: NumPy in float64, rounded.

    Half a unit in the last place of a half is 2^-11 = 4.9e-4 of the result; float32 sums add
    little to that.
    """
    a, b = (array(seed + i, shape, "float16", -1, 1) for i, shape in enumerate(shapes))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    model = one_node("MatMul", [a, b], {}, 22, outputs=("float16",))
    found = run(compiled(model, where[0], granularity), feeds(model, [a, b]))["y0"]
    assert found.dtype == np.float16
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=5.5e-4, atol=2e-5)


@given(shapes=pairs(), seed=seeds, granularity=granularities, where=targets)
@settings(max_examples=25, deadline=None)
def test_private_tile_memories_agree(
    shapes: tuple[Shape, Shape], seed: int, granularity: Any, where: tuple[str]
) -> None:
    """The strict mode multiplies vertex by vertex: another order of the same sums, 1e-6 apart."""
    a, b = (array(seed + i, shape) for i, shape in enumerate(shapes))
    model = one_node("MatMul", [a, b], {}, 22)
    program = compiled(model, where[0], granularity)
    assume(sum(family.count for family in program.families()) < 3000)
    fast, strict = (f(program, feeds(model, [a, b]))["y0"] for f in (run, run_strict))
    largest = float(np.abs(fast).max(initial=1.0))
    np.testing.assert_allclose(strict, fast, rtol=1e-6, atol=2e-6 * largest)


@pytest.mark.parametrize("depth", [0, 4])
def test_nothing_to_multiply(depth: int) -> None:
    """A product over no elements is zero; one of no rows is empty."""
    shape = (0, 4) if depth else (3, 0)
    check_node("MatMul", [np.ones(shape, np.float32), np.ones((depth, 5), np.float32)])


def test_integers_are_refused() -> None:
    """Tiles have no matrix unit for integers: said in words, not as a wrong number."""
    numbers = [np.ones((2, 3), np.int32), np.ones((3, 2), np.int32)]
    model = one_node("MatMul", numbers, {}, 22, outputs=("int32",))
    with pytest.raises(IpucError, match="matrix products of int32 are not supported"):
        compiled(model)
