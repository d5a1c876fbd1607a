"""ONNX's own operator tests, executed on tiles; the oracle is the data that ONNX ships."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from ipuc.backend import IpucBackend, IpucRep
from ipuc.program.program import Program
from ipuc.program.steps import Execute, Sequence, StreamIn, StreamOut
from ipuc.program.tensor import View

MOVES = {
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze"),
}
UNARY = {
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu"),
    *("Clip", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish"),
    *("IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round"),
    *("Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt"),
    *("Swish", "Tan", "Tanh", "ThresholdedRelu", "Cast"),
}
BINARY = {
    *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul"),
    *("Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
}
REDUCTIONS = {
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
}
LAYERS = {
    *("AveragePool", "BatchNormalization", "Conv", "Gemm", "GlobalAveragePool", "GlobalLpPool"),
    *("GlobalMaxPool", "LRN", "LogSoftmax", "MatMul", "MaxPool", "Softmax"),
}
#: ONNX's own tests of operators, and those that came from PyTorch's exporter, operator set 6 on.
KINDS = ("node", "pytorch-converted", "pytorch-operator")
#: What the bodies of ONNX's functions use besides.
HELPERS = {"CastLike", "Constant"}
OPERATORS = MOVES | UNARY | BINARY | REDUCTIONS | LAYERS | HELPERS
TYPES = {
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BOOL),
    *(TensorProto.INT32, TensorProto.INT64),
}
#: Inputs that decide a shape, an axis or which elements go where, by operator.
DECIDING = {
    "Expand": {1},
    "Pad": {1, 3},
    "Reshape": {1},
    "Slice": {1, 2, 3, 4},
    "Split": {1},
    "Squeeze": {1},
    "Unsqueeze": {1},
    **{name: {1} for name in REDUCTIONS},
}
#: Inputs of which only the type matters.
TYPE_ONLY = {("CastLike", 1)}


@dataclass(frozen=True)
class Case:
    model: onnx.ModelProto
    data_sets: list[tuple[list[NDArray[Any]], list[NDArray[Any]]]]
    rtol: float
    atol: float


def carried(model: onnx.ModelProto) -> bool:
    """Whether all tensors of a model have one of the five element types."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    plain = all(v.type.HasField("tensor_type") for v in values)
    made = {one.i for node in model.graph.node for one in node.attribute if one.name == "to"}
    return plain and {v.type.tensor_type.elem_type for v in values} | made <= TYPES


@cache
def cases() -> dict[str, Case]:
    """The tests that concern us, by name: chosen by what their models hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making the data divides by zero on purpose
        loaded = [one for kind in KINDS for one in load_model_tests(kind=kind)]
    found: dict[str, Case] = {}
    for case in loaded:
        folder = Path(case.model_dir) if case.model_dir else None
        model = onnx.load(folder / "model.onnx") if folder else case.model
        if model is None or not carried(model):
            continue
        if {node.op_type for node in model.graph.node} <= OPERATORS:
            data = [(arrays(given), arrays(wanted)) for given, wanted in case.data_sets or ()]
            sets = sorted(folder.glob("test_data_set_*")) if folder else []
            data += [(stored(one, "input"), stored(one, "output")) for one in sets]
            assert data
            found[case.name] = Case(model, data, case.rtol, case.atol)
    return found


def stored(folder: Path, kind: str) -> list[NDArray[Any]]:
    """The arrays of a data set on disk, in order."""
    count = len(list(folder.glob(f"{kind}_*.pb")))
    files = [folder / f"{kind}_{i}.pb" for i in range(count)]
    return arrays(TensorProto.FromString(file.read_bytes()) for file in files)


def arrays(items: Any) -> list[NDArray[Any]]:
    return [
        numpy_helper.to_array(item) if isinstance(item, TensorProto) else np.asarray(item)
        for item in items
    ]


def uses(model: onnx.ModelProto, name: str) -> list[tuple[onnx.NodeProto, int]]:
    """Nodes that a value reaches through nodes that only move data: (node, position)."""
    found: list[tuple[onnx.NodeProto, int]] = []
    names = {name}
    for node in model.graph.node:
        for position, source in enumerate(node.input):
            if source in names and (node.op_type, position) not in TYPE_ONLY:
                found.append((node, position))
                if moves(node, model) and position not in DECIDING.get(node.op_type, ()):
                    names.update(node.output)
    return found


def moves(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether a node gives back its operands' values unchanged."""
    operands = [name for name in node.input if name]
    alone = len(operands) == 1 and node.op_type in ("Clip", "Max", "Mean", "Min", "Sum")
    # with an empty list of axes, which is what ONNX's tests of this attribute give
    no_axes = node.op_type == "ReduceSum" and any(
        one.name == "noop_with_empty_axes" and one.i for one in node.attribute
    )
    return node.op_type in MOVES or alone or no_axes or same_type_cast(node, model)


