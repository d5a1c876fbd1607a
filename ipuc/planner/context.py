"""What lowering an operator needs at hand: the program being built, and the plans made so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.cast import Cast
from ipuc.codelets.rounding import fitted
from ipuc.errors import InternalError
from ipuc.graph.ir import Graph, Node
from ipuc.planner.choices import Choices
from ipuc.planner.precision import FORMATS, Format, Precision
from ipuc.planner.transfer import bring
from ipuc.program.builder import Builder
from ipuc.program.tensor import Fill, Tensor, View, coalesce
from ipuc.target import Target
from ipuc.types import Shape, TensorType, device_dtype

Granularity = Literal["tile", "worker", "fine"]
Item = TypeVar("Item")


@dataclass(slots=True)
class Context:
    """State of one lowering.

    Attributes:
        builder: the program being built.
        graph: the op graph; its constants become variables when a node first reads them.
        granularity: how finely vertices are cut: one per tile, per worker, or finer.
        precision: number formats of the layers.
        saturate: constants too large for a half become the largest one, not infinity.
        plans: plans by the key of their problem, so that equal layers are planned once.
        plan: the plan record of the layer being lowered, if it made a choice.
        choices: what the user decided: memory that each layer may use, and pinned plans.
        node: what is being lowered.
        settled: states that have their new contents.
        arguments: where the arguments of program functions lie, by the variable that holds one.
    """

    builder: Builder
    graph: Graph
    granularity: Granularity = "tile"
    precision: Precision = field(default_factory=Precision)
    saturate: bool = False
    plans: dict[Any, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)
    arguments: dict[int, Tensor] = field(default_factory=dict)
    node: Node | None = None
    settled: set[str] = field(default_factory=set)
    _scalars: dict[tuple[float, str, int], Tensor] = field(default_factory=dict)
    _converted: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    #: The IPU of every value: that of its layer, or of the first layer that reads it.
    _homes: dict[str, int] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        """The forward layer to which what is being lowered belongs: rules go by its name."""
        return self.node.layer_name if self.node is not None else self.builder.layer

    @property
    def target(self) -> Target:
        """The machine."""
        return self.builder.target

    @property
    def format(self) -> Format:
        """Number format of the layer being lowered.

        What an optimizer computes for all layers (steps done, loss scale) is exact.
        """
        node = self.node
        if node is not None and not node.layer and node.layer_pass == "weight update":
            return FORMATS["float32"]
        return self.precision.of(self.layer)

    def dtype(self, value: str, where: str = "") -> str:
        """The type in which the layer being lowered holds a graph value.

        Raises:
            ShapeError: tiles carry no such element type.
        """
        return self.format.dtype(self.graph.types[value].dtype, where or value)

    def partials(self, itemsize: int) -> str:
        """The type of partial sums of floating point elements of a size, in this layer."""
        return self.format.partials if itemsize == 2 else "float32"

    def tensor(self, value: str) -> Tensor:
        """A graph value in the format of the layer being lowered.

        A constant becomes a variable of that type; what another layer left in another format is
        cast, and what lies on another IPU is brought to that of the layer, once for all that ask.

        Raises:
            InternalError: its layer has not been lowered yet.
        """
        lies = self.lies(value)
        wanted, ipu = self.dtype(value), self.builder.ipu
        away = self._homes.setdefault(value, ipu) != ipu
        if lies.dtype == wanted and not away:
            return lies
        key = (value, f"{wanted} on IPU {ipu}" if away else wanted)
        if key not in self._converted:
            name = f"{value} as {wanted}"
            constant = self.graph.constants.get(value)
            if constant is not None and lies.dtype != wanted:
                self._converted[key] = self._constant(name, constant, wanted)
            else:
                here = bring(self.builder, lies, f"{value} to IPU {ipu}") if away else lies
                same = here.dtype == wanted
                self._converted[key] = here if same else self.cast(here, wanted, name)
        return self._converted[key]

    def wide(self, value: str) -> Tensor:
        """A scalar of the graph in its own type, whatever the layer's format is.

        A loss scale may be greater than a half can be.
        """
        known, kind = self.builder.values, self.graph.types[value]
        if value not in known and not kind.shape and value in self.graph.constants:
            known[value] = self.builder.constant(value, self.graph.constants[value])
        return self.lies(value)

    def relaid(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """Lay a constant out with its axes in another order, the outermost first.

        It costs nothing: constants are loaded as the program wants them. So is the argument of a
        function, into which all its callers copy. What is no whole constant or argument, or is used
        by then, stays as it lies.

        Args:
            tensor: one strided view.
            order: of its axes.

        Returns:
            The same elements under the same shape.
        """
        builder, view = self.builder, tensor.view()
        known: list[dict[Any, Tensor]] = [builder.values, self._converted, self.arguments]
        if view is None or not self.lies_where_used(tensor) or not builder.is_fresh(view.variable):
            return tensor
        places = [
            (table, key, made)
            for table in known
            for key, made in table.items()
            if any(_reads(piece.source, view.variable) for piece in made.pieces)
        ]
        if not all(_whole(made) for _, _, made in places) or not _whole(tensor):
            return tensor
        laid = builder.relay(view.variable, tensor.shape, order)
        for table, key, made in places:
            again = laid.reshape(made.shape)
            assert again is not None  # merging and splitting the axes of a whole is a view
            table[key] = again
        return laid

    def lies_where_used(self, tensor: Tensor) -> bool:
        """Whether a tensor is a constant or the argument of a function: those lie where it suits.

        What vertices make lies with them, whatever reads it.
        """
        view = tensor.view()
        if view is None:
            return False
        return view.variable in self.builder.constants or view.variable in self.arguments

    @contextmanager
    def standing_in(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Let graph values be other tensors while the `with` block is lowered.

        Args:
            tensors: by value; in the format of the layer, on its IPU.
        """
        values, homes, converted = self.builder.values, self._homes, self._converted
        kept = {name: (values.get(name), homes.get(name)) for name in tensors}
        aside = {key: converted.pop(key) for key in [*converted] if key[0] in tensors}
        for name, tensor in tensors.items():
            values[name], homes[name] = tensor, self.builder.ipu
        yield
        for key in [key for key in converted if key[0] in tensors]:
            del converted[key]
        converted.update(aside)
        for name, (value, home) in kept.items():
            _put_back(values, name, value)
            _put_back(homes, name, home)

    def _constant(self, name: str, array: NDArray[Any], dtype: str) -> Tensor:
        if dtype == "float16":
            array = fitted(array, dtype, saturate=self.saturate)
        return self.builder.constant(name, array)

    def cast(self, tensor: Tensor, dtype: str, name: str) -> Tensor:
        """Add vertices that convert a tensor."""
        # A plan for work on elements needs a context, so the two modules need each other.
        from ipuc.planner.elementwise import elementwise  # noqa: PLC0415

        made = elementwise(self, Cast(tensor.dtype, dtype), {"x": tensor}, dtype, name)
        return self.builder.reshape(made, tensor.shape)

    def lies(self, value: str) -> Tensor:
        """Where a graph value lies, in whatever format.

        Raises:
            InternalError: its layer has not been lowered yet.
        """
        known = self.builder.values
        if value not in known and value in self.graph.state:
            state = self.graph.state[value]
            array = state.initial
            # Counters and scales are scalars, and exact.
            exact = state.wide or not array.ndim
            dtype = device_dtype(array.dtype.name) if exact else self.dtype(value)
            known[value] = self._constant(value, array, dtype)
        if value not in known and value in self.graph.constants:
            array = self.graph.constants[value]
            known[value] = self._constant(value, array, self.dtype(value))
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

    def define(self, value: str, tensor: Tensor, *, wide: bool = False) -> None:
        """Record where a value lies.

        Args:
            value: its name.
            tensor: where it lies.
            wide: it may be float32 where the layer's format has halves, such as a loss.

        Raises:
            InternalError: the tensor does not have the value's shape or type.
        """
        wanted = self.graph.types[value]
        kinds = {self.dtype(value), *(["float32"] if wide and wanted.is_float else [])}
        if tensor.shape != wanted.shape or tensor.dtype not in kinds:
            raise InternalError(
                f'"{value}" is lowered to {tensor.dtype}{tensor.shape}, its type is {wanted}, '
                f"its layer's format {self.format.name}"
            )
        self.builder.values[value] = tensor
        self._homes[value] = self.builder.ipu

    def scalar(self, value: float, dtype: str, shape: Shape = ()) -> Tensor:
        """A constant, stored once per IPU that uses it, repeated to a shape."""
        key = (value, dtype, self.builder.ipu)
        if key not in self._scalars:
            array = fitted(np.full((1,), value), dtype, saturate=self.saturate)
            self._scalars[key] = self.builder.constant(f"constant {value:g}", array)
        return self._scalars[key].expand(shape or (1,)) if shape else _rank0(self._scalars[key])


def _put_back(table: dict[str, Item], name: str, value: Item | None) -> None:
    if value is None:
        del table[name]
    else:
        table[name] = value


def _reads(source: View | Fill, variable: int) -> bool:
    return isinstance(source, View) and source.variable == variable


def _whole(tensor: Tensor) -> bool:
    """Whether a tensor is a whole variable, row-major."""
    view = tensor.view()
    if view is None or view.offset:
        return False
    factors = coalesce(tuple(factor for axis in view.axes for factor in axis))
    return factors in ((), ((tensor.size, 1),))


def _rank0(tensor: Tensor) -> Tensor:
    made = tensor.reshape(())
    assert made is not None
    return made
