"""Small problems for every operator: ONNX's own test cases, else those that the op file offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import RuntimeImplementationError
from onnx_cases import Array, Case, cases
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unknown

from ipuc.ops.define import Function, Op, operators
from ipuc.types import TensorType

#: No input or output of a problem has more elements.
LARGEST = 10_000
#: Problems for one operator.
FEW = 3
#: A Dropout that drops draws random numbers, in every engine other ones.
RANDOM = "test_training_dropout"
#: onnxruntime reads model files up to this version.
IR_VERSION = 10

#: The operators of the package; those that other tests define are none of ours.
EVERY: dict[str, Op] = {
    f"{domain}.{name}" if domain else name: op
    for (domain, name), op in operators().items()
    if type(op).__module__.startswith("ipuc.ops.")
}
#: Those that a model may use, and those that only a training graph has.
OPERATORS = {label: op for label, op in EVERY.items() if not isinstance(op, Function)}
FUNCTIONS = {op.name: op for op in EVERY.values() if isinstance(op, Function)}


@cache
def _by_operator() -> dict[str, list[Case]]:
    """Small tests that hold an operator itself and not its function body, by operator."""
    found: dict[str, list[Case]] = {}
    for name, case in cases("node").items():
        if "_expanded" in name or name.startswith(RANDOM) or case.size > LARGEST:
            continue
        for node in case.model.graph.node:
            label = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            listed = found.setdefault(label, [])
            if case not in listed:
                listed.append(case)
    return found


@cache
def problems(label: str, op: Op) -> list[Case]:
    """A few problems of an operator, the smallest and the largest among them.

    Raises:
        AssertionError: there is none.
    """
    known = sorted(_by_operator().get(label, []), key=lambda case: (case.size, case.name))
    steps = np.linspace(0, len(known) - 1, min(FEW, len(known))).round().astype(int)
    found = [known[step] for step in steps] + [_offered(op, at) for at in range(len(op.examples()))]
    assert found, (
        f"ONNX has no small test of {label}: let examples() of {type(op).__module__} give "
        "some Example(inputs=(...), attributes={...})"
    )
    return found


def _offered(op: Op, at: int) -> Case:
    """A problem of the op file, in the newest form of the operator that onnxruntime computes."""
    example = op.examples()[at]
    random = np.random.default_rng(at)
    inputs = [
        np.asarray(random.uniform(-2, 2, one.shape)).astype(one.dtype)
        if isinstance(one, TensorType)
        else one
        for one in example.inputs
    ]
    names = ["" if one is None else f"x{i}" for i, one in enumerate(inputs)]
    node = helper.make_node(
        op.name, names, ["y"], name=op.name, domain=op.domain, **example.attributes
    )
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)
        for name, one in zip(names, inputs, strict=True)
        if one is not None
    ]
    graph = helper.make_graph([node], op.name, infos, [onnx.ValueInfoProto(name="y")])
    given = [one for one in inputs if one is not None]
    for version in reversed(operator_sets(op)):
        opsets = [helper.make_opsetid(op.domain, version)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        wanted = runtime(model, given)
        if wanted is not None:
            return Case(f"{op.name}-{at}", model, [(given, wanted)], 1e-5, 1e-6)
    raise AssertionError(f"onnxruntime computes no example of {op.name}")


def runtime(model: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array] | None:
    """Run a model in onnxruntime; None if it does not implement the operator in this form."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [one.name for one in session.get_inputs()]
        results: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    except (Fail, InvalidGraph, Unknown):
        return None
    return results


def reference(model: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array] | None:
    """Run a model in onnx.reference; None if it does not implement the operator."""
    names = [one.name for one in model.graph.input]
    try:
        evaluator = ReferenceEvaluator(model)
    except RuntimeImplementationError:
        return None
    with np.errstate(all="ignore"):
        results: Any = evaluator.run(None, dict(zip(names, inputs, strict=True)))
    return [np.asarray(one) for one in results]


def in_general_position(inputs: Sequence[Array]) -> list[Array]:
    """Random floats between the least and the greatest of each input, so inside its domain.

    A single number may be a bound or an exponent, and integers may be indices: they stay.
    """
    random = np.random.default_rng(0)
    drawn = []
    for array in inputs:
        finite = np.isfinite(array)
        if array.dtype.kind != "f" or array.size < 2 or not finite.any():
            drawn.append(array)
            continue
        low, high = float(array[finite].min()), float(array[finite].max())
        if low == high:
            high = low + 1
        values = random.uniform(low, high, array.shape).astype(array.dtype)
        drawn.append(np.where(finite, values, array))
    return drawn


def operator_sets(op: Op) -> list[int]:
    """The last operator set of each form that the operator had, from set 7 on."""
    newest = onnx.defs.onnx_opset_version()
    since = sorted(
        schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if (schema.domain, schema.name) == (op.domain, op.name)
    )
    ends = [*(begin - 1 for begin in since[1:]), newest]
    return [end for end in ends if end >= 7]


def at_operator_set(case: Case, version: int) -> Case | None:
    """Say the same one-node problem in an older operator set, as far as it can be said.

    Inputs that used to be attributes of the same name become attributes again.

    Returns:
        None if the old form lacks something that the problem needs. Expected outputs are left
        empty: the operator may have meant something else.
    """
    if len(case.model.graph.node) > 1:
        return None
    (node,) = case.model.graph.node
    old = onnx.defs.get_schema(node.op_type, version, node.domain)
    new = onnx.defs.get_schema(node.op_type, case.model.opset_import[0].version, node.domain)
    given = dict(
        zip((one.name for one in case.model.graph.input), case.data_sets[0][0], strict=True)
    )
    changed, gone = onnx.NodeProto(), set()
    changed.CopyFrom(node)
    del changed.input[:]
    for position, name in enumerate(node.input):
        formal = new.inputs[min(position, len(new.inputs) - 1)].name
        wanted = old.attributes.get(formal)
        if not name or wanted is None:
            changed.input.append(name)
            continue
        values = given[name]
        # all attributes that became inputs are numbers or lists of integers (perhaps empty ones)
        many = wanted.type == onnx.defs.OpSchema.AttrType.INTS
        attribute = (
            helper.make_attribute(formal, values.tolist(), attr_type=onnx.AttributeProto.INTS)
            if many
            else helper.make_attribute(formal, values.item())
        )
        changed.attribute.append(attribute)
        gone.add(name)
    while changed.input and not changed.input[-1]:
        changed.input.pop()
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.node[0].CopyFrom(changed)
    kept = [one for one in case.model.graph.input if one.name not in gone]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.opset_import[0].version = version
    model.ir_version = min(model.ir_version, IR_VERSION)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    inputs = [given[one.name] for one in kept]
    return replace(case, model=model, data_sets=[(inputs, [])])
