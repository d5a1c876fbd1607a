"""The record of a whole program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ipuc.program.family import VertexFamily
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Repeat,
    Sequence,
    Step,
    Sweep,
    belongs,
    walk,
)
from ipuc.program.tensor import Tensor
from ipuc.program.variables import Variable
from ipuc.target import Target
from ipuc.types import TensorType


@dataclass(slots=True)
class Layer:
    """One layer of the model, for reports.

    Attributes:
        name: readable and unique; families name it in their origins.
        op: ONNX operator.
        nodes: ONNX nodes folded into it.
        outputs: values it makes.
        plan: the chosen plan and the runners-up, itemised, as JSON; empty if there was no choice.
        layer: the forward layer that it belongs to; its own name outside training.
        layer_pass: "forward", "backward", "weight update" or "loss".
        label: the forward layer for people: "Conv 2 - 5x5".
        sizes: what goes in and out: "[64 in, 192 out]"; empty if there is nothing to say.
    """

    name: str
    op: str
    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    plan: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    layer_pass: str = "forward"
    label: str = ""
    sizes: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A value that stays on the chip from run to run.

    Attributes:
        tensor: where it lies; its variable has initial contents.
        dtype: ONNX element type of the array that the host gets.
    """

    tensor: Tensor
    dtype: str


@dataclass(slots=True)
class Program:
    """What a compile makes, and all that run, render and profile read.

    Attributes:
        target: the machine.
        variables: by id.
        constants: initial contents of variables, flat: id -> array[size].
        main: the steps.
        functions: bodies that `Call` steps name.
        inputs: ONNX types of the arrays the host gives, by name, in order.
        outputs: ONNX types of the arrays the host gets, by name, in order.
        values: where each graph value lies once its layer has run.
        state: what stays on the chip from run to run, by name: trained weights, the optimizer's
            numbers, running statistics. The host reads it when it wants to.
        layers: in program order.
        metadata: model name and digest, granularity, precision, options: JSON values.
        graph_text: the op graph as JSON, for readers of the file; empty if built by hand.
        derived: what others have worked out from the program, each under a key of its own, and
            need not work out again; it is not saved, and may be emptied at any time.
    """

    target: Target
    variables: list[Variable]
    constants: dict[int, NDArray[Any]]
    main: Sequence
    functions: dict[str, Sequence] = field(default_factory=dict)
    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: dict[str, TensorType] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    graph_text: str = ""
    state: dict[str, Held] = field(default_factory=dict)
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def bodies(self) -> Iterator[Step]:
        """Every step of the main program and of every function, each once.

        They come in program order; a function's where it is called first, what nobody calls last.
        """
        opened: set[str] = set()
        yield from self._opened(self.main, opened)
        for name, body in self.functions.items():
            if name not in opened:
                opened.add(name)
                yield from self._opened(body, opened)

    def _opened(self, body: Step, opened: set[str]) -> Iterator[Step]:
        """The steps of a tree, and of the functions that nobody has called before."""
        for step in walk(body):
            yield step
            if isinstance(step, Call) and step.function not in opened:
                opened.add(step.function)
                yield from self._opened(self.functions.get(step.function, Sequence(())), opened)

    def executed(self) -> Iterator[tuple[Step, Call | None]]:
        """Steps in the order in which they run, functions at every call, loop bodies once.

        Each comes with the call that says to which layer it belongs, if one does. Calls and
        sequences are opened; a loop or branch comes before what is in it.
        """
        yield from self._executed(self.main, None)

    def _executed(self, step: Step, call: Call | None) -> Iterator[tuple[Step, Call | None]]:
        match step:
            case Sequence():
                for child in step.steps:
                    yield from self._executed(child, call)
            case Call():
                yield from self._executed(self.functions[step.function], belongs(step, call))
            case Repeat():
                yield step, call
                yield from self._executed(step.body, call)
            case If():
                yield step, call
                yield from self._executed(step.then, call)
                yield from self._executed(step.otherwise, call)
            case _:
                yield step, call

    def compute_sets(self) -> list[ComputeSet]:
        """Every compute set once, in program order; a sweep's counts as one."""
        found: dict[int, ComputeSet] = {}
        for step in self.bodies():
            if isinstance(step, Execute | Sweep):
                found.setdefault(id(step.compute_set), step.compute_set)
        return list(found.values())

    def copies(self) -> list[Copy]:
        """Every copy step once, in program order."""
        return [step for step in self.bodies() if isinstance(step, Copy)]

    def families(self) -> Iterator[VertexFamily]:
        """Every vertex family once."""
        for compute_set in self.compute_sets():
            yield from compute_set.families

    def touches(self, variable: int) -> bool:
        """Whether a vertex or a copy reads or writes a variable."""
        accesses = itertools.chain(
            (access for family in self.families() for access in family.fields.values()),
            (move.destination for copy in self.copies() for move in copy.moves),
            (move.source for copy in self.copies() for move in copy.moves if move.source),
        )
        return any(access.variable == variable for access in accesses)

    def calls(self) -> list[str]:
        """Names of functions in call order."""
        return [step.function for step in self.bodies() if isinstance(step, Call)]
