"""Outlining: identical layers share one program function.

A function's vertices, variables and code exist once, however many layers call it. Each call copies
what its layer reads into the function's arguments and the result out of it; the copies are charged.
Constants are copied too: a layer's weights lie like the argument, so that no byte changes tile.

Source: PopLibs of winter 2016/17, whose networks built the graph of a convolution once for all
layers of equal shape; popart's outlining of subgraphs is the same idea.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.outlined import Outline
from ipuc.program.builder import Builder
from ipuc.program.family import Origin, VertexFamily
from ipuc.program.steps import ComputeSet, Execute, If, Repeat, Step, Sweep, walk
from ipuc.program.steps import Sequence as Steps
from ipuc.program.tensor import Tensor, View, coalesce, of_variable


@dataclass(slots=True)
class _Function:
    """A function that layers share.

    Attributes:
        name: of the function.
        arguments: the variables that hold its arguments.
        results: where its results lie.
        outputs: values that the first layer makes, after which those of the function are called.
        touched: variables that its vertices touch.
        plan: the plan record of its layers.
        origins: layers and passes that call it.
    """

    name: str
    arguments: list[int]
    results: list[Tensor]
    outputs: tuple[str, ...]
    touched: set[int]
    plan: dict[str, Any]
    origins: list[Origin] = field(default_factory=list)


class Outliner:
    """Lowers nodes as calls of functions.

    A node of no elements is lowered as it is. So is one whose key no other has, except at
    granularity `worker`: there every convolution is a graph of its own with copies in and out, so
    that layers are islands of the vertex graph.

    Args:
        ctx: the lowering.
        known: all operators.
        firsts: numbers of the first nodes of every IPU but the first.
    """

    def __init__(
        self, ctx: Context, known: Mapping[tuple[str, str], Op], firsts: Sequence[int] = ()
    ) -> None:
        self._ctx = ctx
        self._functions: dict[Hashable, _Function] = {}
        keys: list[Hashable] = []
        for number, node in enumerate(ctx.graph.nodes):
            op = known[node.domain, node.op]
            if op.outlined:
                ctx.node, ctx.builder.layer = node, node.name
                ipu = sum(first <= number for first in firsts)
                keys.append(self._key(node, op.outline(ctx, node), ipu))
        ctx.node, ctx.builder.layer = None, ""
        self._uses = Counter(keys)

    def _key(self, node: Node, outline: Outline, ipu: int) -> Hashable:
        ctx = self._ctx
        memory, pinned = ctx.choices.memory(ctx.layer), ctx.choices.pinned(node.name)
        return outline.key, ctx.format, memory, repr(pinned), ipu

    def lower(self, op: Op, node: Node) -> bool:
        """Lower a node as a call, if it is one to share.

        Returns:
            Whether it was; nothing is done if not.
        """
        if not op.outlined:
            return False
        ctx, builder = self._ctx, self._ctx.builder
        outline = op.outline(ctx, node)
        key = self._key(node, outline, builder.ipu)
        if self._uses[key] < 2 and ctx.granularity != "worker":
            return False
        given, into = outline.arguments(), outline.into()
        if not all(tensor.size for tensor in given):
            return False
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._define(node, outline, given)
        ctx.plan.update(function.plan)
        pairs = []
        for variable, tensor in zip(function.arguments, given, strict=True):
            argument = ctx.arguments[variable]
            pairs.append((argument, self._laid(tensor, argument, function.touched)))
        builder.copy_together(pairs, f"{node.outputs[0]} arguments")
        outputs = tuple(name for name in node.outputs if name)
        builder.call(function.name, list(zip(function.outputs, outputs, strict=True)))
        function.origins.append(Origin(builder.layer, builder.layer_pass))
        results: list[Tensor] = []
        for name, made, place in zip(outputs, function.results, into, strict=True):
            if place is None:
                results.append(_copied(builder, made, name))
            else:
                builder.copy_into(place, made, name)
                results.append(place)
        outline.define(results)
        return True

    def _define(self, node: Node, outline: Outline, given: Sequence[Tensor]) -> _Function:
        """Lower the first layer of a kind on arguments."""
        ctx, builder = self._ctx, self._ctx.builder
        name = node.name
        arguments: list[int] = []
        stand_ins: list[Tensor] = []
        for tensor in given:
            called = f"{name} argument {len(arguments)}"
            if tensor.view() is not None:
                made, like = _alike(builder, tensor, called)
                builder.like.update({new: old for old, new in like.items()})
            else:
                made = builder.variable(called, tensor.dtype, tensor.shape)
            variable = builder.one_view(made).variable
            ctx.arguments[variable] = made
            arguments.append(variable)
            stand_ins.append(made)
        with builder.function(name):
            results = list(outline.lower(stand_ins))
        outputs = tuple(name for name in node.outputs if name)
        touched = {
            access.variable
            for step in walk(builder.functions[name])
            if isinstance(step, Execute | Sweep)
            for family in step.compute_set.families
            for access in family.fields.values()
        }
        return _Function(name, arguments, results, outputs, touched, dict(ctx.plan))

    def _laid(self, tensor: Tensor, argument: Tensor, touched: set[int]) -> Tensor:
        """Let a constant that is copied into an argument lie as that does, if it may.

        An argument that no vertex touches lies as the first that was copied into it.
        """
        ctx, builder = self._ctx, self._ctx.builder
        view, wanted = tensor.view(), argument.view()
        if view is None or wanted is None or view.variable not in builder.constants:
            return tensor
        axes = [coalesce(axis) for axis in wanted.axes]
        if _axes(view) != _axes(wanted) and all(len(axis) <= 1 for axis in axes):
            steps = [axis[0][1] if axis else 0 for axis in axes]
            order = sorted(range(len(steps)), key=lambda axis: -steps[axis])
            tensor = ctx.relaid(tensor, order)
            view = builder.one_view(tensor)
        held = builder.variables[view.variable]
        alike = _axes(view) == _axes(wanted) and held.size == tensor.size
        if alike and held.mapping is None and wanted.variable in touched:
            builder.like.setdefault(view.variable, wanted.variable)
        return tensor

    def finish(self) -> None:
        """Tell every family of a function which layers call it."""
        functions = self._ctx.builder.functions
        for function in self._functions.values():
            origins = tuple(dict.fromkeys(function.origins))
            body = _with_origins(functions[function.name], origins, {})
            assert isinstance(body, Steps)
            functions[function.name] = body


def _axes(view: View) -> tuple[Any, ...]:
    """The layout of a view: two of equal axes and offsets have their elements at equal places."""
    return view.offset, tuple(coalesce(axis) for axis in view.axes)


def _forward(view: View) -> bool:
    """Whether all axes of a view run through its variable forwards."""
    return all(stride >= 0 for axis in view.axes for _, stride in axis)


def _alike(builder: Builder, tensor: Tensor, name: str) -> tuple[Tensor, dict[int, int]]:
    """A new tensor that lies in variables as another does in its own, if those hold no more.

    Returns:
        The tensor, and the new variables by the ones that they are like; none of a tensor with
        constant fills, of parts of variables, or with axes turned round, for which a row-major
        variable is made.
    """
    sources = [piece.source for piece in tensor.pieces]
    held = list(dict.fromkeys(s.variable for s in sources if isinstance(s, View)))
    whole = sum(builder.variables[id_].size for id_ in held) == tensor.size
    if not whole or not all(isinstance(source, View) and _forward(source) for source in sources):
        return builder.variable(name, tensor.dtype, tensor.shape), {}
    new: dict[int, int] = {}
    for id_ in held:
        old = builder.variables[id_]
        new[id_] = builder.one_view(builder.variable(name, old.dtype, old.shape)).variable
        builder.variables[new[id_]].mapping = old.mapping
    pieces = tuple(
        replace(piece, source=replace(piece.source, variable=new[piece.source.variable]))
        if isinstance(piece.source, View)
        else piece
        for piece in tensor.pieces
    )
    return replace(tensor, pieces=pieces), new


def _copied(builder: Builder, tensor: Tensor, name: str) -> Tensor:
    """Copy a result out of a function, into variables that lie as the function's do."""
    made, new = _alike(builder, tensor, name)
    if not new:
        builder.copy_into(made, tensor, name)
        return made
    pairs = [[of_variable(builder.variables[id_]) for id_ in pair[::-1]] for pair in new.items()]
    builder.copy_together([(into, out_of) for into, out_of in pairs], name)
    for id_, copy in new.items():
        builder.follow(copy, id_)
    return made


def _with_origins(step: Step, origins: tuple[Origin, ...], made: dict[int, ComputeSet]) -> Step:
    """A tree of steps whose families have these origins.

    Args:
        step: the tree.
        origins: of all families.
        made: new compute sets by the `id` of the old ones; filled.
    """

    def tell(family: VertexFamily) -> VertexFamily:
        return replace(family, origins=origins)

    match step:
        case Execute() | Sweep():
            old = step.compute_set
            if id(old) not in made:
                made[id(old)] = ComputeSet(old.name, tuple(map(tell, old.families)))
            return replace(step, compute_set=made[id(old)])
        case Steps():
            return Steps(tuple(_with_origins(child, origins, made) for child in step.steps))
        case Repeat():
            return Repeat(step.count, _with_origins(step.body, origins, made))
        case If():
            then = _with_origins(step.then, origins, made)
            return If(step.condition, then, _with_origins(step.otherwise, origins, made))
        case _:
            return step
