"""What lowering an operator needs at hand: the program being built, and the plans made so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import InternalError
from ipuc.graph.ir import Graph, Node
from ipuc.program.builder import Builder
from ipuc.program.tensor import Tensor
from ipuc.target import Target
from ipuc.types import Shape, TensorType, device_dtype

Granularity = Literal["tile", "worker", "fine"]


@dataclass(slots=True)
class Context:
    """State of one lowering.

    Attributes:
        builder: the program being built.
        graph: the op graph; its constants become variables when a node first reads them.
        granularity: how finely vertices are cut: one per tile, per worker, or finer.
        plans: plans by the key of their problem, so that equal layers are planned once.
        plan: the plan record of the layer being lowered, if it made a choice.
    """

    builder: Builder
    graph: Graph
    granularity: Granularity = "tile"
    plans: dict[Any, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    _scalars: dict[tuple[float, str], Tensor] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        """The machine."""
        return self.builder.target

    def tensor(self, value: str) -> Tensor:
        """Where a graph value lies.

        Raises:
            InternalError: its layer has not been lowered yet.
        """
        known = self.builder.values
        if value not in known and value in self.graph.constants:
            known[value] = self.builder.constant(value, self.graph.constants[value])
        if value not in known:
            raise InternalError(f'value "{value}" is read before it is computed')
        return known[value]

    def inputs(self, node: Node) -> list[Tensor]:
        """All inputs of a node that are present, in order."""
        return [self.tensor(name) for name in node.inputs if name]

    def type(self, value: str) -> TensorType:
        """ONNX type of a value."""
        return self.graph.types[value]

    def constant(self, value: str) -> NDArray[Any] | None:
        """Contents of a value that is known at compile time."""
        return self.graph.constants.get(value)

    def define(self, value: str, tensor: Tensor) -> None:
        """Record where a value lies.

        Raises:
            InternalError: the tensor does not have the value's shape or type.
        """
        wanted = self.graph.types[value]
        device = device_dtype(wanted.dtype, value)
        if tensor.shape != wanted.shape or tensor.dtype != device:
            raise InternalError(
                f'"{value}" is lowered to {tensor.dtype}{tensor.shape}, its type is {wanted}'
            )
        self.builder.values[value] = tensor

    def scalar(self, value: float, dtype: str, shape: Shape = ()) -> Tensor:
        """A constant, stored once per program, repeated to a shape."""
        key = (value, dtype)
        if key not in self._scalars:
            array = np.full((1,), value, dtype)
            self._scalars[key] = self.builder.constant(f"constant {value:g}", array)
        return self._scalars[key].expand(shape or (1,)) if shape else _rank0(self._scalars[key])


def _rank0(tensor: Tensor) -> Tensor:
    made = tensor.reshape(())
    assert made is not None
    return made
