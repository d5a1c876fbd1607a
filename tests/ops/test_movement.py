"""Movement operators against onnx.reference: elements only move, so results are equal."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx
import pytest
from harness import check_model, check_node, compiled, feeds, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ipuc.emulator.run import run
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import ValueRangeError
from ipuc.planner.context import Granularity
from ipuc.program.program import Program

Array = NDArray[Any]
DTYPES = ("float32", "float16", "bool", "int8", "uint8", "int16", "int32", "int64", "uint32")
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 0.0}
LIMITED = settings(max_examples=25, deadline=None)


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Different numbers: a moved element shows."""
    order = np.arange(math.prod(shape)).reshape(shape)
    return order % 3 == 0 if dtype == "bool" else (order % 120).astype(dtype)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def only_views(programs: list[Program]) -> None:
    """No vertex, no copy."""
    for program in programs:
        assert not list(program.families())
        assert not program.copies()


@st.composite
def arrays(draw: st.DrawFn, least: int = 0, most: int = 4, side: int = 0) -> Array:
    shape = tuple(draw(st.lists(st.integers(side, 5), min_size=least, max_size=most)))
    return numbers(shape, draw(st.sampled_from(DTYPES)))


@given(arrays(), st.data())
@LIMITED
def test_transpose(x: Array, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(x.ndim)))
    only_views(check_node("Transpose", [x], {"perm": order} if x.ndim else {}, **EXACT))
    only_views(check_node("Transpose", [x], opset=13, **EXACT))


@given(arrays(least=1), st.data())
@LIMITED
def test_slice(x: Array, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1))
    far = [-(2**31), 2**31 - 1, -(2**63), 2**63 - 1]
    place = st.one_of(st.integers(-7, 7), st.sampled_from(far))
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in axes]
    # Backwards from before the first element: NumPy, and so onnx.reference, leaves ONNX's text.
    starts = [data.draw(place) for _ in axes]
    starts = [
        i if s > 0 else max(i, -x.shape[a]) for i, s, a in zip(starts, steps, axes, strict=True)
    ]
    ends = [data.draw(place) for _ in axes]
    signed = [a - data.draw(st.sampled_from([0, x.ndim])) for a in axes]
    inputs = [x, ints(*starts), ints(*ends), ints(*signed), ints(*steps)]
    only_views(check_node("Slice", inputs, constants=range(1, 5), opset=13, **EXACT))


def test_a_backward_slice_from_before_the_first_element_begins_at_it() -> None:
    x = numbers((4, 6))
    inputs = [x, ints(-9, -(2**31)), ints(-(2**31), -(2**31)), ints(0, 1), ints(-1, -2)]
    only_views(
        check_node("Slice", inputs, constants=range(1, 5), opset=13, oracle="runtime", **EXACT)
    )


def test_slice_by_attributes_and_without_axes() -> None:
    x = numbers((4, 6))
    attributes = {"starts": [1, -4], "ends": [100, -1]}
    only_views(check_node("Slice", [x], attributes, opset=9, **EXACT))
    only_views(
        check_node("Slice", [x], {"starts": [1], "ends": [-1], "axes": [1]}, opset=9, **EXACT)
    )
    only_views(check_node("Slice", [x, ints(2), ints(4)], constants=(1, 2), opset=10, **EXACT))


@given(arrays(least=1, side=1), st.data())
@LIMITED
def test_split(x: Array, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[axis]), max_size=3)))
    sizes = ints(*np.diff([0, *cuts, x.shape[axis]]).tolist())
    kinds = [x.dtype.name] * len(sizes)
    given_sizes: dict[str, Any] = {"opset": 13, "constants": [1], "outputs": kinds}
    only_views(check_node("Split", [x, sizes], {"axis": axis}, **given_sizes, **EXACT))
    attributes = {"axis": axis, "split": sizes.tolist()}
    only_views(check_node("Split", [x], attributes, opset=11, outputs=kinds, **EXACT))


@pytest.mark.parametrize(("total", "parts"), [(6, 3), (7, 3), (5, 2)])
def test_split_into_a_number_of_parts(total: int, parts: int) -> None:
    x = numbers((2, total))
    attributes = {"axis": -1, "num_outputs": parts}
    only_views(check_node("Split", [x], attributes, outputs=["float32"] * parts, **EXACT))
    if total % parts == 0:
        outputs = ["float32"] * parts
        only_views(check_node("Split", [x], {"axis": 1}, opset=11, outputs=outputs, **EXACT))


@given(st.data())
@LIMITED
def test_concat(data: st.DataObject) -> None:
    x = data.draw(arrays(least=1))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    others = []
    for extent in data.draw(st.lists(st.integers(0, 3), max_size=3)):
        shape = list(x.shape)
        shape[axis] = extent
        others.append(numbers(tuple(shape), x.dtype.name))
    only_views(check_node("Concat", [x, *others], {"axis": axis}, **EXACT))


