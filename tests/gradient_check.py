"""Hold the gradients of a small model against float64 finite differences, and our tiles to them.

The outputs of the model are weighed with random numbers and added up; that one number is
differentiated.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unknown

from ipuc.emulator.run import run
from ipuc.graph.bodies import DOMAIN, parse_body
from ipuc.graph.export import to_model
from ipuc.graph.ir import Graph, Node
from ipuc.importer.load import load
from ipuc.lowering.driver import lower
from ipuc.ops.define import Function, operators
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Granularity
from ipuc.target.catalogue import parse_target
from ipuc.training.differentiate import differentiate

Array = NDArray[Any]

#: Step of the differences, for numbers of size 1. The error of a central difference is about
#: step ** 2, that of float64 arithmetic 1e-16 / step: both below 1e-9.
STEP = 1e-5
#: Inputs up to this size are stepped element by element; of larger ones, this many elements, and
#: some directions besides.
SINGLE = 32
DIRECTIONS = 6
#: Of the largest gradient: a few dozen roundings of 2 ** -24, or in halves of 2 ** -11.
TOLERANCE = {"float32": 2e-5, "float16": 2e-2}


@dataclass(frozen=True)
class Derived:
    """A model with its gradients.

    Attributes:
        graph: all nodes; its outputs are the gradients of `wanted`.
        forward: how many nodes belong to the model.
        wanted: inputs (or initializers) whose gradient is asked for.
        zero: those on which no gradient arrives at all.
        upstream: weights of the outputs, by the name of the graph input that holds them.
        weighed: model output by name of its weights.
    """

    graph: Graph
    forward: int
    wanted: tuple[str, ...]
    zero: tuple[str, ...]
    upstream: Mapping[str, Array]
    weighed: Mapping[str, str]

    @property
    def backward(self) -> list[Node]:
        """The nodes that differentiation has written."""
        return self.graph.nodes[self.forward :]


def derive(
    graph: Graph,
    wanted: Sequence[str],
    *,
    arriving: Collection[int] | None = None,
    seed: int = 0,
) -> Derived:
    """Add gradients to a graph; hold what is written to some rules.

    Args:
        graph: the model; it is not changed.
        wanted: inputs or constants.
        arriving: positions of the outputs that are weighed; all of floats, if None.
        seed: of the random weights.
    """
    made = copy.deepcopy(graph)
    forward = len(made.nodes)
    random = np.random.default_rng(seed)
    upstream: dict[str, Array] = {}
    ends: dict[str, str] = {}
    for position, name in enumerate(graph.outputs):
        kind = graph.types[name]
        if not kind.is_float or (arriving is not None and position not in arriving):
            continue
        weight = f"weight of {name}"
        made.inputs.append(weight)
        made.types[weight] = kind
        upstream[weight] = np.asarray(random.uniform(-1, 1, kind.shape)).astype(kind.dtype)
        ends[name] = weight
    found = differentiate(GraphWriter(made), made.nodes[:forward], ends, wanted)
    made.outputs = [found[name] for name in wanted if name in found]
    made.check()
    for name, gradient in found.items():
        assert made.types[gradient] == made.types[name], name
    _no_waste(made.nodes[forward:], made.outputs)
    zero = tuple(name for name in wanted if name not in found)
    weighed = {weight: name for name, weight in ends.items()}
    return Derived(made, forward, tuple(wanted), zero, upstream, weighed)


def _no_waste(nodes: Sequence[Node], outputs: Sequence[str]) -> None:
    """Every node that was written serves a gradient that somebody wants."""
    needed = set(outputs)
    for node in reversed(nodes):
        assert not needed.isdisjoint(node.outputs), f"{node.name} is of no use"
        needed.update(node.inputs)
        assert node.layer, f"{node.name} belongs to no layer"


def functions_of(nodes: Sequence[Node]) -> list[onnx.FunctionProto]:
    """Bodies of the operators of ours among nodes, and of those in the bodies."""
    known = operators()
    names = [node.op for node in nodes if node.domain == DOMAIN]
    found: dict[str, onnx.FunctionProto] = {}
    while names:
        name = names.pop()
        op = known[DOMAIN, name]
        assert isinstance(op, Function)
        if name not in found:
            found[name] = parse_body(op.body)
            names += [node.op_type for node in found[name].node if node.domain == DOMAIN]
    return list(found.values())


def evaluate(
    graph: Graph, feeds: Mapping[str, Array], wanted: Sequence[str]
) -> dict[str, Array] | None:
    """Values of a graph by onnxruntime, or by onnx.reference where that declines."""
    nodes = list(graph.nodes)
    part = Graph(
        "part", list(feeds), list(wanted), dict(graph.types), dict(graph.constants), nodes, 18
    )
    part.opset = max((node.opset for node in nodes if not node.domain), default=graph.opset)
    model = to_model(part, functions=functions_of(nodes))
    model.ir_version = 10
    given = {info.name for info in model.graph.input}
    inputs = {name: array for name, array in feeds.items() if name in given}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(list(wanted), inputs)
    except (Fail, InvalidGraph, Unknown):
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(model).run(list(wanted), inputs)
    return dict(zip(wanted, map(np.asarray, values), strict=True))


def gradients(derived: Derived, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Gradients by name of what is differentiated; by somebody else's engine.

    What the forward pass makes is computed first: its nodes may be of another operator set.
    """
    graph, forward = derived.graph, derived.graph.nodes[: derived.forward]
    made = {name for node in forward for name in node.outputs if name}
    read = {name for node in derived.backward for name in node.inputs} | set(graph.outputs)
    kept = sorted(made & read)
    whole = {**inputs, **derived.upstream}
    first = copy.copy(graph)
    first.nodes = forward
    values = evaluate(first, inputs, kept) if kept else {}
    assert values is not None
    second = copy.copy(graph)
    second.nodes = derived.backward
    found = evaluate(second, {**whole, **values}, list(dict.fromkeys(graph.outputs)))
    assert found is not None
    return _named(derived, found, inputs)


