"""What every operator with a gradient must keep to, from the moment its file exists.

Problems are those of the other contract tests. Gradients, computed by somebody else's engine and by
our tiles, are held to central differences in float64 wherever these exist: at a kink the slopes on
both sides differ, and outside its domain an operator has none.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from gradient_check import TOLERANCE, Differences, derive, gradients, on_tiles
from onnx_cases import Array, Case
from op_problems import EVERY, OPERATORS, in_general_position, problems

from ipuc.errors import UnsupportedOp
from ipuc.importer.load import load
from ipuc.ops.define import Op

#: Elements of an input whose gradient is looked at.
LOOKED_AT = 5
#: Operators whose problems differences cannot judge; `tests/ops` holds them in other ways.
ELSEWHERE = {
    "BatchNormalization",  # its running statistics pass no gradient on, by definition
    "Cast",  # ONNX's problems are of types that have none
    "CastLike",
    "GlobalLpPool",  # onnx.reference lacks it
    "MeanVarianceNormalization",  # onnx.reference computes it in float32 alone
}

SMOOTH = [label for label, op in OPERATORS.items() if op.differentiable() == "yes"]


def _held(op: Op, case: Case) -> int:
    """Hold the gradients of one problem to differences; how many could be compared."""
    names = [one.name for one in case.model.graph.input]
    inputs = dict(zip(names, in_general_position(case.data_sets[0][0]), strict=True))
    (node,) = case.model.graph.node
    deciding = [node.input[i] for i in op.shape_inputs if i < len(node.input)]
    constants = {name: inputs[name] for name in deciding if name}
    graph = load(copy.deepcopy(case.model), constants=constants)
    wanted = [
        name
        for name in graph.inputs
        if graph.types[name].is_float and graph.types[name].size and np.isfinite(inputs[name]).all()
    ]
    try:
        derived = derive(graph, wanted)
    except UnsupportedOp:
        return 0  # refused by name; tests of the operator say which forms
    if not derived.weighed:
        return 0
    given = {name: array for name, array in inputs.items() if name in graph.inputs}
    found = gradients(derived, given)
    weights = {derived.weighed[name]: array for name, array in derived.upstream.items()}
    differences = Differences(case.model, inputs, weights)
    half = any(array.dtype == np.float16 for array in (*found.values(), *weights.values()))
    allowed = 5 * TOLERANCE["float16" if half else "float32"]
    count = sum(_compared(differences, name, one, allowed) for name, one in found.items())
    for name, ours in on_tiles(derived, given, "tiny").items():
        _close(ours, found[name], allowed, name)
    return count


def _compared(differences: Differences, name: str, gradient: Array, allowed: float) -> int:
    exact = gradient.astype(np.float64)
    scale = max(1.0, float(np.abs(exact[np.isfinite(exact)]).max(initial=0)))
    picked = np.random.default_rng(0).permutation(gradient.size)[:LOOKED_AT]
    count = 0
    for at in picked:
        direction = np.zeros(gradient.size)
        direction[at] = 1
        left, right = differences.beside(name, direction.reshape(gradient.shape))
        if not abs(left - right) <= 1e-3 * max(1.0, abs(left)):  # not a number, or a kink
            continue
        assert abs(exact.flat[at] - (left + right) / 2) <= allowed * scale, f"{name}[{at}]"
        count += 1
    return count


def _close(ours: Array, theirs: Array, allowed: float, name: str) -> None:
    finite = np.isfinite(theirs)
    a, b = ours[finite].astype(np.float64), theirs[finite].astype(np.float64)
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    np.testing.assert_allclose(a, b, rtol=0, atol=allowed * scale, err_msg=name)


@pytest.mark.parametrize("label", sorted(set(SMOOTH) - ELSEWHERE))
def test_gradients(label: str) -> None:
    """At least one element of one problem is compared."""
    op = OPERATORS[label]
    assert sum(_held(op, case) for case in problems(label, op)), (
        "no problem has a gradient that differences know: let examples() give one"
    )


@pytest.mark.parametrize("label", sorted(ELSEWHERE))
def test_an_exception_has_a_test_of_its_own(label: str) -> None:
    tests = (Path(__file__).parents[1] / "ops").glob("test_gradients_of_*.py")
    assert any(f'"{label}"' in file.read_text(encoding="utf-8") for file in tests)


@pytest.mark.parametrize("label", EVERY)
def test_every_standard_operator_passes_gradients_on_or_is_flat(label: str) -> None:
    """Optimizers, and operators of ours, stand at the end of a training graph: none is needed."""
    op = EVERY[label]
    assert (op.differentiable() == "no") == bool(op.domain), (
        f"{type(op).__module__} has no gradient() and is not flat"
    )