@given(arrays(least=1, side=1), st.data())
@LIMITED
def test_pad_by_constants_and_by_the_data(x: Array, data: st.DataObject) -> None:
    mode = data.draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    pads = [data.draw(st.integers(0, 6)) for _ in range(2 * x.ndim)]
    if mode == "reflect":  # ONNX leaves reflections of a single element open
        pads = [p if x.shape[i % x.ndim] > 1 else 0 for i, p in enumerate(pads)]
    value = np.array(3).astype(x.dtype)
    inputs = [x, ints(*pads), value if mode == "constant" else None]
    found = check_node("Pad", inputs, {"mode": mode}, opset=19, constants=(1, 2), **EXACT)
    only_views(found)


@given(arrays(least=1, side=1), st.data())
@LIMITED
def test_pad_of_some_axes_by_a_value_of_the_run(x: Array, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1))
    pads = [data.draw(st.integers(0, 3)) for _ in range(2 * len(axes))]
    signed = [a - data.draw(st.sampled_from([0, x.ndim])) for a in axes]
    inputs = [x, ints(*pads), np.array(7).astype(x.dtype), ints(*signed)]
    only_views(check_node("Pad", inputs, opset=18, constants=(1, 3), **EXACT))


def test_pad_by_attributes_and_negative_amounts() -> None:
    x = numbers((4, 5))
    attributes = {"pads": [1, 0, 2, 3], "value": 2.5}
    only_views(check_node("Pad", [x], attributes, opset=7, **EXACT))
    # NumPy, and so onnx.reference, knows no negative amounts; onnxruntime does.
    pads = ints(-1, 2, 0, -3)
    only_views(check_node("Pad", [x, pads], opset=13, constants=[1], oracle="runtime", **EXACT))


def test_pad_by_a_number_that_tiles_cannot_carry_is_refused() -> None:
    inputs = [numbers((3,), "int64"), ints(1, 1), np.array(2**40)]
    with pytest.raises(ValueRangeError, match="does not fit the 32-bit integers"):
        check_node("Pad", inputs, constants=(1, 2))


@given(arrays(side=0), st.data())
@LIMITED
def test_tile(x: Array, data: st.DataObject) -> None:
    repeats = [data.draw(st.integers(0, 4)) for _ in range(x.ndim)]
    only_views(check_node("Tile", [x, ints(*repeats)], constants=[1], **EXACT))


@given(arrays(), st.data())
@LIMITED
def test_expand(x: Array, data: st.DataObject) -> None:
    kept = [data.draw(st.booleans()) for _ in x.shape]
    x = x[tuple(slice(None) if k else slice(0, 1) for k in kept)] if x.ndim else x
    shape = [n if n != 1 else data.draw(st.integers(0, 4)) for n in x.shape]
    shape = [
        data.draw(st.sampled_from([n, 1])) if n == x.shape[i] else n for i, n in enumerate(shape)
    ]
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    if x.ndim + len(lead) == 0:
        lead = [2]
    only_views(check_node("Expand", [x, ints(*lead, *shape)], constants=[1], **EXACT))


@given(arrays(side=1), st.data())
@LIMITED
def test_reshape_family(x: Array, data: st.DataObject) -> None:
    primes = list(x.shape)
    cut = data.draw(st.integers(0, len(primes)))
    shape = [math.prod(primes[:cut]), math.prod(primes[cut:])]
    if data.draw(st.booleans()):
        shape[data.draw(st.integers(0, 1))] = -1
    only_views(check_node("Reshape", [x, ints(*shape)], constants=[1], **EXACT))
    only_views(check_node("Flatten", [x], {"axis": cut}, opset=9, **EXACT))
    count = data.draw(st.integers(1, 2))
    places = data.draw(st.permutations(range(x.ndim + count)))[:count]
    attributes = {"axes": sorted(places)}
    only_views(check_node("Unsqueeze", [x], attributes, opset=11, **EXACT))
    only_views(check_node("Unsqueeze", [x, ints(*places)], constants=[1], opset=13, **EXACT))
    ones = [a for a, n in enumerate(x.shape) if n == 1]
    only_views(check_node("Squeeze", [x], opset=13, **EXACT))
    if ones:
        chosen = data.draw(st.lists(st.sampled_from(ones), unique=True, min_size=1))
        # onnx.reference takes the axes of the old form one after another, so only in order
        attributes = {"axes": sorted(chosen)}
        only_views(check_node("Squeeze", [x], attributes, opset=11, **EXACT))
        only_views(check_node("Squeeze", [x, ints(*chosen)], constants=[1], opset=13, **EXACT))


def test_reshape_keeps_and_allows_zeros() -> None:
    x = numbers((2, 3, 4))
    only_views(check_node("Reshape", [x, ints(0, 4, -1)], constants=[1], **EXACT))
    empty = np.zeros((0, 3), np.float32)
    attributes = {"allowzero": 1}
    only_views(check_node("Reshape", [empty, ints(3, 0)], attributes, constants=[1], **EXACT))


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
def test_identity(dtype: str) -> None:
    only_views(check_node("Identity", [numbers((2, 3), dtype)], opset=13, **EXACT))


