"""What an operator is to us: which forms of it can be compiled, and how it becomes vertices."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.planner.context import Context

_REGISTRY: dict[tuple[str, str], Op] = {}


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

    @abstractmethod
    def lower(self, ctx: Context, node: Node) -> None:
        """Add the node's vertices, copies or views, and define its outputs."""


def operators() -> dict[tuple[str, str], Op]:
    """Every operator by (domain, name)."""
    package = importlib.import_module("ipuc.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ipuc.ops.{module.name}")
    return dict(sorted(_REGISTRY.items()))
