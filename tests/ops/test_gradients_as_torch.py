"""Gradients of operators beside torch's autograd, on random operands; the registry is walked.

Both compute in float32, so results differ by a few roundings of 2 ** -24, more where a slope is
a difference of near numbers: 2e-5 of the largest gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradients import gradients_of
from harness import Array

from ipuc.ops.define import operators

torch = pytest.importorskip("torch", reason="make test-full installs torch")
pytestmark = pytest.mark.full

F = torch.nn.functional
TOLERANCE = 2e-5
#: Torch calls of the tensors.
Meaning = Callable[..., Any]


def _space_to_depth(x: Any) -> Any:
    n, c, h, w = x.shape
    cut = x.reshape(n, c, h // 2, 2, w // 2, 2)
    return cut.permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


#: Operators of one operand between -0.9 and 0.9, or by `BETWEEN`.
UNARY: dict[str, tuple[dict[str, Any], Meaning]] = {
    "Abs": ({}, torch.abs),
    "Acos": ({}, torch.acos),
    "Acosh": ({}, torch.acosh),
    "Asin": ({}, torch.asin),
    "Asinh": ({}, torch.asinh),
    "Atan": ({}, torch.atan),
    "Atanh": ({}, torch.atanh),
    "Celu": ({"alpha": 2.0}, lambda x: F.celu(x, 2.0)),
    "Cos": ({}, torch.cos),
    "Cosh": ({}, torch.cosh),
    "DepthToSpace": ({"blocksize": 2, "mode": "CRD"}, lambda x: F.pixel_shuffle(x, 2)),
    "Elu": ({"alpha": 1.5}, lambda x: F.elu(x, 1.5)),
    "Erf": ({}, torch.erf),
    "Exp": ({}, torch.exp),
    "Flatten": ({"axis": 2}, lambda x: x.reshape(8, -1)),
    "Gelu": ({}, F.gelu),
    "HardSigmoid": ({"alpha": 1 / 6}, F.hardsigmoid),
    "HardSwish": ({}, F.hardswish),
    "Identity": ({}, torch.clone),
    "LRN": (
        {"size": 3, "alpha": 0.1},
        lambda x: F.local_response_norm(x, 3, alpha=0.1, beta=0.75, k=1.0),
    ),
    "LeakyRelu": ({"alpha": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
    "Log": ({}, torch.log),
    "Mish": ({}, F.mish),
    "Neg": ({}, torch.neg),
    "Reciprocal": ({}, torch.reciprocal),
    "Relu": ({}, torch.relu),
    "Selu": ({}, torch.selu),
    "Shrink": ({"lambd": 0.3, "bias": 0.3}, lambda x: F.softshrink(x, 0.3)),
    "Sigmoid": ({}, torch.sigmoid),
    "Sin": ({}, torch.sin),
    "Sinh": ({}, torch.sinh),
    "Softplus": ({}, F.softplus),
    "Softsign": ({}, F.softsign),
    "SpaceToDepth": ({"blocksize": 2}, _space_to_depth),
    "Sqrt": ({}, torch.sqrt),
    "Swish": ({}, F.silu),
    "Tan": ({}, torch.tan),
    "Tanh": ({}, torch.tanh),
    "ThresholdedRelu": ({"alpha": 0.5}, lambda x: F.threshold(x, 0.5, 0.0)),
    "Transpose": ({"perm": [2, 0, 3, 1]}, lambda x: x.permute(2, 0, 3, 1)),
}
BETWEEN = {"Acosh": (1.2, 5), "Log": (0.2, 5), "Reciprocal": (0.3, 3), "Sqrt": (0.2, 5)}

#: Operators of two operands, both away from 0 and the first positive.
BINARY: dict[str, tuple[dict[str, Any], Meaning]] = {
    "Add": ({}, torch.add),
    "Concat": ({"axis": 1}, lambda a, b: torch.cat([a, b], 1)),
    "Div": ({}, torch.div),
    "MatMul": ({}, torch.matmul),
    "Max": ({}, torch.maximum),
    "Mean": ({}, lambda a, b: (a + b) / 2),
    "Min": ({}, torch.minimum),
    "Mod": ({"fmod": 1}, torch.fmod),
    "Mul": ({}, torch.mul),
    "Pow": ({}, torch.pow),
    "Sub": ({}, torch.sub),
    "Sum": ({}, torch.add),
}
#: Torch lacks these, or they only choose and move what they are given: differences are enough.
WITHOUT = {
    "Cast", "CastLike", "Clip", "Dropout", "Expand", "Gather", "GlobalLpPool",
    "MeanVarianceNormalization", "Pad", "PRelu", "ReduceLogSum", "ReduceMean", "ReduceSum",
    "ReduceSumSquare", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Unsqueeze", "Where",
}  # fmt: skip


def _same(op: str, inputs: list[Array], attributes: dict[str, Any], meaning: Meaning) -> None:
    opset = 24 if op == "Swish" else 20
    (weight,), found = gradients_of(op, inputs, attributes, opset=opset)
    leaves = [torch.tensor(one, requires_grad=True) for one in inputs]
    meaning(*leaves).backward(torch.from_numpy(weight))
    for ours, leaf in zip(found, leaves, strict=True):
        theirs = leaf.grad.numpy()
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str) -> None:
    low, high = BETWEEN.get(op, (-0.9, 0.9))
    x = np.random.default_rng(0).uniform(low, high, (2, 4, 6, 4)).astype(np.float32)
    _same(op, [x], *UNARY[op])


@pytest.mark.parametrize("op", BINARY)
def test_binary(op: str) -> None:
    random = np.random.default_rng(1)
    a, b = (random.uniform(low, 3, (2, 5, 5)).astype(np.float32) for low in (0.5, 0.6))
    _same(op, [a, b], *BINARY[op])


def test_every_operator_is_compared_or_has_no_counterpart() -> None:
    """Those that are not here have a comparison with torch among the tests of their kind."""
    smooth = {
        name
        for (domain, name), op in operators().items()
        if not domain and op.differentiable() == "yes"
    }
    here = Path(__file__).parent
    texts = [file.read_text("utf-8") for file in here.glob("test_gradients_of_*.py")]
    texts = [(here.parent / "torch_step.py").read_text("utf-8"), *filter(_asks_torch, texts)]
    told = "".join(texts)
    missing = {op for op in smooth - {*UNARY, *BINARY} - WITHOUT if f'"{op}"' not in told}
    assert not missing
    assert smooth >= WITHOUT


def _asks_torch(text: str) -> bool:
    return "importorskip" in text
