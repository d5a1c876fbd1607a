"""What an operator is to us: which forms of it can be compiled, and how it becomes vertices."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray

from ipuc.errors import InternalError
from ipuc.graph.bodies import DOMAIN
from ipuc.graph.ir import Graph, Node
from ipuc.planner.context import Context
from ipuc.planner.outlined import Outline, outline_of
from ipuc.types import TensorType

if TYPE_CHECKING:
    from ipuc.ops.writer import GraphWriter

_REGISTRY: dict[tuple[str, str], Op] = {}


@dataclass(frozen=True, slots=True)
class Example:
    """A small use of an operator, from which the contract tests make a model with random data.

    Attributes:
        inputs: type of each input, or its value where that matters; None where an optional one is
            left out.
        attributes: of the node.
    """

    inputs: tuple[TensorType | NDArray[Any] | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Op(ABC):
    """One ONNX operator; a subclass in a file of its own is all a new operator needs.

    Class attributes:
        name: ONNX operator name.
        domain: ONNX domain, "" for the standard one.
        shape_inputs: positions of inputs that decide a shape or an axis; their values must be
            known when the model is compiled.
        flat: the result does not change with small changes of the inputs (rounding, signs,
            comparisons), so that no gradient flows through; such an op needs no `gradient`.
        outlined: equal nodes may share one program function; see `ipuc.planner.outlined`.
    """

    name: ClassVar[str]
    domain: ClassVar[str] = ""
    shape_inputs: ClassVar[tuple[int, ...]] = ()
    flat: ClassVar[bool] = False
    outlined: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the operator."""
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            _REGISTRY[cls.domain, cls.name] = cls()

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Why this form of the operator cannot be compiled; None if it can."""
        del node, graph
        return None

    def refuse_gradient(self, node: Node, graph: Graph) -> str | None:
        """Why this form of the operator has no gradient; None if it has one."""
        del node, graph
        return None if self.differentiable() != "no" else "its gradient is not known"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Write the nodes that turn gradients of the outputs into gradients of the inputs.

        Args:
            write: takes the nodes.
            node: of the forward graph; its inputs and outputs may be read.
            upstream: gradient of each output, of its type; "" where none arrives.
            wanted: for each input, whether its gradient is needed.

        Returns:
            For each input its gradient, of the input's type; "" where it is not wanted or 0.
        """
        del write, upstream
        return [""] * len(node.inputs) if self.flat else self._unknown(node, wanted)

    @staticmethod
    def _unknown(node: Node, wanted: Sequence[bool]) -> Sequence[str]:
        raise InternalError(f"no gradient is known for inputs {wanted}", where=node.where())

    @classmethod
    def differentiable(cls) -> Literal["yes", "flat", "no"]:
        """Whether gradients pass: they do, they are 0 everywhere, or nobody has written them."""
        if cls.gradient is not Op.gradient:
            return "yes"
        return "flat" if cls.flat else "no"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Uses to be tested besides ONNX's own node tests; needed where ONNX has none."""
        return ()

    @abstractmethod
    def lower(self, ctx: Context, node: Node) -> None:
        """Add the node's vertices, copies or views, and define its outputs."""

    def outline(self, ctx: Context, node: Node) -> Outline:
        """What decides the node's vertices, and how they are made on other tensors.

        It is asked of operators that are `outlined`, before the first node is lowered and again in
        the node's turn.
        """
        return outline_of(ctx, node, lambda: self.lower(ctx, node))


class Function(Op):
    """An operator of ours: it means what its body, an ONNX function, says.

    Class attributes:
        body: the function in ONNX's text syntax; attributes are named in its signature.
    """

    domain: ClassVar[str] = DOMAIN
    body: ClassVar[str]

    @abstractmethod
    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Types of the outputs, from those of the inputs (None where one is left out).

        Raises:
            ShapeError: the inputs do not fit.
        """


def functions() -> dict[tuple[str, str], Function]:
    """Every operator of ours by (domain, name)."""
    return {key: op for key, op in operators().items() if isinstance(op, Function)}


def operators() -> dict[tuple[str, str], Op]:
    """Every operator by (domain, name)."""
    package = importlib.import_module("ipuc.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ipuc.ops.{module.name}")
    return dict(sorted(_REGISTRY.items()))
