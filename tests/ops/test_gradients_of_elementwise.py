"""Gradients of elementwise operators, against float64 differences and torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from gradients import check_gradient, gradients_of
from harness import Array
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Shape, broadcast, granularities, seeds, shapes

FEW = settings(max_examples=6, deadline=None, derandomize=True)
SOME = settings(max_examples=12, deadline=None, derandomize=True)
#: From kinks of the operators: more than the step of the differences.
DISTANCE = 0.01


@dataclass(frozen=True)
class Use:
    """A use of an operator of one operand.

    Attributes:
        low, high: between them its operand lies.
        kinks: where its slope jumps.
        halves: whether it takes them, in this operator set.
        attributes: of the node.
    """

    low: float = -3
    high: float = 3
    kinks: tuple[float, ...] = ()
    halves: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)


UNARY: list[tuple[str, Use]] = [
    ("Abs", Use(kinks=(0,))),
    ("Acos", Use(-0.9, 0.9)),
    ("Acosh", Use(1.2, 9)),
    ("Asin", Use(-0.9, 0.9)),
    ("Asinh", Use()),
    ("Atan", Use()),
    ("Atanh", Use(-0.9, 0.9)),
    ("Celu", Use(kinks=(0,), attributes={"alpha": 2.0}, halves=False)),
    ("Cos", Use()),
    ("Cosh", Use()),
    ("Elu", Use(kinks=(0,), attributes={"alpha": 1.5})),
    ("Erf", Use()),
    ("Exp", Use()),
    ("Gelu", Use()),
    ("Gelu", Use(attributes={"approximate": "tanh"})),
    ("HardSigmoid", Use(-5, 5, kinks=(-2.5, 2.5))),
    ("HardSigmoid", Use(kinks=(-1, 1), attributes={"alpha": 0.25, "beta": 0.25})),
    ("HardSwish", Use(-5, 5, kinks=(-3, 3))),
    ("LeakyRelu", Use(kinks=(0,), attributes={"alpha": 0.2})),
    ("Log", Use(0.2, 9)),
    ("Mish", Use()),
    ("Neg", Use()),
    ("Reciprocal", Use(0.3, 3)),
    ("Relu", Use(kinks=(0,))),
    ("Selu", Use(kinks=(0,))),
    ("Shrink", Use(kinks=(-0.75, 0.75), attributes={"lambd": 0.75, "bias": 0.25})),
    ("Sigmoid", Use()),
    ("Sin", Use()),
    ("Sinh", Use()),
    ("Softplus", Use()),
    ("Softsign", Use()),
    ("Sqrt", Use(0.2, 9)),
    ("Swish", Use(attributes={"alpha": 1.5})),
    ("Tan", Use(-1.2, 1.2)),
    ("Tanh", Use()),
    ("ThresholdedRelu", Use(kinks=(0.5,), attributes={"alpha": 0.5})),
]
#: Since this operator set ONNX has the operator; the others are old.
SINCE = {"Swish": 24}


def points(seed: int, shape: Shape, low: float = -3, high: float = 3, *kinks: float) -> Array:
    """Random numbers between bounds, at a distance from kinks."""
    made = np.random.default_rng(seed).uniform(low, high, shape)
    for kink in kinks:
        near = np.abs(made - kink) < DISTANCE
        made = np.where(near, kink + np.where(made < kink, -DISTANCE, DISTANCE), made)
    return np.asarray(made, np.float32)


def apart(seed: int, *many: Shape) -> list[Array]:
    """Arrays of numbers of both signs; no two of all are equal, none is 0."""
    sizes = [int(np.prod(shape)) for shape in many]
    order = np.random.default_rng(seed).permutation(sum(sizes)) + 1
    values = (order * 4 / (sum(sizes) + 1) * np.where(order % 2, 1, -1)).astype(np.float32)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, many, strict=True)]


@pytest.mark.parametrize(("op", "use"), UNARY, ids=lambda one: one if isinstance(one, str) else "")
@FEW
@given(shape=shapes(least=1), half=st.booleans(), how=granularities, seed=seeds)
def test_unary(op: str, use: Use, shape: Shape, half: bool, how: Any, seed: int) -> None:
    x = points(seed, shape, use.low, use.high, *use.kinks)
    x = np.asarray(x, np.float16) if half and use.halves else x
    opset = SINCE.get(op, 22)
    check_gradient(op, [x], use.attributes, opset=opset, granularity=how)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@SOME
@given(
    parts=broadcast(2),
    wanted=st.sampled_from([[0, 1], [0], [1]]),
    half=st.booleans(),
    how=granularities,
    seed=seeds,
)
def test_arithmetic(
    op: str, parts: list[Shape], wanted: list[int], half: bool, how: Any, seed: int
) -> None:
    dtype = np.float16 if half else np.float32
    a, b = points(seed, parts[0]).astype(dtype), points(seed + 1, parts[1], 0.5, 3).astype(dtype)
    check_gradient(op, [a, b], wanted=wanted, granularity=how)


@SOME
@given(
    parts=broadcast(2),
    wanted=st.sampled_from([[0, 1], [0], [1]]),
    how=granularities,
    seed=seeds,
)
def test_power(parts: list[Shape], wanted: list[int], how: Any, seed: int) -> None:
    x, y = points(seed, parts[0], 0.5, 2), points(seed + 1, parts[1], -2, 3)
    check_gradient("Pow", [x, y], opset=15, wanted=wanted, granularity=how)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0, -1.5])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_a_known_power(exponent: float, dtype: str) -> None:
    x = points(1, (3, 4), 0.5, 2)
    power = np.array(exponent).astype(dtype)
    check_gradient("Pow", [x, power], opset=15, wanted=[0], constants=[1])


@FEW
@given(parts=broadcast(2), wanted=st.sampled_from([[0, 1], [0], [1]]), seed=seeds)
def test_remainder(parts: list[Shape], wanted: list[int], seed: int) -> None:
    """Quotients lie between whole numbers, where the remainder jumps."""
    random = np.random.default_rng(seed)
    b = np.asarray(random.choice([-1.5, -1.25, 1.25, 1.5], parts[1]), np.float32)
    whole = np.broadcast_to(np.abs(b).max(initial=1), parts[0])
    a = np.asarray(whole * random.choice([-2.3, 0.4, 1.3], parts[0]), np.float32)
    share = np.abs(np.divide(*np.broadcast_arrays(a, b)))
    if np.abs(share - np.rint(share)).min(initial=1) > DISTANCE:
        check_gradient("Mod", [a, b], {"fmod": 1}, opset=13, wanted=wanted)


@pytest.mark.parametrize("op", ["Max", "Min", "Mean", "Sum"])
@FEW
@given(count=st.integers(1, 3), data=st.data(), how=granularities, seed=seeds)
def test_of_many(op: str, count: int, data: st.DataObject, how: Any, seed: int) -> None:
    # onnx.reference's Mean adds in place, so its first input has the result's shape
    operands = apart(seed, *data.draw(broadcast(count, one_way=True)))
    wanted = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    check_gradient(op, operands, opset=13, wanted=sorted(wanted), granularity=how)


@FEW
@given(
    parts=broadcast(3), wanted=st.sampled_from([[1, 2], [1], [2]]), how=granularities, seed=seeds
)
def test_choice(parts: list[Shape], wanted: list[int], how: Any, seed: int) -> None:
    flag = np.random.default_rng(seed).integers(0, 2, parts[0]).astype(bool)
    x, y = points(seed, parts[1]), points(seed + 1, parts[2])
    check_gradient(
        "Where", [flag, x, y], opset=16, wanted=wanted, granularity=how, outputs=["float32"]
    )


@FEW
@given(parts=broadcast(2, one_way=True), wanted=st.sampled_from([[0, 1], [0], [1]]), seed=seeds)
def test_prelu(parts: list[Shape], wanted: list[int], seed: int) -> None:
    x, slope = points(seed, parts[0], -3, 3, 0), points(seed + 1, parts[1])
    check_gradient("PRelu", [x, slope], opset=16, wanted=wanted)


BOUNDS = [np.array(-0.5, np.float32), np.array(0.75, np.float32)]


@pytest.mark.parametrize("bounds", [[], [0], [1], [0, 1]])
@pytest.mark.parametrize("constants", [[], [1, 2]])
@FEW
@given(shape=shapes(), half=st.booleans(), seed=seeds)
def test_clip(bounds: list[int], constants: list[int], shape: Shape, half: bool, seed: int) -> None:
    """Bounds have gradients too, those of all that they hold."""
    dtype = np.float16 if half else np.float32
    x = points(seed, shape, -2, 2, -0.5, 0.75).astype(dtype)
    operands: list[Array | None] = [
        BOUNDS[i].astype(dtype) if i in bounds else None for i in (0, 1)
    ]
    while operands and operands[-1] is None:
        operands.pop()
    check_gradient("Clip", [x, *operands], opset=13, constants=constants)


def test_bounds_that_cross() -> None:
    """The upper one is applied last."""
    low, high = np.array(1, np.float32), np.array(-1, np.float32)
    check_gradient("Clip", [points(1, (4, 5), -3, 3, -1, 1), low, high], opset=13)


def test_bounds_by_attribute() -> None:
    check_gradient("Clip", [points(1, (4, 5), -3, 3, -1, 1)], {"min": -1.0, "max": 1.0}, opset=6)


@pytest.mark.parametrize(("dtype", "to"), [("float32", 10), ("float16", 1), ("float32", 1)])
def test_cast(dtype: str, to: int) -> None:
    x = points(1, (3, 4)).astype(dtype)
    kind = {1: "float32", 10: "float16"}[to]
    check_gradient("Cast", [x], {"to": to}, opset=19, outputs=[kind])
    like = np.zeros(2, kind)
    check_gradient("CastLike", [x, like], opset=19, outputs=[kind])


@pytest.mark.parametrize("op", ["Ceil", "Floor", "Round", "Sign"])
def test_nothing_passes_through_a_step(op: str) -> None:
    derived = check_gradient(op, [points(1, (3, 4), -3, 3, -2.5, -2, -1, 0, 1, 2, 2.5)])
    assert derived.zero == ("x0",)


# -- torch -----------------------------------------------------------------------------------


def test_at_kinks_as_torch() -> None:
    torch = pytest.importorskip("torch")
    flat = torch.nn.functional
    x = np.array([-3, -2.5, -1, -0.5, 0, 0.5, 1, 2.5, 3], np.float32)
    y = np.array([-3, 2, -1, 1, 0, 0.5, 2, 2.5, -3], np.float32)
    low, high = np.array(-0.5, np.float32), np.array(1, np.float32)
    uses: list[tuple[str, list[Array], dict[str, Any], Any]] = [
        ("Abs", [x], {}, torch.abs),
        ("Celu", [x], {"alpha": 2.0}, lambda t: flat.celu(t, 2.0)),
        ("Clip", [x, low, high], {}, torch.clamp),
        ("Elu", [x], {"alpha": 1.5}, lambda t: flat.elu(t, 1.5)),
        ("HardSigmoid", [x], {"alpha": 1 / 6}, flat.hardsigmoid),
        ("HardSwish", [x], {}, flat.hardswish),
        ("LeakyRelu", [x], {}, flat.leaky_relu),
        ("Max", [x, y], {}, torch.maximum),
        ("Min", [x, y], {}, torch.minimum),
        ("PRelu", [x, low.reshape(1)], {}, flat.prelu),
        ("Pow", [np.abs(x), np.array([2, 0, 3] * 3, np.float32)], {}, torch.pow),
        ("Relu", [x], {}, torch.relu),
        ("Selu", [x], {}, torch.selu),
        ("Shrink", [x], {"bias": 0.5}, flat.softshrink),
        ("Sqrt", [np.abs(x)], {}, torch.sqrt),
        ("ThresholdedRelu", [x], {"alpha": 0.5}, lambda t: flat.threshold(t, 0.5, 0.0)),
    ]
    for op, inputs, attributes, meaning in uses:
        (weight,), found = gradients_of(op, inputs, attributes)
        leaves = [torch.tensor(one, requires_grad=True) for one in inputs]
        meaning(*leaves).backward(torch.from_numpy(weight))
        for ours, leaf in zip(found, leaves, strict=True):
            theirs = leaf.grad.numpy()
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=op)
