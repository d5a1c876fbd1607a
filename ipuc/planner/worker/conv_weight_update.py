"""Gradients and updates of convolution weights by outer products, by the rules of 2017.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.conv_weight_update import ConvWeightUpdate
from ipuc.codelets.zero import Zero
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve_weight_gradient
from ipuc.planner.portions import worker_parts
from ipuc.planner.scaled_add import scaled_add, update_in_place
from ipuc.planner.window import slide_parts
from ipuc.planner.worker.block_sums import Blocks, share, sum_blocks
from ipuc.planner.worker.conv_weight_plan import WeightPlan, plan_weights, plane, reached
from ipuc.planner.worker.conv_weight_tasks import Tasks
from ipuc.planner.worker.layout import GROUPS, by_groups, fitting_group, group_of, regrouped
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts, split_axis
from ipuc.program.tensor import Piece, Tensor, View
from ipuc.types import Ints


def weight_gradient(ctx: Context, problem: Conv, x: Tensor, dy: Tensor, name: str) -> Tensor:
    """The gradient of a convolution's weights.

    Convolutions in groups, of three field dimensions or with a spread, which the rules do not
    know, are planned as today.

    Args:
        ctx: the lowering.
        problem: the forward convolution.
        x: its data: [batch, groups, ins, *field]. The channels that lie together stay together.
        dy: gradient of its result: [batch, groups, outs, *out]; likewise.
        name: of the result.

    Returns:
        [groups, outs, ins, *kernel], element type of `x`.
    """
    if not reached(problem):
        return convolve_weight_gradient(ctx, problem, x, dy, name)
    acts, deltas = (_by_groups(ctx, tensor, f"{name} operand") for tensor in (x, dy))
    in_group, out_group = acts.shape[-1], deltas.shape[-1]
    key = ("weights of 2017", problem, in_group, out_group, x.itemsize)
    if key not in ctx.plans:
        ctx.plans[key] = plan_weights(ctx.target, problem, in_group, out_group, x.itemsize)
    plan, record = ctx.plans[key]
    ctx.plan.update(record)
    return _Gradient(ctx, problem, plan, acts, deltas, name).run()


def weight_update(
    ctx: Context,
    problem: Conv,
    x: Tensor,
    dy: Tensor,
    w: Tensor,
    rate: float | Tensor,
    name: str,
) -> None:
    """A step of the weights down their gradient, where they lie.

    Args:
        ctx: the lowering.
        problem: the forward convolution.
        x: its data: [batch, groups, ins, *field].
        dy: gradient of its result: [batch, groups, outs, *out].
        w: weights, [groups, outs, ins, *kernel]: the whole of a variable, axes in any order.
        rate: the learning rate; one element if the program shall not hold it fixed.
        name: of the compute sets.
    """
    dw = weight_gradient(ctx, problem, x, dy, f"{name} gradient")
    if isinstance(rate, Tensor):
        scaled_add(ctx, w, dw, rate, name, subtract=True)
    else:
        update_in_place(
            ctx, w, dw, ConvWeightUpdate(rate, dw.dtype), ("weights", "weight_deltas"), name
        )


def _by_groups(ctx: Context, tensor: Tensor, name: str) -> Tensor:
    """View or copy [batch, 1, channels, *field] as [batch, channels / g, y, x, g]."""
    batch, _, channels, *field = tensor.shape
    plain = tensor.reshape((batch, channels, *(1,) * (2 - len(field)), *field))
    assert plain is not None  # axes of extent 1 come and go freely
    group = group_of(plain)
    if group in (None, 1):
        group = fitting_group(channels, GROUPS[0])
    assert group is not None
    return by_groups(regrouped(ctx, plain, group, name), group)


@dataclass(frozen=True, slots=True)
class _Block:
    """Tiles that do the same work on channels: parts of both kinds of channel groups."""

    outs: Parts
    ins: Parts

    @property
    def pairs(self) -> int:
        """Pairs of an out group and an in group on each tile."""
        return self.outs.size * self.ins.size


@dataclass(frozen=True, slots=True)
class _Gradient:
    """One gradient being planned.

    The partial sums of a tile lie in the order [out group][in group][ky][kx][out][in]: a task for
    each kernel element and pair of groups.

    Attributes:
        ctx: the lowering.
        problem: the forward convolution.
        plan: its plan.
        acts: [batch, in groups, y, x, in group].
        deltas: [batch, out groups, y, x, out group].
        name: of the result.
    """

    ctx: Context
    problem: Conv
    plan: WeightPlan
    acts: Tensor
    deltas: Tensor
    name: str

    @property
    def task(self) -> int:
        """Weights of a task."""
        return self.plan.in_group * self.plan.out_group

    @property
    def pair(self) -> int:
        """Weights of a pair of groups."""
        y, x = plane(self.problem)
        return y.kernel * x.kernel * self.task

    @property
    def counts(self) -> tuple[int, int]:
        """Groups of output and of input channels."""
        return self.deltas.shape[1], self.acts.shape[1]

    def run(self) -> Tensor:
        """Add the vertices: zeros, outer products, sums."""
        builder, depth = self.ctx.builder, self.plan.depth
        size = self.pair * math.prod(self.counts)
        out = builder.variable(self.name, self.acts.dtype, (size,))
        kind = self.ctx.partials(self.acts.itemsize)
        if depth == 1 and kind == out.dtype:
            partials = out
        else:
            partials = builder.variable(f"{self.name} partials", kind, (depth, size))
        self._zero(partials, size)
        self._multiply(partials, size)
        if partials is not out:
            blocks = [
                Blocks(self._begins(block), self._tiles(block), block.pairs * self.pair)
                for block in self._blocks()
            ]
            sum_blocks(self.ctx, partials, out, blocks, self._step, f"{self.name} reduce")
        return self._result(out)

    @property
    def _step(self) -> int:
        """From a tile to that of the next part of the deltas."""
        return self.plan.tz * self.plan.ti

    def _blocks(self) -> Iterator[_Block]:
        outs, ins = self.counts
        for pair in itertools.product(
            split_axis(outs, self.plan.tz), split_axis(ins, self.plan.ti)
        ):
            yield _Block(*pair)

    def _begins(self, block: _Block) -> tuple[Ints, Ints]:
        """Where the partials of each block begin, as a sum."""
        return (
            block.outs.begin * self.counts[1] * self.pair,
            block.ins.begin * block.outs.size * self.pair,
        )

    def _tiles(self, block: _Block) -> tuple[Ints, Ints]:
        return block.outs.index * self.plan.ti, block.ins.index

    def _zero(self, partials: Tensor, size: int) -> None:
        """Clear the partials: split over the workers for each out group."""
        variable = self.ctx.builder.one_view(partials).variable
        grain = self.ctx.target.vector_width(partials.itemsize)
        parts = np.arange(self.plan.depth, dtype=np.int64)
        with self.ctx.builder.compute_set(f"{self.name} zero") as compute_set:
            compute_set.workers = "one"
            for block in self._blocks():
                row = block.ins.size * self.pair
                rows = np.arange(block.outs.size, dtype=np.int64)
                for begin, elements in share(row, self.ctx.target.worker_contexts, grain):
                    none = [np.zeros_like(rows), np.zeros_like(begin)]
                    compute_set.add(
                        Zero(),
                        separable(0, parts * self._step, *self._tiles(block), *none),
                        out=Access(
                            variable,
                            separable(0, parts * size, *self._begins(block), rows * row, begin),
                            (elements,),
                            (1,),
                        ),
                    )

    def _multiply(self, partials: Tensor, size: int) -> None:
        """The outer products: a tile's tasks split over its workers."""
        y, x = plane(self.problem)
        plan, builder = self.plan, self.ctx.builder
        acts, deltas = builder.one_view(self.acts), builder.one_view(self.deltas)
        variable = builder.one_view(partials).variable
        with builder.compute_set(self.name) as compute_set:
            compute_set.workers = "one"
            for block, rows, columns in itertools.product(
                self._blocks(), slide_parts(y, plan.ty), slide_parts(x, plan.tx)
            ):
                shape = (block.outs.size, block.ins.size, y.kernel, x.kernel)
                tasks = np.indices(shape).reshape(4, -1)
                for part in worker_parts(tasks.shape[1], self.ctx.target.worker_contexts):
                    each = np.arange(part.size, dtype=np.int64) * self.task
                    entries = np.column_stack([each, np.full_like(each, self.task)])
                    for begin in part.begin.tolist():
                        some = Tasks(y, x, rows, columns, tasks[:, begin : begin + part.size])
                        if not some.met.any():
                            continue  # these weights see nothing but padding here
                        at = separable(
                            begin * self.task,
                            rows.index * plan.tx * size,
                            columns.index * size,
                            *self._begins(block),
                        )
                        compute_set.add(
                            some.codelet(),
                            separable(
                                0,
                                rows.index * plan.tx * self._step,
                                columns.index * self._step,
                                *self._tiles(block),
                            ),
                            **some.acts(acts, block.outs, block.ins),
                            deltas=some.deltas(deltas, block.outs, block.ins),
                            weight_deltas=Access(
                                variable,
                                at,
                                (part.size, plan.out_group, plan.in_group),
                                (self.task, plan.in_group, 1),
                                entries,
                            ),
                        )

    def _result(self, out: Tensor) -> Tensor:
        """View the sums as [1, outs, ins, *kernel]."""
        y, x = plane(self.problem)
        plan, (outs, ins) = self.plan, self.counts
        variable = self.ctx.builder.one_view(out).variable
        inner = (
            ((y.kernel, x.kernel * self.task),),
            ((x.kernel, self.task),),
            ((plan.out_group, plan.in_group),),
            ((plan.in_group, 1),),
        )
        kernel = (y.kernel, x.kernel, plan.out_group, plan.in_group)
        pieces: list[Piece] = []
        even = outs % plan.tz == 0 and ins % plan.ti == 0
        for block in self._blocks():
            rows, columns = block.outs.size, block.ins.size
            high, wide = (rows, columns * self.pair), (columns, self.pair)
            if even:
                axes = (
                    ((plan.tz, rows * ins * self.pair), high),
                    ((plan.ti, columns * rows * self.pair), wide),
                    *inner,
                )
                pieces.append(Piece((0,) * 6, View(variable, 0, axes)))
                continue
            first, second = self._begins(block)
            for (o, at), (i, on) in itertools.product(
                zip(block.outs.begin.tolist(), first.tolist(), strict=True),
                zip(block.ins.begin.tolist(), second.tolist(), strict=True),
            ):
                view = View(variable, at + on, ((high,), (wide,), *inner))
                pieces.append(Piece((o, i, 0, 0, 0, 0), view))
        natural = Tensor((outs, ins, *kernel), out.dtype, tuple(pieces))
        turned = natural.transpose((0, 4, 1, 5, 2, 3))
        field = tuple(s.kernel for s in self.problem.slides)
        shape = (1, self.problem.outs, self.problem.ins, *field)
        return self.ctx.builder.reshape(turned, shape, f"{self.name} in order")
