"""Types of a node's outputs, by ONNX's own shape inference for single nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from ipuc.errors import ShapeError, UnsupportedOp, nearest
from ipuc.graph.ir import Node
from ipuc.graph.proto import dtype_name, node_to_proto, schema_of, type_to_proto
from ipuc.types import Shape, TensorType

#: Constants up to this many elements are shown to shape inference. What decides a shape (sizes,
#: axes, scales) is short; weights are long, and writing them to protobuf for each node is dear.
_SHOWN = 4096

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

#: The operator that stands for the gradient of other values of its graph.
GRADIENT = ("ai.onnx.preview.training", "Gradient")

#: Operators whose output has the shape of the first input, which ONNX finds only in their bodies.
_SAME_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})

#: Operators that compare with broadcasting, of which ONNX says so in their bodies only.
_COMPARISONS = frozenset({"GreaterOrEqual", "LessOrEqual"})

#: Operator -> positions of the inputs that decide a shape, an axis, or which elements go where.
#: Such an input must be known when the program is built.
DECIDING: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "CumProd": (1,),
    "DFT": (1, 2),
    "Dropout": (2,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unique": (0,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **{f"Reduce{kind}": (1,) for kind in _REDUCTIONS},
}


class UndecidedShape(ShapeError):
    """A shape depends on values that are not known when the program is built.

    Attributes:
        values: the values that decide it; once traced to the model, its graph inputs.
    """

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", values: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.values = values


@dataclass(frozen=True, slots=True)
class PartialType:
    """What shape inference found out: unknown dimensions are None, an unknown rank too.

    Attributes:
        dtype: NumPy name of the element type; "" if the value is no plain tensor.
        shape: dimensions, or None if not even the rank is known.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def settled(self) -> TensorType | None:
        """The static type, if all of it is known."""
        if not self.dtype or self.shape is None:
            return None
        dims = [dim for dim in self.shape if dim is not None]
        if len(dims) < len(self.shape):
            return None
        return TensorType(self.dtype, tuple(dims))


def deciding_values(node: Node, constants: Mapping[str, Any]) -> tuple[str, ...]:
    """List the node's inputs that decide a shape or an axis and are not constant."""
    if node.domain:
        return ()
    names = [node.inputs[at] for at in DECIDING.get(node.op, ()) if at < len(node.inputs)]
    # Before it moved to an input, the second input of Dropout, Reshape... did not exist, so a
    # position beyond the list says nothing.
    return tuple(name for name in names if name and name not in constants)


