"""Gradients of operators that move elements, against float64 differences and torch.

They move, add and nothing else: the harness's tolerance is for the sums.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gradient_check import derive, on_tiles
from gradients import check_gradient, gradients_of
from harness import Array, feeds, one_node, runtime
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import array, granularities, seeds

from ipuc.emulator.run import run
from ipuc.errors import ValueRangeError
from ipuc.importer.load import load
from ipuc.lowering.driver import lower
from ipuc.target.catalogue import parse_target

FEW = settings(max_examples=5, deadline=None, derandomize=True)
SOME = settings(max_examples=12, deadline=None, derandomize=True)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def ops(derived: Any) -> list[str]:
    """What the gradient is written in."""
    return [node.op for node in derived.backward]


@st.composite
def arrays(draw: st.DrawFn, least: int = 1, most: int = 3, side: int = 1) -> Array:
    shape = tuple(draw(st.lists(st.integers(side, 5), min_size=least, max_size=most)))
    return array(draw(seeds), shape)


# -- shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [13, 22])
def test_shaping(opset: int) -> None:
    x = array(1, (2, 3, 4))
    for derived in (
        check_gradient("Reshape", [x, ints(4, -1)], constants=[1], opset=opset),
        check_gradient("Flatten", [x], {"axis": 2}, opset=opset),
        check_gradient("Squeeze", [x[:1], ints(0)], constants=[1], opset=opset),
        check_gradient("Unsqueeze", [x, ints(0, -1)], constants=[1], opset=opset),
    ):
        assert ops(derived) == ["Reshape"]


def test_shaping_by_attributes() -> None:
    x = array(1, (1, 3, 4))
    check_gradient("Squeeze", [x], {"axes": [0]}, opset=11)
    check_gradient("Unsqueeze", [x], {"axes": [0, 3]}, opset=11)


def test_nothing_is_written_for_a_reshape_that_does_nothing() -> None:
    x = array(1, (2, 3))
    assert not ops(check_gradient("Reshape", [x, ints(2, 3)], constants=[1]))


@FEW
@given(arrays(most=4), st.data())
def test_transpose(x: Array, data: st.DataObject) -> None:
    check_gradient("Transpose", [x], {"perm": data.draw(st.permutations(range(x.ndim)))})
    check_gradient("Transpose", [x])


@FEW
@given(arrays(), st.data())
def test_expand(x: Array, data: st.DataObject) -> None:
    ones = tuple(n if data.draw(st.booleans()) else 1 for n in x.shape)
    lead = data.draw(st.lists(st.integers(1, 3), max_size=1))
    to = ints(*lead, *x.shape)
    check_gradient("Expand", [np.resize(x, ones), to], constants=[1])


@FEW
@given(arrays(side=2), st.data())
def test_tile(x: Array, data: st.DataObject) -> None:
    repeats = [data.draw(st.integers(1, 3)) for _ in x.shape]
    check_gradient("Tile", [x, ints(*repeats)], constants=[1])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    check_gradient("DepthToSpace", [array(3, (2, 8, 2, 3))], {"blocksize": 2, "mode": mode})


@pytest.mark.parametrize(("opset", "attributes"), [(13, {}), (28, {"mode": "CRD"})])
def test_space_to_depth(opset: int, attributes: dict[str, str]) -> None:
    check_gradient(
        "SpaceToDepth", [array(4, (2, 2, 4, 6))], {"blocksize": 2, **attributes}, opset=opset
    )


# -- parts -----------------------------------------------------------------------------------


@FEW
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(-2, 1), seeds)
def test_concat(sizes: list[int], axis: int, seed: int) -> None:
    parts = [
        array(seed + i, (size, 3) if axis % 2 == 0 else (3, size)) for i, size in enumerate(sizes)
    ]
    check_gradient("Concat", parts, {"axis": axis})


def test_concat_writes_for_what_is_wanted() -> None:
    parts = [array(i, (2, 3)) for i in range(3)]
    derived = check_gradient("Concat", parts, {"axis": 0}, wanted=[1])
    assert ops(derived) == ["Slice"]


@pytest.mark.parametrize("arriving", [None, [1], [0, 2]])
def test_split(arriving: list[int] | None) -> None:
    x = array(5, (2, 7))
    outputs = ["float32"] * 3
    options: dict[str, Any] = {"outputs": outputs, "arriving": arriving}
    sizes = ints(2, 4, 1)
    check_gradient("Split", [x, sizes], {"axis": 1}, constants=[1], opset=13, **options)
    check_gradient("Split", [x], {"axis": -1, "num_outputs": 3}, opset=18, **options)
    check_gradient("Split", [x], {"axis": 1, "split": [3, 3, 1]}, opset=11, **options)


@SOME
@given(arrays(), st.data())
def test_slice(x: Array, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1))
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in axes]
    starts = [
        data.draw(st.integers(-x.shape[a] if s < 0 else -7, 7))
        for a, s in zip(axes, steps, strict=True)
    ]
    ends = [data.draw(st.sampled_from([-(2**31), -3, 0, 2, 7, 2**31 - 1])) for _ in axes]
    signed = [a - data.draw(st.sampled_from([0, x.ndim])) for a in axes]
    inputs = [x, ints(*starts), ints(*ends), ints(*signed), ints(*steps)]
    check_gradient("Slice", inputs, constants=range(1, 5), opset=13)


def test_slice_by_attributes() -> None:
    x = array(6, (4, 5))
    derived = check_gradient("Slice", [x], {"starts": [1, -3], "ends": [3, 9]}, opset=9)
    assert ops(derived) == ["Pad"]


# -- borders ---------------------------------------------------------------------------------


@SOME
@given(
    shape=st.lists(st.integers(2, 4), min_size=1, max_size=3),
    mode=st.sampled_from(["constant", "edge", "reflect", "wrap"]),
    data=st.data(),
    seed=seeds,
)
def test_pad(shape: list[int], mode: str, data: st.DataObject, seed: int) -> None:
    pads = ints(*(data.draw(st.integers(0, n - 1)) for n in (*shape, *shape)))
    inputs = [array(seed, tuple(shape)), pads]
    if mode == "constant":
        inputs.append(array(seed, ()))
    wanted = data.draw(st.sampled_from([[0], [0, 2], [2]])) if mode == "constant" else [0]
    check_gradient("Pad", inputs, {"mode": mode}, constants=[1], opset=19, wanted=wanted)


@SOME
@given(mode=st.sampled_from(["constant", "edge", "reflect"]), data=st.data(), seed=seeds)
def test_pad_that_removes(mode: str, data: st.DataObject, seed: int) -> None:
    """onnx.reference removes nothing; padding is linear in x, so two sums must agree."""
    pads = ints(*(data.draw(st.integers(-1, 1)) for _ in range(4)))
    x = array(seed, (4, 5))
    model = one_node("Pad", [x, pads], {"mode": mode}, 18, constants=[1])
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()
    gradient = on_tiles(derived, {"x0": x}, "tiny")["x0"].astype(np.float64)
    y = runtime(model, {"x0": x})["y0"].astype(np.float64)
    np.testing.assert_allclose((x * gradient).sum(), (y * weight).sum(), rtol=1e-5, atol=1e-5)


def test_pad_by_attributes() -> None:
    check_gradient("Pad", [array(2, (2, 3))], {"pads": [1, 0, 0, 2], "value": 1.5}, opset=10)


# -- indices ---------------------------------------------------------------------------------


@SOME
@given(
    axis=st.integers(-3, 2),
    shape=st.lists(st.integers(0, 4), max_size=2),
    constant=st.booleans(),
    how=granularities,
    seed=seeds,
)
def test_gather(axis: int, shape: list[int], constant: bool, how: Any, seed: int) -> None:
    x = array(seed, (3, 4, 5))
    extent = x.shape[axis]
    indices = np.random.default_rng(seed).integers(-extent, extent, shape)
    known = [1] if constant else []
    check_gradient("Gather", [x, indices], {"axis": axis}, constants=known, granularity=how)


@pytest.mark.parametrize("constant", [False, True])
def test_an_embedding(constant: bool) -> None:
    """Irregular indices: a vertex adds up what it is given."""
    table = array(1, (50, 6))
    indices = np.random.default_rng(2).integers(-50, 50, (4, 30))
    model = one_node("Gather", [table, indices], {}, 13, constants=[1] if constant else [])
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()
    wanted = np.zeros(table.shape, np.float64)
    np.add.at(wanted, indices, weight.astype(np.float64))
    for target in ("tiny", "gc200,tiles=64"):
        (found,) = on_tiles(derived, feeds(model, [table, indices]), target).values()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_table_that_no_tile_holds_is_split_by_rows() -> None:
    table = array(1, (3000, 8))
    indices = np.random.default_rng(2).integers(0, 3000, 500)
    model = one_node("Gather", [table, indices], {}, 13)
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()
    wanted = np.zeros(table.shape, np.float64)
    np.add.at(wanted, indices, weight.astype(np.float64))
    small = parse_target("tiny,tile_memory_bytes=32768")
    program = lower(copy.deepcopy(derived.graph), small)
    adding = [one for one in program.families() if one.codelet.name == "MultiUpdateAdd"]
    assert len({one.codelet.first for one in adding}) > 1  # type: ignore[attr-defined]
    given_arrays = {**feeds(model, [table, indices]), **derived.upstream}
    (found,) = run(program, given_arrays).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_sums_of_halves_are_rounded_once() -> None:
    """2049 is no half: added one by one in halves, 1 would be lost 2048 times."""
    table, indices = np.zeros((3, 1), np.float16), np.zeros(4096, np.int64)
    model = one_node("Gather", [table, indices], {}, 13)
    derived = derive(load(model), ["x0"])
    (name,) = derived.upstream
    derived.upstream[name][:] = 1
    (found,) = on_tiles(derived, feeds(model, [table, indices]), "tiny").values()
    np.testing.assert_array_equal(found, np.array([[4096], [0], [0]], np.float16))


def test_few_known_slices_are_views() -> None:
    """Rows that are picked once cost nothing; those picked twice an addition."""
    x = array(1, (9, 4))
    names = []
    for indices in (np.arange(9)[::-1], np.r_[0:9, 2:5]):
        model = one_node("Gather", [x, indices], {}, 13, constants=[1])
        derived = derive(load(model), ["x0"])
        program = lower(copy.deepcopy(derived.graph), parse_target("tiny"))
        names.append([family.codelet.name for family in program.families()])
    assert names[0] == []
    assert set(names[1]) == {"BinaryOp"}


def test_a_wrong_index_is_refused() -> None:
    model = one_node("Gather", [array(1, (3, 4)), ints(1, 2)], {}, 13)
    derived = derive(load(model), ["x0"])
    graph = derived.graph
    graph.nodes = derived.backward
    with pytest.raises(ValueRangeError, match="index 3 is outside a table of 3 rows"):
        on_tiles(derived, {"x0": array(1, (3, 4)), "x1": ints(1, 3)}, "tiny")


# -- torch -----------------------------------------------------------------------------------


def test_as_torch() -> None:
    torch = pytest.importorskip("torch")
    x = array(1, (3, 4, 5))
    indices = np.array([[3, 0], [3, 1]])
    pads = ints(0, 1, 2, 0, 2, 1)
    uses: list[tuple[str, list[Array], dict[str, Any], Any]] = [
        ("Gather", [x, indices], {"axis": 1}, lambda t: t[:, torch.from_numpy(indices)]),
        ("Pad", [x, pads], {"mode": "reflect"}, lambda t: _padded(torch, t, "reflect")),
        ("Pad", [x, pads], {"mode": "edge"}, lambda t: _padded(torch, t, "replicate")),
        ("Transpose", [x], {"perm": [2, 0, 1]}, lambda t: t.permute(2, 0, 1)),
        ("Tile", [x, ints(2, 1, 3)], {}, lambda t: t.repeat(2, 1, 3)),
    ]
    for op, inputs, attributes, meaning in uses:
        (weight,), (found,) = gradients_of(op, inputs, attributes, constants=range(1, len(inputs)))
        leaf = torch.tensor(x, requires_grad=True)
        meaning(leaf).backward(torch.from_numpy(weight))
        np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-6, atol=1e-6, err_msg=op)


def _padded(torch: Any, x: Any, mode: str) -> Any:
    return torch.nn.functional.pad(x, (2, 1, 1, 2), mode=mode)
