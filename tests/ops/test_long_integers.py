"""64-bit integers are carried in 32 bits: a result that does not fit is an error, in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compiled, feeds, one_node

from ipuc.emulator import strict
from ipuc.emulator.run import run
from ipuc.errors import ValueRangeError

HALF = np.array([2**30, 3, -5], np.int64)
LEAST = np.array([-(2**31), 7], np.int64)

OVERFLOWS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "sum": ("Add", [HALF, HALF], {}),
    "difference": ("Sub", [LEAST, np.array([1, 1], np.int64)], {}),
    "product": ("Mul", [HALF, HALF], {}),
    "negative": ("Neg", [LEAST], {}),
    "reduction": ("ReduceSum", [np.full(4, 2**30, np.int64)], {}),
    "cast": ("Cast", [np.array([3e9, 1], np.float32)], {"to": 7}),
    "below zero": ("Sub", [np.array([1], np.uint64), np.array([2], np.uint64)], {}),
}


def _result(op: str, inputs: list[Any]) -> str:
    return "int64" if op == "Cast" else str(inputs[0].dtype.name)


@pytest.mark.parametrize("mode", [run, strict.run])
@pytest.mark.parametrize(("op", "inputs", "attributes"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_a_result_that_does_not_fit_is_an_error(
    op: str, inputs: list[Any], attributes: dict[str, Any], mode: Any
) -> None:
    model = one_node(op, inputs, attributes, 18, outputs=(_result(op, inputs),))
    program = compiled(model, "tiny", "tile")
    with pytest.raises(ValueRangeError, match="does not fit the 32-bit integers") as fault:
        mode(program, feeds(model, inputs))
    assert fault.value.where


@pytest.mark.parametrize(("op", "inputs", "attributes"), list(OVERFLOWS.values())[:4])
def test_32_bit_integers_wrap(op: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    narrow = [array.astype(np.int32) for array in inputs]
    model = one_node(op, narrow, attributes, 18, outputs=("int32",))
    found = run(compiled(model, "tiny", "tile"), feeds(model, narrow))
    wanted = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Neg": np.negative}[op]
    with np.errstate(over="ignore"):
        assert np.array_equal(next(iter(found.values())), wanted(*narrow))


def test_what_fits_is_exact() -> None:
    inputs = [np.array([2**30, -(2**31), 46340], np.int64), np.array([1, 0, 46340], np.int64)]
    model = one_node("Mul", inputs, {}, 18, outputs=("int64",))
    found = run(compiled(model, "tiny", "tile"), feeds(model, inputs))
    assert np.array_equal(next(iter(found.values())), inputs[0] * inputs[1])
