"""Program steps: a tree of what the machine does, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipuc.program.family import Access, VertexFamily
from ipuc.program.tensor import Tensor
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class ComputeSet:
    """Vertices that run in one superstep, in any order."""

    name: str
    families: tuple[VertexFamily, ...]


@dataclass(frozen=True, slots=True)
class Execute:
    """Exchange what the vertices read, run them, send what they wrote home."""

    compute_set: ComputeSet


@dataclass(frozen=True, slots=True)
class Sweep:
    """Run a compute set once for each position of its families' first grid axis, in order.

    Serial splits and accumulation chains: every position is a superstep of its own.
    """

    compute_set: ComputeSet

    @property
    def count(self) -> int:
        """Number of supersteps."""
        return max((family.grid[0] for family in self.compute_set.families), default=0)

    def at(self, index: int) -> ComputeSet:
        """The compute set of one superstep."""
        chosen = [f.slice(0, index) for f in self.compute_set.families if index < f.grid[0]]
        return ComputeSet(f"{self.compute_set.name}[{index}]", tuple(chosen))


@dataclass(frozen=True, slots=True)
class Move:
    """One strided piece of a copy; a `value` instead of a source fills the destination.

    `destination` and `source` have a grid of one point and equal window shapes.
    """

    destination: Access
    source: Access | None
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Copy:
    """Rearrange data: no vertices, but exchange and memory traffic that the profile charges."""

    name: str
    moves: tuple[Move, ...]
    layer: str = ""


@dataclass(frozen=True, slots=True)
class StreamIn:
    """Host to device: write the array called `name` into a variable."""

    name: str
    variable: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class StreamOut:
    """Device to host: read a tensor as the array called `name`."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Sequence:
    """Steps one after another."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A body run `count` times."""

    count: int
    body: Step


@dataclass(frozen=True, slots=True)
class If:
    """One of two bodies, by one element of a bool or int32 variable."""

    condition: int
    then: Step
    otherwise: Step


@dataclass(frozen=True, slots=True)
class Call:
    """Run a program Function: its vertices and variables exist once, however often it is called.

    Attributes:
        function: its name.
        layer: the layer that calls it, to which its cycles belong; "" leaves them to the layers
            of the steps that run.
        layer_pass: of that layer.
        names: values by their name in the function, and what they are called here. Random bits of
            roundings depend on the names of values, and layers must not share them.
    """

    function: str
    layer: str = ""
    layer_pass: str = "forward"
    names: tuple[tuple[str, str], ...] = ()


Step = Execute | Sweep | Copy | StreamIn | StreamOut | Sequence | Repeat | If | Call


def belongs(call: Call, outer: Call | None) -> Call | None:
    """Of nested calls, the one that says to which layer the steps belong: the innermost of them."""
    return call if call.layer else outer


def walk(step: Step) -> Iterator[Step]:
    """Every step of a tree once, parents first; bodies of functions are not entered."""
    yield step
    children: tuple[Step, ...] = ()
    if isinstance(step, Sequence):
        children = step.steps
    elif isinstance(step, Repeat):
        children = (step.body,)
    elif isinstance(step, If):
        children = (step.then, step.otherwise)
    for child in children:
        yield from walk(child)