@given(st.tuples(*[st.integers(1, 3)] * 4), st.integers(1, 3), st.sampled_from(["DCR", "CRD"]))
@LIMITED
def test_depth_and_space(shape: tuple[int, int, int, int], block: int, mode: str) -> None:
    n, c, h, w = shape
    deep = numbers((n, c * block * block, h, w))
    attributes = {"blocksize": block, "mode": mode}
    only_views(check_node("DepthToSpace", [deep], attributes, opset=13, **EXACT))
    wide = numbers((n, c, h * block, w * block))
    only_views(check_node("SpaceToDepth", [wide], {"blocksize": block}, opset=13, **EXACT))


# -- chains ---------------------------------------------------------------------------------


@st.composite
def chains(draw: st.DrawFn) -> tuple[Any, Array]:
    """A chain of movement operators; it and Relu of its end are the outputs."""
    x = numbers(tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))))
    value, count = x, itertools.count()
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(op: str, made: Array, extra: list[Array], **attributes: Any) -> None:
        nonlocal value
        names = []
        for array in extra:
            names.append(f"c{next(count)}")
            weights.append(numpy_helper.from_array(array, names[-1]))
        before = nodes[-1].output[0] if nodes else "x"
        inputs = [before, before] if op == "Concat" else [before, *names]
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        value = made

    _transpose(draw, value, add)
    for op in draw(st.lists(st.sampled_from(sorted(MOVES)), max_size=5)):
        if value.size > 400:
            break
        MOVES[op](draw, value, add)
    nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["relu"]))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
        for name in (nodes[-2].output[0], "relu")
    ]
    given_x = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    graph = helper.make_graph(nodes, "chain", [given_x], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]), x


def _transpose(draw: Any, x: Array, add: Any) -> None:
    order = draw(st.permutations(range(x.ndim)))
    add("Transpose", x.transpose(order), [], perm=order)


def _slice(draw: Any, x: Array, add: Any) -> None:
    axis = draw(st.integers(0, x.ndim - 1))
    start, end = draw(st.integers(-5, 5)), draw(st.integers(-5, 5))
    step = draw(st.sampled_from([-2, -1, 1, 2]))
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, end, step)
    made = x[tuple(index)]
    if made.size:
        add("Slice", made, [ints(start), ints(end), ints(axis), ints(step)])


def _pad(draw: Any, x: Array, add: Any) -> None:
    pads = [draw(st.integers(0, 2)) for _ in range(2 * x.ndim)]
    mode = draw(st.sampled_from(["constant", "edge"]))
    width = list(zip(pads[: x.ndim], pads[x.ndim :], strict=True))
    add("Pad", np.pad(x, width, mode=mode), [ints(*pads)], mode=mode)


def _tile(draw: Any, x: Array, add: Any) -> None:
    repeats = [draw(st.integers(1, 2)) for _ in range(x.ndim)]
    add("Tile", np.tile(x, repeats), [ints(*repeats)])


def _concat(draw: Any, x: Array, add: Any) -> None:
    axis = draw(st.integers(0, x.ndim - 1))
    add("Concat", np.concatenate([x, x], axis), [], axis=axis)


def _reshape(draw: Any, x: Array, add: Any) -> None:
    rest, shape = x.size, list[int]()
    while rest > 1 and len(shape) < 3:
        shape.append(draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
        rest //= shape[-1]
    add("Reshape", x.reshape(*shape, rest), [ints(*shape, rest)])


MOVES = {
    "Transpose": _transpose,
    "Slice": _slice,
    "Pad": _pad,
    "Tile": _tile,
    "Concat": _concat,
    "Reshape": _reshape,
}


@given(chains(), st.sampled_from(["tile", "worker", "fine"]))
@settings(max_examples=60, deadline=None)
def test_chains_of_views_as_outputs_and_as_operands(
    chain: tuple[Any, Array], granularity: Granularity
) -> None:
    model, x = chain
    programs = check_model(model, {"x": x}, granularity=granularity, **EXACT)
    # Private tile memories agree: mapping and copies are complete.
    strict = StrictEmulator(programs[0]).run({"x": x})
    for name, fast in run(programs[0], {"x": x}).items():
        np.testing.assert_array_equal(strict[name], fast)


def test_a_merge_of_transposed_axes_is_copied_only_where_no_view_can() -> None:
    """Axes of a transposed tensor merge freely; cutting the merged axis elsewhere cannot."""
    x = numbers((4, 6))

    def program(shape: list[int]) -> Program:
        nodes = [
            helper.make_node("Transpose", ["x"], ["t"]),
            helper.make_node("Reshape", ["t", "s"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "merge",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(ints(*shape), "s")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
        return check_model(model, {"x": x}, **EXACT)[0]

    only_views([program([24])])
    only_views([program([3, 2, 4])])
    copied = program([8, 3])
    assert not list(copied.families())
    assert len(copied.copies()) == 1


def test_feeding_the_wrong_order_is_noticed() -> None:
    """The comparison above can fail: a transposed input gives other elements."""
    x = numbers((3, 3))
    model = one_node("Identity", [x], {}, 13)
    program = compiled(model)
    assert (run(program, feeds(model, [x.T.copy()]))["y0"] != x).any()
