"""The values of a model by somebody else's engine: onnxruntime, or onnx's reference evaluator."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from ipuc.errors import OptionError
from ipuc.importer.digest import Model
from ipuc.importer.read import parse

Array = NDArray[Any]
Engine = Literal["auto", "onnxruntime", "onnx"]

#: Where onnxruntime looks for external data of a model that it gets as bytes.
#: Source: onnxruntime_session_options_config_keys.h.
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"

#: What onnx's evaluator, written in NumPy, raises on models it was not made for.
_EVALUATOR_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Declined(Exception):  # noqa: N818 - it is no error: another engine may do
    """An engine does not take this model."""


def reference_values(
    model: Model, inputs: Mapping[str, Array], wanted: Collection[str], engine: Engine
) -> tuple[str, dict[str, Array]]:
    """Compute values of the original model.

    Args:
        model: an ONNX file, or a model in memory.
        inputs: an array for every graph input that is no initializer.
        wanted: names of values; those the main graph does not make are left out.
        engine: "onnxruntime", "onnx" (its reference evaluator), or "auto": onnxruntime if it is
            installed and takes the model, else onnx.

    Returns:
        Name and version of the engine, and the values by name.

    Raises:
        OptionError: the engine is unknown or not installed, or no engine takes the model.
        ImportFailure: the file is no ONNX model.
    """
    if engine not in ("auto", "onnxruntime", "onnx"):
        raise OptionError(
            f'no reference is called "{engine}"',
            where="--reference",
            fix="use auto, onnxruntime or onnx",
        )
    proto = parse(Path(model)) if isinstance(model, str | Path) else model
    made = {name for node in proto.graph.node for name in node.output if name}
    declared = {one.name for one in proto.graph.output}
    names = sorted(made & set(wanted) | declared)
    reasons: list[str] = []
    if engine != "onnx":
        try:
            return _onnxruntime(model, proto, sorted(set(names) - declared), names, inputs)
        except _Declined as error:
            reasons.append(f"onnxruntime: {error}")
    if engine != "onnxruntime":
        try:
            return _evaluator(model, names, inputs)
        except _Declined as error:
            reasons.append(f"onnx.reference: {error}")
    raise OptionError(
        "no reference engine computes this model:\n    " + "\n    ".join(reasons),
        where="--reference",
        fix="pip install --upgrade onnxruntime",
    )


def _onnxruntime(
    model: Model,
    proto: onnx.ModelProto,
    extra: list[str],
    names: list[str],
    inputs: Mapping[str, Array],
) -> tuple[str, dict[str, Array]]:
    """Run onnxruntime with further outputs, without its fusions, which would hide them."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise _Declined("it is not installed")
    runtime: Any = importlib.import_module("onnxruntime")
    state: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    failures = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
    )
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what fails is raised; warnings would mix with our output
    # Two serialized messages one after the other are one message with their fields joined, so
    # outputs are added without a second copy of the weights.
    tail = onnx.ModelProto()
    tail.graph.output.extend(onnx.ValueInfoProto(name=name) for name in extra)
    if isinstance(model, onnx.ModelProto):
        raw = proto.SerializeToString()
    else:
        raw = Path(model).read_bytes()
        options.add_session_config_entry(_FOLDER_KEY, str(Path(model).resolve().parent))
    try:
        session = runtime.InferenceSession(
            raw + tail.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        del raw
        results = session.run(names, dict(inputs))
    except failures as error:
        raise _Declined(" ".join(str(error).split())[:300]) from error
    return f"onnxruntime {runtime.__version__}", dict(zip(names, results, strict=True))


def _evaluator(
    model: Model, names: list[str], inputs: Mapping[str, Array]
) -> tuple[str, dict[str, Array]]:
    whole = model if isinstance(model, onnx.ModelProto) else onnx.load(Path(model))
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(whole).run(names, dict(inputs))
    except _EVALUATOR_FAILURES as error:
        raise _Declined(" ".join(str(error).split())[:300]) from error
    values = zip(names, map(np.asarray, results), strict=True)
    return f"onnx.reference {onnx.__version__}", dict(values)
