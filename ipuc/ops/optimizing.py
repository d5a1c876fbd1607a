"""What ONNX's own optimizers have in common: one step for each of several tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ipuc.codelets.select import Select
from ipuc.graph.ir import Graph, Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import Tensor

#: ONNX's domain of optimizers and of the operator Gradient.
TRAINING = "ai.onnx.preview.training"


@dataclass
class Sums:
    """Arithmetic in float32 on tensors that broadcast; a number stands for a scalar.

    Attributes:
        ctx: the lowering.
        name: begins the names of all results.
    """

    ctx: Context
    name: str
    _count: int = field(default=0)

    def two(self, kind: str, a: Tensor | float, b: Tensor | float) -> Tensor:
        """Apply a BinaryOp to float32 operands."""
        return binary(self.ctx, kind, self._tensor(a), self._tensor(b), self._next(kind))

    def root(self, x: Tensor) -> Tensor:
        """The square root."""
        return unary(self.ctx, "sqrt", x, self._next("sqrt"))

    def scaled(self, x: Tensor, factor: float) -> Tensor:
        """X times a number; x itself if that is 1."""
        return x if factor == 1 else unary(self.ctx, "scale", x, self._next("scale"), factor)

    def pulled(self, gradient: Tensor, x: Tensor, norm: float) -> Tensor:
        """The gradient with that of the regularization, norm * x, added."""
        return self.two("add", self.scaled(x, norm), gradient) if norm else gradient

    def positive(self, count: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
        """A where a count is above 0, else b: a scalar."""
        flag = binary(self.ctx, "gt", count, self._tensor(0.0), self._next("flag"), "bool")
        operands = {"flag": flag, "a": self._tensor(a), "b": self._tensor(b)}
        return elementwise(self.ctx, Select(), operands, "float32", self._next("choice"))

    def read(self, value: str) -> Tensor:
        """A value of the graph in float32."""
        held = self.ctx.tensor(value)
        same = held.dtype == "float32"
        return held if same else self.ctx.cast(held, "float32", f"{self.name} {value}")

    def _tensor(self, operand: Tensor | float) -> Tensor:
        return operand if isinstance(operand, Tensor) else self.ctx.scalar(operand, "float32")

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{self.name} {kind} {self._count}"


class OptimizerStep(Op):
    """An operator with inputs R, T, then X..., G... and states, and outputs X... and states.

    Class attributes:
        states: number of states for each tensor X.
    """

    domain: ClassVar[str] = TRAINING
    states: ClassVar[int]

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Inputs and outputs must come in groups of one length."""
        del graph
        inputs, outputs = 2 + self.states, 1 + self.states
        count = (len(node.inputs) - 2) // inputs
        fits = len(node.inputs) == 2 + count * inputs and len(node.outputs) == count * outputs
        if count and fits and all(node.inputs):
            return None
        return f"it takes R, T and {inputs} inputs for each tensor, and gives {outputs}"

    def groups(self, node: Node) -> Iterator[tuple[list[str], list[str]]]:
        """For each tensor: X, its gradient and states; and the results."""
        names = node.inputs[2:]
        count = len(names) // (2 + self.states)
        for at in range(count):
            yield list(names[at::count]), list(node.outputs[at::count])

    @staticmethod
    def finish(ctx: Context, outputs: list[str], *tensors: Tensor) -> None:
        """Define the results of one group."""
        for name, tensor in zip(outputs, tensors, strict=True):
            if name:
                ctx.define(name, tensor, wide=True)
