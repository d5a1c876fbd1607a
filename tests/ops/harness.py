"""One-node models on the emulator, compared with an engine that is not ours."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ipuc.emulator.run import run
from ipuc.importer.load import load
from ipuc.lowering.driver import lower
from ipuc.planner.context import Granularity
from ipuc.program.program import Program
from ipuc.target.catalogue import parse_target

Array = NDArray[Any]

#: A few tiles where most shapes are cut, and many where most are not.
TARGETS = ("tiny", "gc200,tiles=64")
#: onnxruntime reads model files up to this version.
IR_VERSION = 10


def one_node(
    op: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any],
    opset: int,
    constants: Collection[int] = (),
    outputs: Sequence[str | None] = ("float32",),
) -> onnx.ModelProto:
    """Make a model of one node; its inputs are called x0, x1, ..., its outputs y0, y1, ...

    Args:
        op: operator name.
        inputs: arrays, None where an optional input is left out.
        attributes: of the node.
        opset: version of the standard operator set.
        constants: positions of inputs that are initializers.
        outputs: element type of every output; None where an optional output is left out.
    """
    names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
    made = ["" if dtype is None else f"y{i}" for i, dtype in enumerate(outputs)]
    node = helper.make_node(op, names, made, name=op, **attributes)
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for i, (name, array) in enumerate(zip(names, inputs, strict=True))
        if array is not None and i not in constants
    ]
    results = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
        for name, dtype in zip(made, outputs, strict=True)
        if dtype is not None
    ]
    weights = [
        numpy_helper.from_array(array, names[i])
        for i, array in enumerate(inputs)
        if array is not None and i in constants
    ]
    graph = helper.make_graph([node], op, infos, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = IR_VERSION
    # A file must say of what shape its outputs are.
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def feeds(model: onnx.ModelProto, inputs: Sequence[Array | None]) -> dict[str, Array]:
    """Name the arrays that the model takes as inputs."""
    wanted = {info.name for info in model.graph.input}
    return {
        f"x{i}": array for i, array in enumerate(inputs) if array is not None and f"x{i}" in wanted
    }


def reference(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model in onnx.reference."""
    names = [info.name for info in model.graph.output]
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(model).run(names, dict(inputs))
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def runtime(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [info.name for info in model.graph.output]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


ORACLES = {"reference": reference, "runtime": runtime}


def compiled(
    model: onnx.ModelProto, target: str = "tiny", granularity: Granularity = "tile"
) -> Program:
    """Load and lower a model."""
    copy = onnx.load(io.BytesIO(model.SerializeToString()))
    return lower(load(copy), parse_target(target), granularity)


def check_model(
    model: onnx.ModelProto,
    inputs: Mapping[str, Array],
    *,
    expected: Mapping[str, Array] | None = None,
    oracle: str = "reference",
    rtol: float = 2e-6,
    atol: float = 1e-6,
    granularity: Granularity = "tile",
    targets: Sequence[str] = TARGETS,
) -> list[Program]:
    """Compile a model for some targets, run it, and compare every output with an oracle.

    Tolerances allow a few float32 roundings; float16 outputs may differ by a rounding of their
    own, because we round once at the store and NumPy after every operation.

    Returns:
        The programs.
    """
    wanted = ORACLES[oracle](model, inputs) if expected is None else dict(expected)
    programs = []
    for target in targets:
        program = compiled(model, target, granularity)
        found = run(program, inputs)
        programs.append(program)
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert found[name].dtype == value.dtype
            assert found[name].shape == value.shape
            half = value.dtype == np.float16
            np.testing.assert_allclose(
                found[name].astype(np.float64),
                value.astype(np.float64),
                rtol=max(rtol, 4e-3) if half else rtol,
                atol=max(atol, 2e-3) if half else atol,
                err_msg=f"{name} on {target}, {granularity}",
            )
    return programs


def check_node(
    op: str,
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int = 22,
    constants: Collection[int] = (),
    outputs: Sequence[str | None] | None = None,
    **options: Any,
) -> list[Program]:
    """Check one node; see `one_node` and `check_model`.

    Args:
        op: operator name.
        inputs: arrays, None where an optional input is left out.
        attributes: of the node.
        opset: version of the standard operator set.
        constants: positions of inputs that are initializers.
        outputs: element types of the outputs; one of the first input's type if None.
        **options: for `check_model`.
    """
    if outputs is None:
        outputs = (next(x.dtype.name for x in inputs if x is not None),)
    model = one_node(op, inputs, attributes or {}, opset, constants, outputs)
    return check_model(model, feeds(model, inputs), **options)
