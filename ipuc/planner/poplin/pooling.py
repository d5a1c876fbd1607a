"""Plans of pooling and of its gradient, by the same means as those of convolutions.

Source: PopLibs popnn PoolPlan.cpp: splits over images, channel groups and outputs, never over the
window; cost of a plan is vertex, input exchange and a regrouping of channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.cycles.pool import pooling
from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin.params import ConvParams, canonical, data_gradient
from ipuc.planner.search import candidates
from ipuc.target import Target


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The chosen split of a pooling pass.

    Attributes:
        splits: of images, channel groups and each field dimension.
        group: channels in a group.
        items: cycles by name, as planned.
        received: bytes of input on the fullest tile.
    """

    splits: tuple[int, ...]
    group: int
    items: dict[str, int]
    received: int

    @property
    def total(self) -> int:
        """Planned cycles."""
        return sum(self.items.values())


def plan_pool(
    target: Target, params: ConvParams, kind: str, channels: int, detected: int
) -> PoolPlan:
    """Choose the cheapest split.

    Args:
        target: the machine.
        params: the window as a convolution of one channel; for a gradient its data gradient.
        kind: "max", "mean", "max gradient" or "mean gradient".
        channels: all channels.
        detected: channels that lie together in the input.
    """
    params = canonical(params)
    vector = target.vector_width(params.itemsize)
    best: PoolPlan | None = None
    for group in range(vector, 8 * vector + 1, vector):
        if channels % group:
            continue
        found = _cheapest(target, params, kind, channels // group, group, detected)
        if best is None or found.total < best.total:
            best = found
    return best or _cheapest(target, params, kind, ceil_div(channels, vector), vector, detected)


def _cheapest(
    target: Target, params: ConvParams, kind: str, count: int, group: int, detected: int
) -> PoolPlan:
    """The cheapest split of `count` groups of channels."""
    splits = candidates([params.batch, count, *params.out_field], target.tiles)
    images, groups, *outs = (
        ceil_div(n, splits[:, i]) for i, n in enumerate((params.batch, count, *params.out_field))
    )
    rows: Any = images
    outputs: Any = images
    field: Any = images
    for index, (dim, out) in enumerate(zip(params.dims, outs, strict=True)):
        reach = ((out - 1) * dim.result.stride + dim.kernel - 1) // dim.data.dilation + 1
        field = field * np.minimum(reach, dim.data.kept(dim.size))
        outputs = outputs * out
        if index < len(outs) - 1:
            rows = rows * ceil_div(out, dim.step)
    kernel = int(np.prod([dim.kernel for dim in params.dims]))
    vertex = pooling(
        target,
        kind,
        rows=rows,
        width=ceil_div(outs[-1], params.dims[-1].step),
        outputs=outputs,
        kernel=kernel,
        groups=groups,
        vectors=ceil_div(group, target.vector_width(params.itemsize)),
    )
    received = field * groups * group * params.itemsize
    moved = received // target.exchange_bytes_per_cycle
    regroup = received // 4 if group != detected else 0 * received
    total = vertex + moved + regroup
    row = int(np.lexsort((received, total))[0])
    items = {"compute": vertex, "exchange": moved, "regroup": regroup}
    return PoolPlan(
        tuple(int(s) for s in splits[row]),
        group,
        {name: int(column[row]) for name, column in items.items()},
        int(received[row]),
    )


#: Layout changes of a pooling layer with its gradient: the arriving gradient, and what leaves.
GRADIENT_LAYOUTS = 2


def pool_layer(
    target: Target, window: ConvParams, kind: str, channels: int, *, detected: int
) -> dict[str, int]:
    """Cycles of a pooling layer and its gradient as they run, by item.

    A regrouping of channels is planned and does not run. The gradient of a maximum also receives
    the layer's input and output.

    Args:
        target: the machine.
        window: the window as a convolution of one channel.
        kind: "max" or "mean".
        channels: all channels.
        detected: channels that lie together in the input.
    """
    forward = plan_pool(target, window, kind, channels, detected)
    back = plan_pool(target, data_gradient(window), f"{kind} gradient", channels, detected)
    operands = 3 if kind == "max" else 1
    return {
        "compute": forward.items["compute"] + back.items["compute"],
        "exchange": forward.items["exchange"] + operands * back.items["exchange"],
        "entry": 2 * target.compute_set_cycles,
        "layouts": GRADIENT_LAYOUTS * target.layout_change_cycles,
    }
