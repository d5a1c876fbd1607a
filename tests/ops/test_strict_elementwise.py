"""Elementwise operators and their compositions on private tile memories, against the fast mode.

Bit for bit; where elements are summed, the fast mode may add in another order: to 1e-6 of the
largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import TARGETS, compiled, feeds, one_node
from strategies import Array, array

from ipuc.codelets.binary import KINDS as BINARY
from ipuc.codelets.unary import KINDS as UNARY
from ipuc.emulator import run, strict
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.define import operators
from ipuc.ops.unary import UnaryElementwise
from ipuc.ops.variadic import VariadicElementwise

SHAPE = (3, 5, 17)
OPERATORS = operators()
SUMMED: dict[str, dict[str, Any]] = {
    "BatchNormalization": {"training_mode": 1},
    "GroupNormalization": {"num_groups": 5},
    "Hardmax": {},
    "InstanceNormalization": {},
    "LRN": {"size": 3, "alpha": 0.5},
    "LayerNormalization": {},
    "LogSoftmax": {"axis": 1},
    "MeanVarianceNormalization": {"axes": [0, 2]},
    "RMSNormalization": {},
    "Softmax": {"axis": 0},
}
EXACT_FORMS: dict[str, dict[str, Any]] = {
    "BitShift": {"direction": "LEFT"},
    "Mod": {"fmod": 1},
    "Cast": {"to": 6},
}


def _kinds(base: type) -> list[str]:
    return [name for (_, name), op in OPERATORS.items() if isinstance(op, base)]


def _words(kind: Any, field: str) -> str:
    return str(kind.dtypes.get(field, "float32"))


def _compare(op: str, inputs: list[Array], attributes: dict[str, Any], outputs: list[str]) -> None:
    """Both modes on a small and a larger target, at every granularity."""
    model = one_node(op, inputs, attributes, 24, (), outputs)
    given = feeds(model, inputs)
    for target in TARGETS:
        for granularity in ("tile", "worker", "fine"):
            program = compiled(model, target, granularity)
            fast, private = run.run(program, given), strict.run(program, given)
            assert fast.keys() == private.keys()
            for name, values in fast.items():
                if op in SUMMED:
                    scale = 1e-6 * float(np.abs(values).max())
                    np.testing.assert_allclose(private[name], values, rtol=0, atol=scale)
                else:
                    np.testing.assert_array_equal(private[name], values, strict=True)


@pytest.mark.parametrize("op", _kinds(UnaryElementwise))
def test_one_operand(op: str) -> None:
    lowering = OPERATORS["", op]
    assert isinstance(lowering, UnaryElementwise)
    kind = UNARY[getattr(lowering, "kind", "gelu")]
    low, high = kind.range or (-3, 3)
    x = array(1, SHAPE, _words(kind, "x"), low, high)
    result = "bool" if op.startswith("Is") else _words(kind, "out")
    _compare(op, [x], {}, [result])


@pytest.mark.parametrize("op", [*_kinds(BinaryElementwise), *_kinds(VariadicElementwise), "Pow"])
def test_two_operands(op: str) -> None:
    kind = BINARY[getattr(OPERATORS["", op], "kind", {"Mod": "fmod"}.get(op, "pow"))]
    if op == "BitShift":
        kind = BINARY["shift_left"]
    unsigned = _words(kind, "a").startswith("u")
    bounds = [(0, 9) if unsigned else kind.ranges.get(f, (-3, 3)) for f in ("a", "b")]
    a = array(1, SHAPE, _words(kind, "a"), *bounds[0])
    b = array(2, SHAPE[1:], _words(kind, "b"), *bounds[1])
    _compare(op, [a, b], EXACT_FORMS.get(op, {}), [_words(kind, "out")])


def test_three_operands() -> None:
    flag, a, b = array(0, SHAPE, "bool"), array(1, SHAPE), array(2, (5, 1))
    _compare("Where", [flag, a, b], {}, ["float32"])
    low, high = np.array(-1, np.float32), np.array(1, np.float32)
    _compare("Clip", [a, low, high], {}, ["float32"])


def test_conversions_and_means() -> None:
    x = array(1, SHAPE)
    _compare("Cast", [x], EXACT_FORMS["Cast"], ["int32"])
    _compare("CastLike", [x, np.zeros(1, np.float16)], {}, ["float16"])
    _compare("Mean", [x, array(2, (17,))], {}, ["float32"])
    _compare("Dropout", [x], {}, ["float32", "bool"])


@pytest.mark.parametrize("op", SUMMED)
def test_sums(op: str) -> None:
    x, channels = array(1, SHAPE), (SHAPE[1],)
    inputs = [x]
    if op in ("GroupNormalization", "InstanceNormalization"):
        inputs += [array(i, channels) for i in (2, 3)]
    elif op == "BatchNormalization":
        inputs += [array(i, channels, low=0.5) for i in (2, 3, 4, 5)]
    elif op in ("LayerNormalization", "RMSNormalization"):
        inputs.append(array(2, SHAPE[-1:]))
    count = 3 if op == "BatchNormalization" else 1
    _compare(op, inputs, SUMMED[op], ["float32"] * count)


def test_the_registry_finds_the_operators_that_are_walked() -> None:
    assert len(_kinds(UnaryElementwise)) > 30
    assert len(_kinds(BinaryElementwise)) > 15
    assert {name for _, name in OPERATORS} >= {*SUMMED, "Where", "Clip", "Cast", "Mean"}
