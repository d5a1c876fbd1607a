"""One pass over a model's nodes: constants are computed, everything else gets a static type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from ipuc.errors import ShapeError, UnsupportedOp
from ipuc.graph.fold import RANDOM, evaluate
from ipuc.graph.infer import PartialType, UndecidedShape, deciding_values, infer_partial, unknown_op
from ipuc.graph.ir import Node, constant_type
from ipuc.graph.proto import attributes_from_proto, schema_of
from ipuc.importer import tensors
from ipuc.importer.branch import branch_nodes
from ipuc.importer.check import Supported, standard
from ipuc.importer.deciding import SHAPE_ONLY, trace
from ipuc.importer.limits import Budget, asked_elements, repeats_too_much
from ipuc.types import TensorType

_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})

_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


def names_read(nodes: Iterator[onnx.NodeProto] | list[onnx.NodeProto]) -> set[str]:
    """Names that nodes read, those inside their sub-graphs included."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                found |= names_read(list(graph.node)) | {one.name for one in graph.output}
    return found


#: What inference for an operator of ours may raise on inputs that it was not made for.
_MISFITS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


class OwnFunction(Protocol):
    """An operator of ours that a model calls as a function of its own.

    Attributes:
        body: the function in ONNX's text syntax.
    """

    body: ClassVar[str]

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Types of the named outputs, from those of the inputs."""


@dataclass(slots=True)
class Walk:
    """State of the pass.

    Attributes:
        opsets: operator set by domain.
        supported: see `ipuc.importer.check.Supported`.
        budget: bytes for constants.
        types: of every value known so far.
        constants: values known at compile time.
        read: names that somebody reads; other optional outputs are dropped.
        inputs: the data inputs.
        functions: functions of the model that are compiled as they are.
        nodes: the result, in order.
        problems: unsupported nodes and why.
        undecided: values that must be constant and are not, with the node that asks.
        blocked: values without a type, because something before them failed.
    """

    opsets: dict[str, int]
    supported: Supported
    budget: Budget
    types: dict[str, TensorType]
    constants: dict[str, NDArray[Any]]
    read: set[str]
    inputs: list[str]
    functions: Mapping[tuple[str, str], OwnFunction] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)
    undecided: list[tuple[str, str]] = field(default_factory=list)
    blocked: set[str] = field(default_factory=set)
    _soft: set[str] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)
    _made_by: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def run(self, protos: list[onnx.NodeProto]) -> None:
        """Visit all nodes, then report everything that is wrong.

        Raises:
            UnsupportedOp: nodes cannot be compiled; all are listed.
            UndecidedShape: shapes depend on inputs that are not constant.
            ShapeError: the inputs of a node do not fit it.
            TooLarge: a value exceeds the limit.
        """
        stack = protos[::-1]
        while stack:
            proto = stack.pop()
            if proto.op_type == "If" and not standard(proto.domain):
                stack.extend(self._branch(proto)[::-1])
            else:
                self._visit(proto)
        if self.problems:
            count = len(self.problems)
            listed = "".join(f"\n    {line}" for line in self.problems)
            raise UnsupportedOp(
                f"{count} node{'s' * (count > 1)} of this model cannot be compiled:{listed}",
                fix="replace these nodes in the model, or export it with other operators",
            )
        if self.undecided:
            raise self._undecided_error()

    def _undecided_error(self) -> UndecidedShape:
        deciding = trace([value for value, _ in self.undecided], self._made_by, self.inputs)
        where = ", ".join(dict.fromkeys(node for _, node in self.undecided))
        if not deciding:
            return UndecidedShape(
                "shapes depend on values that change from run to run",
                where=where,
                fix="export the model with fixed shapes",
            )
        listed = ", ".join(f'"{name}"' for name in deciding)
        many = len(deciding) > 1
        return UndecidedShape(
            f"input{'s' * many} {listed} decide{'s' * (not many)} a shape, an axis or a branch, "
            "so the program cannot be built without the value",
            where=where,
            fix="give the value: " + " ".join(f"--const {name}=FILE.npy" for name in deciding),
            values=tuple(deciding),
        )

    def _unique(self, proto: onnx.NodeProto) -> str:
        base = proto.name or f"{proto.op_type}_{len(self._names)}"
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def _block(self, outputs: tuple[str, ...], problem: str = "") -> None:
        self.blocked.update(name for name in outputs if name)
        if problem:
            self.problems[problem] = None

    def _branch(self, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Choose the branch of an If, whose condition must be constant."""
        condition = proto.input[0]
        outputs = tuple(proto.output)
        where = f'If node "{self._unique(proto)}"'
        for name in outputs:
            self._made_by[name] = ("If", (condition,))
        if condition in self.constants:
            nodes = branch_nodes(proto, bool(self.constants[condition].ravel()[0]))
            self.read |= names_read(nodes)
            return nodes
        if condition not in self.blocked:
            self.undecided.append((condition, where))
        self._block(outputs)
        return []

    def _visit(self, proto: onnx.NodeProto) -> None:
        domain, op = standard(proto.domain), proto.op_type
        opset = self.opsets.get(domain, 0)
        name, outputs = self._unique(proto), tuple(proto.output)
        where = f'{op} node "{name}"'
        self._made_by |= {out: (op, tuple(proto.input)) for out in outputs if out}
        schema = schema_of(op, opset, domain)
        function = self.functions.get((domain, op))
        if schema is None and function is None:
            self._block(outputs, f"{where}: {unknown_op(op, domain, opset)}")
            return
        if op in _LOOPS and not domain:
            self._block(outputs, f"{where}: loops over sub-graphs are not supported")
            return
        if op == "Constant" and not domain:
            self._constant(proto, where)
            return
        try:
            attributes = attributes_from_proto(proto.attribute)
        except TypeError as error:
            self._block(outputs, f"{where}: {error}")
            return
        node = Node(
            name, op, tuple(proto.input), outputs, attributes, domain, opset, origins=(name,)
        )
        if schema is not None:
            node.outputs = self._wanted_outputs(node, schema)
        if any(one in self.blocked for one in node.inputs):
            self._behind_a_block(node)
        else:
            self._settle(node, function)

    def _wanted_outputs(self, node: Node, schema: onnx.defs.OpSchema) -> tuple[str, ...]:
        """Drop optional outputs that nobody reads: old operator sets give them no shape."""
        kinds = [one.option for one in schema.outputs]
        return tuple(
            "" if at < len(kinds) and kinds[at] == _OPTIONAL and out not in self.read else out
            for at, out in enumerate(node.outputs)
        )

    def _behind_a_block(self, node: Node) -> None:
        """Report a node that is unsupported whatever its types, unless it would be folded."""
        self._block(node.outputs)
        known = self._soft | self.constants.keys()
        if node.op in SHAPE_ONLY or all(name in known for name in node.inputs if name):
            self._soft.update(node.outputs)
            return
        reason = self.supported(node.domain, node.op, node.opset)
        if reason is not None:
            self._block(node.outputs, f"{node.where()}: {reason}")

    def _constant(self, proto: onnx.NodeProto, where: str) -> None:
        attribute = next(iter(proto.attribute))
        if attribute.name.startswith("value_string"):
            self._block(tuple(proto.output), f"{where}: strings have no meaning on an IPU")
            return
        if attribute.name == "value":
            if attribute.t.data_type == onnx.TensorProto.STRING:
                self._block(tuple(proto.output), f"{where}: strings have no meaning on an IPU")
                return
            array = tensors.to_array(attribute.t, None, self.budget)
        elif attribute.name == "sparse_value":
            array = tensors.dense(attribute.sparse_tensor, None, self.budget)
        else:
            dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
            value = onnx.helper.get_attribute_value(attribute)
            array = np.asarray(value if np.isscalar(value) else list(value), dtype)
        self._add_constant(proto.output[0], array)

    def _add_constant(self, name: str, array: NDArray[Any]) -> None:
        self.constants[name] = array
        self.types[name] = constant_type(array)

    def _settle(self, node: Node, function: OwnFunction | None) -> None:
        """Compute a node whose inputs are constant; give any other static types."""
        values = [name for name in node.inputs if name]
        folds = not node.domain and node.op not in RANDOM and not self._trains(node)
        shape_only = folds and node.op in SHAPE_ONLY
        if folds and (shape_only or all(name in self.constants for name in values)):
            if self._fold(node, shape_only):
                return
        elif (undecided := deciding_values(node, self.constants)) and function is None:
            self.undecided += [(value, node.where()) for value in undecided]
            self._block(node.outputs)
            return
        reason = None
        if function is None:
            reason = self.supported(node.domain, node.op, node.opset)
        if reason is not None:
            self.problems[f"{node.where()}: {reason}"] = None
        if function is None:
            found = infer_partial(node, self.types, self.constants)
        else:
            found = self._types_of_own(node, function)
        self._keep(node, found, reason)

    def _types_of_own(self, node: Node, function: OwnFunction) -> list[PartialType]:
        """Infer an operator of ours in a file that anybody may have written."""
        try:
            kinds = function.infer(node, [self.types.get(name) for name in node.inputs])
        except _MISFITS as error:
            raise ShapeError(
                f"inputs or attributes do not fit: {type(error).__name__} {error}",
                where=node.where(),
                fix="export the training graph again",
            ) from error
        return [PartialType(kind.dtype, kind.shape) for kind in kinds]

    def _trains(self, node: Node) -> bool:
        """Whether a Dropout draws random numbers: since operator set 12 a third input says so."""
        if node.op != "Dropout" or len(node.inputs) < 3 or not node.inputs[2]:
            return False
        mode = self.constants.get(node.inputs[2])
        return mode is None or bool(mode.ravel()[0])

    def _keep(self, node: Node, partials: list[PartialType], reason: str | None) -> None:
        """Add a node to the result, if its outputs are static tensors."""
        for name, partial in zip([out for out in node.outputs if out], partials, strict=True):
            kind = partial.settled()
            if kind is not None and kind.dtype != "object":
                self.budget.hold(kind.size * kind.itemsize, f'value "{name}" of {node.where()}')
                self.types[name] = kind
                continue
            if not partial.dtype or partial.dtype == "object":
                why = "makes a sequence, an optional, a map or strings, not a tensor of numbers"
            else:
                why = f'ONNX\'s shape inference gives no static shape to its output "{name}"'
            self._block((name,), "" if reason else f"{node.where()}: {why}")
        self.nodes.append(node)

    def _fold(self, node: Node, shape_only: bool) -> bool:
        """Compute a node and keep its outputs as constants; False if it stays a node."""
        where = node.where()
        asked = asked_elements(node, self.types, self.constants)
        self.budget.hold(asked, where)
        if node.op == "Range":
            # Exporters write limits of shape [1], which inference refuses and engines accept.
            partials = [PartialType(self.types[node.inputs[0]].dtype, (asked,))]
        else:
            partials = infer_partial(node, self.types, self.constants)
        if any(not partial.dtype or partial.dtype == "object" for partial in partials):
            return False
        kinds = [partial.settled() for partial in partials]
        settled = [kind for kind in kinds if kind is not None]
        if shape_only:
            # A view of one element: shapes are read without allocating what has them.
            seen = self.types[node.inputs[0]]
            arrays = {node.inputs[0]: np.broadcast_to(np.zeros((), seen.dtype), seen.shape)}
        else:
            arrays = {name: self.constants[name] for name in node.inputs if name}
        if len(settled) == len(kinds) and repeats_too_much(node, arrays, settled):
            return False
        size = sum(kind.size * kind.itemsize for kind in settled)
        if len(settled) < len(kinds):
            # The number of elements found (NonZero, Unique, ...) is at most that of the inputs,
            # each with an int64 index per dimension.
            size += sum(8 * one.size * max(one.ndim, 1) for one in arrays.values())
        self.budget.take(size, where)
        try:
            results = evaluate(node, arrays)
        except UnsupportedOp:
            return False
        for name, array, kind in zip(
            [out for out in node.outputs if out], results, kinds, strict=True
        ):
            self._add_constant(name, _as_declared(array, kind, where))
        return True


def _as_declared(array: NDArray[Any], kind: TensorType | None, where: str) -> NDArray[Any]:
    """Give a computed constant the type that inference promised (0-d results lose theirs)."""
    if kind is None:
        return array
    if array.size != kind.size:
        raise ShapeError(f"computed {constant_type(array)}, inferred {kind}", where=where)
    return array.astype(kind.dtype, copy=False).reshape(kind.shape)
