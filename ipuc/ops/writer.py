"""What writes gradients, losses and optimizers into an op graph, node by node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.bodies import DOMAIN
from ipuc.graph.infer import infer
from ipuc.graph.ir import Graph, Node, constant_type
from ipuc.ops.define import Function, operators
from ipuc.types import Shape, TensorType

#: ONNX's number for float32 (TensorProto.FLOAT).
_FLOAT = 1


class GraphWriter:
    """Appends nodes to a graph, in place; names are made unique and types inferred.

    Args:
        graph: gets the nodes, their values' types, and new constants.

    Attributes:
        layer: forward node to which new nodes belong.
        layer_pass: what new nodes do in training.
        opset: standard operator set of new nodes, 18 or later.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layer = ""
        self.layer_pass = "backward"
        self.opset = max(graph.opset, 18)
        self._names = {node.name for node in graph.nodes}
        self._values: dict[tuple[str, Shape, bytes], str] = {}

    # -- what is known -----------------------------------------------------------------------

    def type(self, value: str) -> TensorType:
        """Type of a value."""
        return self.graph.types[value]

    def shape(self, value: str) -> Shape:
        """Shape of a value."""
        return self.graph.types[value].shape

    def known(self, value: str) -> NDArray[Any] | None:
        """Contents of a constant; None of what is computed, or changes."""
        return self.graph.constants.get(value)

    # -- nodes -------------------------------------------------------------------------------

    def op(self, op: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Append a node with one output, and name that.

        Args:
            op: operator.
            inputs: values; "" for an optional one that is left out.
            name: of the output; made unique, and made up if empty.
            domain: of the operator; `own` is shorter for ours.
            **attributes: of the node; those that are None are left out.
        """
        return self.ops(op, *inputs, names=[name], domain=domain, **attributes)[0]

    def own(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node of our own domain with one output, and name that."""
        return self.op(op, *inputs, name=name, domain=DOMAIN, **attributes)

    def ops(
        self, op: str, *inputs: str, names: Sequence[str], domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Append a node with several outputs, one for each of `names`, and name them.

        Raises:
            ShapeError: the inputs do not fit the operator.
        """
        of = self.layer or "loss"
        made = self._fresh(f"{of}/{self.layer_pass}/{op}", self._names)
        self._names.add(made)
        outputs: list[str] = []
        for position, wanted in enumerate(names):
            base = wanted or (made if len(names) == 1 else f"{made}/{position}")
            outputs.append(self._fresh(base, {*outputs}))
        node = Node(
            made,
            op,
            inputs,
            tuple(outputs),
            {key: value for key, value in attributes.items() if value is not None},
            domain,
            1 if domain else self.opset,
            (),
            self.layer,
            self.layer_pass,
        )
        self.graph.types.update(zip(outputs, infer_types(node, self.graph), strict=True))
        self.graph.nodes.append(node)
        return node.outputs

    def also(self, node: Node, position: int) -> str:
        """An optional output of a node that is in the graph, which gets it if it had none."""
        outputs = [*node.outputs, *[""] * (position + 1 - len(node.outputs))]
        if not outputs[position]:
            outputs[position] = self._fresh(f"{node.name}/{position}", ())
            at = next(i for i, one in enumerate(self.graph.nodes) if one.name == node.name)
            asked = replace(node, outputs=tuple(outputs))
            kinds = infer_types(asked, self.graph)
            self.graph.types.update(zip(filter(None, outputs), kinds, strict=True))
            self.graph.nodes[at] = asked
        return outputs[position]

    def _fresh(self, base: str, more: Iterable[str]) -> str:
        taken, name, count = more, base, 1
        while name in taken or name in self.graph.types:
            count += 1
            name = f"{base}_{count}"
        return name

    def constant(self, array: NDArray[Any], name: str = "constant") -> str:
        """Add a constant, or find one of the same type and contents that this writer added."""
        values = np.asarray(array)
        key = (values.dtype.name, values.shape, values.tobytes())
        if key not in self._values:
            made = self._fresh(name, ())
            self.graph.constants[made] = values
            self.graph.types[made] = constant_type(values)
            self._values[key] = made
        return self._values[key]

    def integers(self, numbers: Iterable[int]) -> str:
        """A constant vector of 64-bit integers: axes, a shape."""
        return self.constant(np.asarray(list(numbers), np.int64), "integers")

    def scalar(self, number: float, like: str) -> str:
        """A constant scalar of the element type of another value."""
        return self.constant(np.asarray(number, self.type(like).dtype), f"number {number:g}")

    # -- what many gradients need ------------------------------------------------------------

    def mul(self, a: str, b: str) -> str:
        """A * b, broadcast."""
        return self.op("Mul", a, b)

    def scaled(self, x: str, factor: float) -> str:
        """X * factor; x itself if the factor is 1."""
        return x if factor == 1 else self.mul(x, self.scalar(factor, x))

    def reshaped(self, x: str, shape: Shape) -> str:
        """X under another shape; x itself if it has it."""
        if self.shape(x) == shape:
            return x
        # Without allowzero a 0 would stand for the extent that x has there.
        allowzero = 1 if 0 in shape else None
        return self.op("Reshape", x, self.integers(shape), allowzero=allowzero)

    def transposed(self, x: str, order: Sequence[int]) -> str:
        """X with its axes in another order."""
        return x if list(order) == sorted(order) else self.op("Transpose", x, perm=list(order))

    def reduced(self, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """The sum of x over axes; x itself if there are none."""
        if not axes:
            return x
        return self.op("ReduceSum", x, self.integers(axes), keepdims=int(keep))

    def sum_to(self, gradient: str, shape: Shape) -> str:
        """Sum a gradient over the axes along which an operand of this shape was broadcast."""
        found = self.shape(gradient)
        new = len(found) - len(shape)
        axes = [*range(new)]
        if found[new:] == shape:
            return self.reduced(gradient, axes, keep=False)
        axes += [new + i for i, n in enumerate(shape) if n == 1 and found[new + i] != 1]
        return self.reshaped(self.reduced(gradient, axes), shape)

    def expanded(self, x: str, shape: Shape) -> str:
        """X broadcast to a shape; x itself if it has it."""
        return x if self.shape(x) == shape else self.op("Expand", x, self.integers(shape))

    def zeros(self, like: str, shape: Shape | None = None) -> str:
        """Zeros of the type of another value, or of its element type and another shape."""
        kind = self.type(like)
        zero = self.constant(np.zeros((), kind.dtype), "zero")
        return self.expanded(zero, kind.shape if shape is None else shape)

    def part(self, x: str, axis: int, begin: int, end: int) -> str:
        """Positions `begin` to `end` of an axis; x itself if that is all of it."""
        if (begin, end) == (0, self.shape(x)[axis]):
            return x
        return self.op("Slice", x, *(self.integers([i]) for i in (begin, end, axis)))

    def padded(self, x: str, ends: Mapping[int, tuple[int, int]]) -> str:
        """Zeros added at both ends of axes; x itself if there are none.

        Args:
            x: a value.
            ends: by axis, how many zeros before and after.
        """
        added = {axis: pair for axis, pair in ends.items() if any(pair)}
        if not added:
            return x
        numbers = [ends[0] for ends in added.values()] + [ends[1] for ends in added.values()]
        return self.op("Pad", x, self.integers(numbers), "", self.integers(added))

    def wide(self, x: str) -> str:
        """X in float32 if it is in halves: for what is rounded more than once on its way."""
        kind = self.type(x).dtype
        return self.op("Cast", x, to=_FLOAT) if kind == "float16" else x

    def like(self, x: str, other: str) -> str:
        """X in the element type of another value."""
        return x if self.type(x).dtype == self.type(other).dtype else self.op("CastLike", x, other)


def infer_types(node: Node, graph: Graph) -> list[TensorType]:
    """Static types of the named outputs of a node, one of ours too."""
    if node.domain == DOMAIN:
        op = operators()[node.domain, node.op]
        assert isinstance(op, Function)
        return op.infer(node, [graph.types[name] if name else None for name in node.inputs])
    return infer(node, graph.types, graph.constants)
