"""The values of a model by somebody else's engine: onnxruntime, or onnx's reference evaluator."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from ipuc.errors import OptionError
from ipuc.importer.digest import Model
from ipuc.importer.read import opsets, parse

Array = NDArray[Any]
Engine = Literal["auto", "onnxruntime", "onnx"]

#: Where onnxruntime looks for external data of a model that it gets as bytes.
#: Source: onnxruntime_session_options_config_keys.h.
_FOLDER_KEY = "session.model_external_initializers_file_folder_path"

#: What onnxruntime says before its reason: its name, a code, the place in its source.
_BEFORE_REASON = re.compile(r"^\[ONNXRuntimeError\] : \d+ : (?:\S+\.cc:\d+ .*?\) )?")

#: What onnx's evaluator, written in NumPy, raises on models it was not made for.
_EVALUATOR_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Declined(Exception):
    """An engine does not take this model."""


def reference_values(
    model: Model,
    inputs: Mapping[str, Array],
    wanted: Collection[str],
    engine: Engine,
    declined: Callable[[str], None] | None = None,
) -> tuple[str, dict[str, Array]]:
    """Compute values of the original model.

    Args:
        model: an ONNX file, or a model in memory.
        inputs: an array for every graph input that is no initializer.
        wanted: names of values; those the main graph does not make are left out.
        engine: "onnxruntime", "onnx" (its reference evaluator), or "auto": onnxruntime if it is
            installed and takes the model, else onnx.
        declined: with "auto", told why onnxruntime does not take the model.

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
    opened = bool(proto.functions)
    proto = _without_functions(proto)
    made = {name for node in proto.graph.node for name in node.output if name}
    declared = {one.name for one in proto.graph.output}
    names = sorted(made & set(wanted) | declared)
    reasons: list[str] = []
    missing = importlib.util.find_spec("onnxruntime") is None
    if engine != "onnx":
        try:
            return _onnxruntime(
                model, proto, sorted(set(names) - declared), names, inputs, opened=opened
            )
        except _Declined as error:
            reasons.append(f"onnxruntime: {error}")
            if engine == "auto" and declined is not None:
                declined(str(error))
    if engine != "onnxruntime":
        try:
            return _evaluator(model, names, inputs)
        except _Declined as error:
            reasons.append(f"onnx.reference: {error}")
    raise OptionError(
        "no reference engine computes this model:\n    " + "\n    ".join(reasons),
        where="--reference",
        fix=_remedy(engine, missing=missing),
    )


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the bodies of the model's functions in place of their calls, as the importer does.

    The values inside then have the names that the compiled program gives them.
    """
    if not model.functions:
        return model
    opened: onnx.ModelProto = onnx.inliner.inline_local_functions(model, convert_version=True)
    return opened


def _remedy(engine: Engine, *, missing: bool) -> str:
    """What to do where no engine that may be asked takes the model."""
    if missing and engine != "onnx":
        return "pip install onnxruntime"
    if engine == "auto":
        return "see both reasons; ipuc run needs no reference"
    return f"try --reference {'onnx' if engine == 'onnxruntime' else 'onnxruntime'}"


def _onnxruntime(
    model: Model,
    proto: onnx.ModelProto,
    extra: list[str],
    names: list[str],
    inputs: Mapping[str, Array],
    *,
    opened: bool,
) -> tuple[str, dict[str, Array]]:
    """Run onnxruntime with further outputs, without its fusions, which would hide them.

    Args:
        model: where external data are looked for.
        proto: the model; its functions are opened if `opened`, unlike those of the file.
        extra: values beside the model's outputs.
        names: all values wanted.
        inputs: by name.
        opened: see `proto`.
    """
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
        raw = proto.SerializeToString() if opened else Path(model).read_bytes()
        options.add_session_config_entry(_FOLDER_KEY, str(Path(model).resolve().parent))
    try:
        session = runtime.InferenceSession(
            raw + tail.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        del raw
        results = session.run(names, dict(inputs))
    except failures as error:
        words = _BEFORE_REASON.sub("", " ".join(str(error).split()))
        raise _Declined(words[:300]) from error
    return f"onnxruntime {runtime.__version__}", dict(zip(names, results, strict=True))


class BatchNormalization(OpRun):
    """Inference, for operator sets 7 to 13.

    There the evaluator mixes the batch's own statistics in, because the attribute `momentum` has
    a default value; the operator says that a node with one output is in test mode.
    Source: ONNX BatchNormalization-9, "Output case #2".
    """

    op_domain = ""

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        var: Array,
        epsilon: float | None = None,
        **ignored: Any,
    ) -> tuple[Array]:
        del ignored
        by_channel = (-1, *(1 for _ in x.shape[2:]))
        scale, bias, mean, var = (a.reshape(by_channel) for a in (scale, bias, mean, var))
        spread = np.sqrt(var + np.float32(1e-5 if epsilon is None else epsilon))
        return ((scale * (x - mean) / spread + bias).astype(x.dtype),)


def _replacements(model: onnx.ModelProto) -> list[type[OpRun]]:
    """Operators to take from here instead of from the evaluator."""
    version = opsets(model).get("", 0)
    norms = [one for one in model.graph.node if one.op_type == "BatchNormalization"]
    plain = all(len(one.output) == 1 for one in norms)
    return [BatchNormalization] if norms and plain and 7 <= version < 14 else []


def _evaluator(
    model: Model, names: list[str], inputs: Mapping[str, Array]
) -> tuple[str, dict[str, Array]]:
    whole = model if isinstance(model, onnx.ModelProto) else onnx.load(Path(model))
    whole = _without_functions(whole)
    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(whole, new_ops=_replacements(whole))
            results = evaluator.run(names, dict(inputs))
    except _EVALUATOR_FAILURES as error:
        raise _Declined(" ".join(str(error).split())[:300]) from error
    values = zip(names, map(np.asarray, results), strict=True)
    return f"onnx.reference {onnx.__version__}", dict(values)
