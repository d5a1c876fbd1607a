"""What an operator is to us: which forms of it can be compiled, and how it becomes vertices."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from ipuc.graph.ir import Graph, Node
from ipuc.planner.context import Context
from ipuc.types import TensorType

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
    """

    name: ClassVar[str]
    domain: ClassVar[str] = ""
    shape_inputs: ClassVar[tuple[int, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the operator."""
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            _REGISTRY[cls.domain, cls.name] = cls()

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Why this form of the operator cannot be compiled; None if it can."""
        del node, graph
        return None

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Uses to be tested besides ONNX's own node tests; needed where ONNX has none."""
        return ()

    @abstractmethod
    def lower(self, ctx: Context, node: Node) -> None:
        """Add the node's vertices, copies or views, and define its outputs."""


def operators() -> dict[tuple[str, str], Op]:
    """Every operator by (domain, name)."""
    package = importlib.import_module("ipuc.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ipuc.ops.{module.name}")
    return dict(sorted(_REGISTRY.items()))