def _from_proto(proto: onnx.TypeProto | None) -> PartialType:
    if proto is None or not proto.HasField("tensor_type") or not proto.tensor_type.elem_type:
        return PartialType("", None)
    tensor = proto.tensor_type
    dtype = dtype_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return PartialType(dtype, None)
    # A negative dimension is the trace of an overflow inside shape inference.
    known = (d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return PartialType(dtype, tuple(None if d is None or d < 0 else int(d) for d in known))


def _fill_gaps(
    node: Node, found: list[PartialType], types: Mapping[str, TensorType]
) -> list[PartialType]:
    """Add what old operator sets say in words but not in their inference functions."""
    if (node.domain, node.op) == GRADIENT:  # the gradient of a value has its type
        named = [types[node.inputs[at]] for at, name in enumerate(node.outputs) if name]
        return [PartialType(kind.dtype, kind.shape) for kind in named]
    if node.domain or not node.inputs or node.inputs[0] not in types:
        return found
    if all(one.shape is not None for one in found):
        return found
    first = types[node.inputs[0]]
    if node.op == "Dropout":  # the mask has the shape of the data
        gap = [PartialType(one.dtype or first.dtype, first.shape) for one in found]
    elif node.op == "BatchNormalization":  # statistics have the shape of the scale
        scale = types[node.inputs[1]]
        gap = [found[0], *(PartialType(one.dtype or scale.dtype, scale.shape) for one in found[1:])]
    elif node.op in _SAME_SHAPE:
        gap = [PartialType(one.dtype, first.shape) for one in found]
    elif node.op in _COMPARISONS:
        gap = [PartialType("bool", _broadcast(node, types))]
    elif node.op == "Concat" and -len(first.shape) <= node.attributes.get("axis", 1) < 0:
        # Counting from the end came with operator set 11; engines let it pass in older files.
        axis = node.attributes["axis"] + len(first.shape)
        return infer_partial(replace(node, attributes={"axis": axis}), types, {})
    else:
        return found
    return [a if a.shape is not None else b for a, b in zip(found, gap, strict=True)]


def _broadcast(node: Node, types: Mapping[str, TensorType]) -> Shape:
    """Find the shape to which all inputs broadcast."""
    try:
        return np.broadcast_shapes(*(types[name].shape for name in node.inputs))
    except ValueError as error:
        listed = ", ".join(f"{name}: {types[name]}" for name in node.inputs)
        raise ShapeError(f"the inputs do not broadcast ({listed})", where=node.where()) from error


def infer_partial(
    node: Node,
    types: Mapping[str, TensorType],
    constants: Mapping[str, NDArray[Any]],
) -> list[PartialType]:
    """Infer as much as can be known of the node's named outputs, in order.

    Args:
        node: the node.
        types: static type of each of its inputs.
        constants: values known at compile time; only short ones are looked at.

    Raises:
        UnsupportedOp: ONNX knows no such operator.
        ShapeError: the inputs do not fit the operator.
    """
    schema = schema_of(node.op, node.opset, node.domain)
    if schema is None:
        raise UnsupportedOp(unknown_op(node.op, node.domain, node.opset), where=node.where())
    names = list(dict.fromkeys(name for name in node.inputs if name))
    shown = {
        name: numpy_helper.from_array(np.asarray(constants[name], order="C"), name)
        for name in names
        if name in constants and types[name].size <= _SHOWN
    }
    try:
        result = shape_inference.infer_node_outputs(
            schema,
            node_to_proto(node),
            {name: type_to_proto(types[name]) for name in names},
            shown,
            opset_imports=[helper.make_opsetid(node.domain, node.opset)],
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        seen = ", ".join(f"{name}: {types[name]}" for name in names)
        raise ShapeError(
            f"{clean(str(error))} (inputs: {seen})",
            where=node.where(),
            fix="check the shapes given with --shape, or the model's exporter",
        ) from error
    found = [_from_proto(result.get(name)) for name in node.outputs if name]
    if node.op == "Reshape" and not node.domain:
        _check_reshape(node, types[node.inputs[0]], found[0])
    return _fill_gaps(node, found, types)


def _check_reshape(node: Node, data: TensorType, found: PartialType) -> None:
    """Hold the new shape to the number of elements; ONNX does so only where it has to find a -1."""
    kind = found.settled()
    if kind is not None and kind.size != data.size:
        raise ShapeError(
            f"the {data.size} elements of {data} cannot become {kind}",
            where=node.where(),
            fix="check the shapes given with --shape and --const, or the model's exporter",
        )


def infer(
    node: Node,
    types: Mapping[str, TensorType],
    constants: Mapping[str, NDArray[Any]],
) -> list[TensorType]:
    """Infer the static types of the node's named outputs (absent ones are left out), in order.

    Raises:
        UnsupportedOp: ONNX knows no such operator.
        UndecidedShape: a shape depends on a value that is not constant.
        ShapeError: the inputs do not fit the operator, or an output is no plain tensor.
    """
    undecided = deciding_values(node, constants)
    if undecided:
        listed = " and ".join(f'"{name}"' for name in undecided)
        raise UndecidedShape(
            f"the value of {listed} must be known when the program is built",
            where=node.where(),
            values=undecided,
        )
    partials = infer_partial(node, types, constants)
    settled = [kind for partial in partials if (kind := partial.settled()) is not None]
    if len(settled) < len(partials):
        raise ShapeError(
            "ONNX's shape inference finds no static tensor type for an output",
            where=node.where(),
            fix="simplify the model (onnxsim), or compute this node outside it",
        )
    return settled


def unknown_op(op: str, domain: str, opset: int) -> str:
    """Say that an operator does not exist, and which names are near."""
    named = f'"{domain}"' if domain else "standard ONNX"
    schemas = onnx.defs.get_all_schemas_with_history()
    known = {s.name: s for s in schemas if s.domain == domain and not s.deprecated}
    if not known:
        return f"no operator {op}: the domain {named} is not known"
    if op in known:
        first = min(s.since_version for s in schemas if s.domain == domain and s.name == op)
        if first > opset:
            return f"{op} came with operator set {first}; the model says {opset}"
        return f"{op} was withdrawn before operator set {opset}"
    return f"no operator {op} in {named}: {nearest(op, known)}"


def clean(message: str) -> str:
    """Make one line of a message of the onnx package."""
    text = message.removeprefix("[ShapeInferenceError]").removeprefix("[TypeInferenceError]")
    head = text.split("==> Context")[0]
    return " ".join(head.split()).rstrip(".")
