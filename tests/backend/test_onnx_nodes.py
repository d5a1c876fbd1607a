"""ONNX's own operator tests, executed on tiles; the oracle is the data that ONNX ships."""

from __future__ import annotations

from functools import cache

import onnx
import onnx_cases
import pytest
from onnx.backend.test.runner import Runner
from onnx_cases import Array, Case

from ipuc.backend import IpucBackend, IpucRep
from ipuc.ops.define import operators
from ipuc.program.program import Program
from ipuc.program.steps import Execute, Sequence, StreamIn, StreamOut
from ipuc.program.tensor import View

MOVES = {
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split"),
    *("Squeeze", "Transpose", "Unsqueeze"),
    *("DepthToSpace", "Dropout", "SpaceToDepth", "Tile"),
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
#: What must be lowered, by name, so that an operator that gets lost is noticed.
OPERATORS = MOVES | UNARY | BINARY | REDUCTIONS | LAYERS | {"CastLike"}
#: Inputs that decide a shape, an axis or which elements go where, by operator.
DECIDING = {
    "Expand": {1},
    "Pad": {1, 3},
    "Reshape": {1},
    "Slice": {1, 2, 3, 4},
    "Split": {1},
    "Squeeze": {1},
    "Tile": {1},
    "Unsqueeze": {1},
    **{name: {1} for name in REDUCTIONS},
}
#: Inputs of which only the type matters, or that only training reads.
UNREAD = {("CastLike", 1), ("Dropout", 1)}
#: A Dropout that drops draws random numbers, in every engine other ones.
TRAINING = "test_training_dropout"


@cache
def cases() -> dict[str, Case]:
    """The tests of what we lower, by name: chosen by what their models hold."""
    lowered = {name for domain, name in operators() if not domain} | {"Constant"}
    found = onnx_cases.cases(*KINDS)
    return {
        name: case
        for name, case in found.items()
        if case.operators <= lowered and not name.startswith(TRAINING)
    }


def uses(model: onnx.ModelProto, name: str) -> list[tuple[onnx.NodeProto, int]]:
    """Nodes that a value reaches through nodes that only move data: (node, position)."""
    found: list[tuple[onnx.NodeProto, int]] = []
    names = {name}
    for node in model.graph.node:
        for position, source in enumerate(node.input):
            if source in names and (node.op_type, position) not in UNREAD:
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


def check_inputs(rep: IpucRep, model: onnx.ModelProto, given: list[Array]) -> None:
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
    # onnx 1.23 has 750 and 114 of these; a slip in the selection would lose many
    assert len(names) > 700
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
