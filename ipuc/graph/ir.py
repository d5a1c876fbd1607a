"""The op graph: ONNX names, attributes and meaning; every type and shape known.

SSA by name, as in ONNX: a value has one producer, and nodes stand in topological order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import InternalError
from ipuc.types import TensorType

#: What an ONNX attribute can hold once it has left protobuf.
Attribute = int | float | str | bytes | list[int] | list[float] | list[str] | NDArray[Any]


@dataclass(slots=True)
class Node:
    """One ONNX operator.

    Attributes:
        name: unique in the graph; the ONNX node's own name where it has one.
        op: operator name, such as "Conv".
        inputs: value names; "" stands for an optional input that is absent.
        outputs: value names; "" stands for an optional output nobody wants.
        attributes: only those that the file gives; op files know the defaults.
        domain: "" for standard ONNX.
        opset: operator set version of that domain which gives the node its meaning.
        origins: the ONNX nodes that this one stands for (itself, and what was folded in).
        layer: the forward node that it belongs to, for what training adds; "" is itself.
        layer_pass: what it does in training: "forward", "backward" (gradients of activations),
            "weight update" (gradients of weights, and the optimizer) or "loss".
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    opset: int = 0
    origins: tuple[str, ...] = ()
    layer: str = ""
    layer_pass: str = "forward"

    @property
    def layer_name(self) -> str:
        """The forward node that it belongs to."""
        return self.layer or self.name

    def where(self) -> str:
        """Say which node this is, for the `where` of an error."""
        return f'{self.op} node "{self.name}"'


@dataclass(frozen=True, slots=True)
class State:
    """A value that stays on the chip from run to run, and that every run changes.

    Attributes:
        output: the graph value that takes its place at the end of a run.
        initial: what it is before the first run, in ONNX's own element type.
        wide: it stays of that type in layers of halves too, as the moments of an optimizer do.
    """

    output: str
    initial: NDArray[Any]
    wide: bool = False


@dataclass(slots=True)
class Graph:
    """A model ready for lowering.

    Attributes:
        name: the model's name (file stem).
        inputs: names of the data inputs, in order (initializers are not inputs).
        outputs: names of the graph outputs, in order; an output may be an input or a constant.
        types: type of every value, constants included.
        constants: arrays of the values known at compile time, in ONNX's own element types.
        nodes: in topological order.
        opset: version of the standard operator set.
        metadata: the model's metadata_props.
        state: values that no node makes and that are updated in place (weights in training,
            state of the optimizer, running statistics), in order.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    types: dict[str, TensorType]
    constants: dict[str, NDArray[Any]]
    nodes: list[Node]
    opset: int
    metadata: dict[str, str] = field(default_factory=dict)
    state: dict[str, State] = field(default_factory=dict)

    def roots(self) -> list[str]:
        """Values that must be computed: the outputs, and what state becomes."""
        return [*self.outputs, *(state.output for state in self.state.values())]

    def producer(self, value: str) -> Node | None:
        """Find the node that makes a value; None for an input or a constant."""
        for node in self.nodes:
            if value in node.outputs:
                return node
        return None

    def consumers(self) -> dict[str, list[Node]]:
        """Map every value to the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers.setdefault(name, []).append(node)
        return readers

    def values(self) -> Iterator[str]:
        """Every value that a node makes, in order."""
        for node in self.nodes:
            yield from (name for name in node.outputs if name)

    def check(self) -> None:
        """Hold the graph to its own rules.

        Raises:
            InternalError: a value used before it is made, made twice, or without a type.
        """
        known = {*self.inputs, *self.constants, *self.state}
        names: set[str] = set()
        for node in self.nodes:
            if node.name in names:
                raise InternalError("two nodes have one name", where=node.where())
            names.add(node.name)
            for name in node.inputs:
                if name and name not in known:
                    raise InternalError(
                        f'value "{name}" is used before it is made', where=node.where()
                    )
            for name in node.outputs:
                if name and name in known:
                    raise InternalError(f'value "{name}" is made twice', where=node.where())
                known.add(name)
        for name in (*known, *self.roots()):
            if name and name not in self.types:
                raise InternalError(f'value "{name}" has no type')
        self._check_kept(known)

    def _check_kept(self, known: set[str]) -> None:
        for name, state in self.state.items():
            if not self.types[name] == self.types[state.output] == constant_type(state.initial):
                raise InternalError(f'state "{name}" changes its type')
            if state.output not in known:
                raise InternalError(f'nothing makes what state "{name}" becomes')
        for name, array in self.constants.items():
            if self.types[name] != TensorType(array.dtype.name, array.shape):
                raise InternalError(f'constant "{name}" does not have its declared type')


def drop_unused(graph: Graph) -> None:
    """Let go of constants that nothing reads and of types of values that are gone, in place."""
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.roots())
    graph.constants = {name: a for name, a in graph.constants.items() if name in read}
    alive = {*graph.inputs, *graph.constants, *graph.state, *graph.values()}
    graph.types = {name: kind for name, kind in graph.types.items() if name in alive}


def constant_type(array: NDArray[Any]) -> TensorType:
    """Type of an array, as a graph records it."""
    return TensorType(np.asarray(array).dtype.name, np.asarray(array).shape)