def on_tiles(
    derived: Derived, inputs: Mapping[str, Array], target: str, granularity: Granularity = "tile"
) -> dict[str, Array]:
    """Gradients by our own lowering and emulator."""
    graph = derived.graph
    if not graph.outputs:
        return _named(derived, {}, inputs)
    whole = copy.deepcopy(graph)
    whole.outputs = list(dict.fromkeys(graph.outputs))  # two gradients may be one value
    program = lower(whole, parse_target(target), granularity)
    return _named(derived, run(program, {**inputs, **derived.upstream}), inputs)


def _named(
    derived: Derived, found: Mapping[str, Array], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Gradients by what they are the gradients of; zeros where none arrives."""
    graph = derived.graph
    order = iter(graph.outputs)
    named = {}
    for name in derived.wanted:
        like = inputs[name] if name in inputs else graph.constants[name]
        named[name] = np.zeros_like(like) if name in derived.zero else found[next(order)]
    return named


# -- the oracle ------------------------------------------------------------------------------


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with float64 in place of every float; what it casts to as well."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    for info in (*whole.graph.input, *whole.graph.output, *whole.graph.value_info):
        if info.type.tensor_type.elem_type in floats:
            info.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in whole.graph.initializer:
        if tensor.data_type in floats:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for node in whole.graph.node:
        for attribute in node.attribute:
            if attribute.name in {"to", "stash_type", "dtype"} and attribute.i in floats:
                attribute.i = TensorProto.DOUBLE
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in floats:
                wide = numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.t.CopyFrom(numpy_helper.from_array(wide, attribute.t.name))
    return whole


class Erf(OpRun):
    """The error function in float64: onnx.reference computes it in float32 whatever comes."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (_erf(x),)


class Gelu(OpRun):
    """Gelu in float64; for onnx.reference it is a function that calls its own Erf."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + _erf(x / math.sqrt(2))),)


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


class Differences:
    """Central differences of the weighed sum of a model's outputs, in float64.

    Args:
        model: of any float type; its initializers may be changed as its inputs may.
        inputs: the point.
        upstream: weights, by the name of the model output.
    """

    def __init__(
        self, model: onnx.ModelProto, inputs: Mapping[str, Array], upstream: Mapping[str, Array]
    ) -> None:
        wide = in_float64(model)
        known = {tensor.name: numpy_helper.to_array(tensor) for tensor in wide.graph.initializer}
        # What is an initializer may be stepped too, so it becomes an input.
        listed = {info.name for info in wide.graph.input}
        for name, array in known.items():
            if name not in listed:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                wide.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        del wide.graph.initializer[:]
        self._evaluator = ReferenceEvaluator(wide, new_ops=[Erf, Gelu])
        self._point = {name: _wide(array) for name, array in {**known, **inputs}.items()}
        self._upstream = {name: _wide(array) for name, array in upstream.items()}

    def along(self, name: str, direction: Array) -> float:
        """The derivative along a direction of one input."""
        below, above = self.beside(name, direction)
        return (below + above) / 2

    def beside(self, name: str, direction: Array) -> tuple[float, float]:
        """The derivatives from below and from above; far from each other at a kink."""
        step = STEP * max(1.0, float(np.abs(self._point[name]).max(initial=0)))
        step /= max(1.0, float(np.abs(direction).max(initial=0)))
        below, at, above = (
            self._value(name, self._point[name] + sign * step * direction) for sign in (-1, 0, 1)
        )
        return (at - below) / step, (above - at) / step

    def _value(self, name: str, array: Array) -> float:
        names = list(self._upstream)
        with np.errstate(all="ignore"):
            values = self._evaluator.run(names, {**self._point, name: array})
        pairs = zip(names, values, strict=True)
        return float(sum(np.sum(self._upstream[out] * np.asarray(one)) for out, one in pairs))


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def compare(
    differences: Differences, found: Mapping[str, Array], tolerance: float, seed: int = 0
) -> None:
    """Hold gradients to differences, to `tolerance` of the largest gradient of each input.

    Raises:
        AssertionError: they differ.
    """
    random = np.random.default_rng(seed)
    for name, gradient in found.items():
        exact = gradient.astype(np.float64)
        scale = max(1e-3, float(np.abs(exact).max(initial=0)))
        assert np.isfinite(exact).all(), name
        size = gradient.size
        picked = np.arange(size) if size <= SINGLE else random.permutation(size)[:SINGLE]
        for at in picked:
            direction = np.zeros(size)
            direction[at] = 1
            wanted = differences.along(name, direction.reshape(gradient.shape))
            assert math.isclose(exact.flat[at], wanted, rel_tol=0, abs_tol=tolerance * scale), (
                f"{name}[{at}]: {exact.flat[at]:.8g} is not {wanted:.8g}"
            )
        for _ in range(DIRECTIONS if size > SINGLE else 0):
            direction = random.uniform(-1, 1, gradient.shape)
            wanted = differences.along(name, direction)
            # roundings of single elements add up as their squares do
            allowed = tolerance * scale * math.sqrt(size)
            assert abs(float((exact * direction).sum()) - wanted) <= allowed, f"{name}, all of it"


def check_model_gradient(
    model: onnx.ModelProto,
    inputs: Mapping[str, Array],
    *,
    wanted: Sequence[str] | None = None,
    arriving: Collection[int] | None = None,
    tolerance: float | None = None,
    targets: Sequence[str] = ("tiny",),
    granularity: Granularity = "tile",
    seed: int = 0,
) -> Derived:
    """Check all gradients of a model at a point that is away from its kinks.

    1. somebody else's engine computes the gradient graph, in the model's own types; it agrees with
       central differences of the model in float64;
    2. our tiles compute what that engine does.

    Args:
        model: any model that we load.
        inputs: by name.
        wanted: inputs or initializers to differentiate; all inputs of floats if None.
        arriving: positions of the outputs that the sum counts; all of floats if None.
        tolerance: of the largest gradient of each input; `TOLERANCE` if None.
        targets: on which our program runs.
        granularity: of that program.
        seed: of weights and directions.
    """
    graph = load(model)
    if wanted is None:
        wanted = [name for name in graph.inputs if graph.types[name].is_float]
    derived = derive(graph, wanted, arriving=arriving, seed=seed)
    kinds = {graph.types[name].dtype for name in (*wanted, *derived.weighed.values())}
    allowed = tolerance or max(TOLERANCE[kind] for kind in kinds)
    found = gradients(derived, inputs)
    weights = {derived.weighed[name]: array for name, array in derived.upstream.items()}
    compare(Differences(model, inputs, weights), found, allowed, seed)
    for target in targets:
        for name, ours in on_tiles(derived, inputs, target, granularity).items():
            theirs = found[name]
            assert ours.dtype == theirs.dtype
            scale = max(1e-3, float(np.abs(theirs.astype(np.float64)).max(initial=0)))
            np.testing.assert_allclose(
                ours.astype(np.float64),
                theirs.astype(np.float64),
                rtol=0,
                atol=allowed * scale,
                err_msg=f"gradient of {name} on {target}",
                strict=True,
            )
    return derived