def same_type_cast(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.op_type not in ("Cast", "CastLike"):
        return False
    types: dict[str, int] = {
        value.name: value.type.tensor_type.elem_type
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)
    }
    return types.get(node.input[0]) == types.get(node.output[0], 0)


def readers(program: Program, name: str) -> tuple[bool, bool]:
    """Whether vertices, and whether the host, read an input or copies of it."""
    steps = program.main.steps
    reached = {step.variable for step in steps if isinstance(step, StreamIn) and step.name == name}
    for copy in program.copies():
        for move in copy.moves:
            if move.source is not None and move.source.variable in reached:
                reached.add(move.destination.variable)
    vertices = any(
        family.fields[spec.name].variable in reached
        for family in program.families()
        for spec in family.codelet.fields
        if spec.reads
    )
    host = any(
        isinstance(piece.source, View) and piece.source.variable in reached
        for step in steps
        if isinstance(step, StreamOut)
        for piece in step.tensor.pieces
    )
    return vertices, host


def check_inputs(rep: IpucRep, model: onnx.ModelProto, given: list[NDArray[Any]]) -> None:
    """Only inputs that decide something are specialised; vertices read all others."""
    assert rep.program is not None
    for name, array in zip(rep.inputs, given, strict=True):
        used = uses(model, name)
        if name in rep.specialised:
            assert any(position in DECIDING.get(node.op_type, ()) for node, position in used), name
        elif array.size and used:
            vertices, host = readers(rep.program, name)
            only_moved = all(moves(node, model) for node, _ in used)
            assert vertices or (host and only_moved), name


def test_selection() -> None:
    names = cases()
    expanded = [name for name in names if "_expanded" in name]
    # onnx 1.23 has 674 and 113 of these; a slip in the selection would lose many
    assert len(names) > 600
    assert len(expanded) > 100
    met = {node.op_type for case in names.values() for node in case.model.graph.node}
    untested = {"GlobalLpPool"}  # ONNX has no node test of it
    assert met >= OPERATORS - untested


def test_a_specialised_data_input_would_be_noticed() -> None:
    case = cases()["test_add"]
    (given, _), *_ = case.data_sets
    rep = IpucBackend.prepare(case.model)
    rep.run(given)
    check_inputs(rep, case.model, given)
    rep.specialised = ("y",)
    with pytest.raises(AssertionError, match=r"^y\n"):
        check_inputs(rep, case.model, given)


def test_a_data_input_that_no_vertex_reads_would_be_noticed() -> None:
    case = cases()["test_add"]
    (given, _), *_ = case.data_sets
    rep = IpucBackend.prepare(case.model)
    rep.run(given)
    assert rep.program is not None
    kept = [step for step in rep.program.main.steps if not isinstance(step, Execute)]
    rep.program.main = Sequence(tuple(kept))
    with pytest.raises(AssertionError, match=r"^x\n"):
        check_inputs(rep, case.model, given)


@pytest.mark.parametrize("name", sorted(cases()))
def test_node(name: str) -> None:
    case = cases()[name]
    rep = IpucBackend.prepare(case.model)
    for given, wanted in case.data_sets:
        # ONNX's own comparison, with the tolerance that each of its tests states
        Runner.assert_similar_outputs(wanted, list(rep.run(given)), case.rtol, case.atol)
        if any(array.size for array in wanted):
            check_inputs(rep, case.model, given)
