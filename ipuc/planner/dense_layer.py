"""A fully connected layer that is trained: three passes, planned so that its weights stay put."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ipuc.planner.context import Context
from ipuc.planner.conv_plan import ConvPlan, Placed, executable, expected
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.poplin.joint import PASSES, Dense, Joint, Passes, choose_passes
from ipuc.planner.poplin.search import Plan
from ipuc.program.tensor import Tensor


@dataclass(slots=True)
class DenseLayer:
    """The passes of y = x W^T with W [outs, ins], by a joint plan where that is cheaper.

    By a joint plan no tile ever receives an element of W, and the gradient of W is made tile for
    tile where W lies. At granularities below `tile`, and where the user has pinned a plan, every
    pass is planned alone.

    Attributes:
        ctx: the lowering; every method writes the record of its pass to `ctx.plan`.
        batch: rows of x and y.
        ins: columns of x and of W.
        outs: columns of y, rows of W.
        itemsize: bytes of an element.
        layer: name whose memory and pinned plan decide for all passes, as they must follow one
            decision; that of the layer which is lowered when this is made, if empty.
        passes: the plans; none where the planner is not asked.
    """

    ctx: Context
    batch: int
    ins: int
    outs: int
    itemsize: int
    layer: str = ""
    passes: Passes | None = field(init=False)

    def __post_init__(self) -> None:
        """Plan the passes."""
        ctx, sizes = self.ctx, (self.batch, self.ins, self.outs)
        self.layer = self.layer or ctx.builder.layer
        pinned = ctx.choices.pinned(self.layer)
        self.passes = None
        if ctx.granularity == "tile" and 0 not in sizes and pinned is None:
            self.passes = choose_passes(
                ctx.target,
                Dense(*sizes, self.itemsize),
                ctx.choices.memory(self.layer),
                np.dtype(ctx.partials(self.itemsize)).itemsize,
            )

    def forward(self, x: Tensor, weights: Tensor, name: str) -> Tensor:
        """Multiply x [batch, ins] by W [outs, ins]: [batch, outs]."""
        conv = Conv(self.batch, 1, self.outs, self.ins, ())
        return self._by_weights(conv, x, weights, name, Pass.FC_FORWARD)

    def data_gradient(self, dy: Tensor, weights: Tensor, name: str) -> Tensor:
        """Multiply dy [batch, outs] by W [outs, ins] from the other side: [batch, ins]."""
        conv = Conv(self.batch, 1, self.ins, self.outs, ())
        return self._by_weights(conv, dy, weights.transpose((1, 0)), name, Pass.FC_DATA)

    def weight_gradient(self, x: Tensor, dy: Tensor, name: str) -> Tensor:
        """Multiply dy [batch, outs] by x [batch, ins] over the batch: [outs, ins], as W lies."""
        plan = self._plan(Pass.FC_WEIGHTS)
        reshape = self.ctx.builder.reshape
        left, right = x.transpose((1, 0)), dy.transpose((1, 0))
        sizes = self.ins, self.outs
        if plan is not None:  # what a swapped product leaves is row-major in its images
            left, right, sizes = right, left, sizes[::-1]
        conv = Conv(sizes[0], 1, sizes[1], self.batch, ())
        made = convolve(
            self.ctx,
            conv,
            reshape(left, (sizes[0], 1, self.batch)),
            reshape(right, (1, sizes[1], self.batch)),
            name,
            Pass.FC_WEIGHTS,
            plan,
        )
        made = reshape(made, sizes)
        return made if plan is not None else made.transpose((1, 0))

    def _by_weights(
        self, conv: Conv, x: Tensor, weights: Tensor, name: str, purpose: Pass
    ) -> Tensor:
        reshape = self.ctx.builder.reshape
        rows = reshape(x, (conv.batch, 1, conv.ins))
        columns = reshape(weights, (1, conv.outs, conv.ins))
        made = convolve(self.ctx, conv, rows, columns, name, purpose, self._plan(purpose))
        return reshape(made, (conv.batch, conv.outs))

    def _plan(self, purpose: Pass) -> ConvPlan | None:
        """The pass's part of the joint plan, written to the record; none if it is planned alone."""
        if self.passes is None:
            return None
        self.ctx.plan["passes"] = self.passes.record()
        joint = self.passes.chosen
        if joint is None:
            return None
        planned = joint.plans[PASSES.index(purpose)]
        made = _executable(joint, planned, purpose)
        placed = Placed(weights=purpose is not Pass.FC_WEIGHTS)
        costs = expected(self.ctx, made, self.itemsize, placed)
        self.ctx.plan["chosen"] = _record(made, planned, costs)
        return made


def _executable(joint: Joint, planned: Plan, purpose: Pass) -> ConvPlan:
    """One pass of a joint plan, cut and numbered so that every tile keeps its weights."""
    made = executable(planned)
    # The cut of the weights is the same in all passes, whatever groups their vertices work in.
    splits = replace(made.splits, field_grain=joint.grain)
    if purpose is Pass.FC_WEIGHTS:
        splits = replace(splits, out_group=joint.grain)
    else:
        splits = replace(splits, in_group=joint.grain, ins_last=purpose is Pass.FC_DATA)
    return replace(made, splits=splits, rearrange=(False, False, False))


def _record(made: ConvPlan, planned: Plan, costs: dict[str, int]) -> dict[str, Any]:
    """What was chosen for a pass, as JSON values."""
    splits = made.splits
    return {
        "method": planned.problem.method.name,
        "in group": made.vertex.in_group,
        "out group": made.vertex.out_group,
        "swap": made.how.swap,
        "splits": {"ins": splits.ins, "field1": splits.field[-1], "outs": splits.outs},
        "tiles": math.prod(splits.parts),
        "planned": planned.total,
        "temp_bytes": planned.temp_bytes,
        "cycles": sum(costs.values()),
        "costs": costs,
    }
