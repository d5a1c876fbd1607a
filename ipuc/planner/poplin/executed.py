"""Cycles of whole layers: the passes' plans as they run, and what runs between them.

Source: PopLibs runners (general_matrix_multiply.cpp, fully_connected_layer.cpp,
single_conv_layer.cpp); the fitted figures stand in the target record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipuc.codelets.cycles import move
from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.poplin.footprint import standing_bytes
from ipuc.planner.poplin.params import ConvParams, data_gradient, product, weight_gradient
from ipuc.planner.poplin.search import AVAILABLE_MEMORY, Plan, choose
from ipuc.target import Target

#: Items of a serial step that run as planned.
_STEP = (
    "slice",
    "data_exchange",
    "weight_exchange",
    "later_reduce_exchange",
    "padding",
    "compute",
    "reduce",
    "cast",
    "update",
)
_ONCE = ("weight_rearrange",)


@dataclass(frozen=True, slots=True)
class Executed:
    """Cycles of a layer by what they are spent on.

    Attributes:
        items: cycles by name.
        plans: the plan of each pass, in order.
        tensor_bytes: operands, results and gradients, which live throughout.
        rearranged: whether rearranged operands are tensors of their own: those of a fully
            connected layer go straight to where they are used.
        paths: convolutions that run as one: the same pass of all of them shares the program steps
            that rearrange operands.
    """

    items: dict[str, int]
    plans: tuple[Plan, ...]
    tensor_bytes: int
    rearranged: bool = True
    paths: int = 1

    @property
    def cycles(self) -> int:
        """All cycles."""
        return sum(self.items.values())

    @property
    def total_memory_bytes(self) -> int:
        """Bytes over all tiles: what stays throughout, and the hungriest pass.

        A rearranged operand lives beside the pieces of it that the tiles receive. Code of vertices,
        stacks and control code are not counted, as the figures that this is held against have
        layers that need less in all than those would.
        """
        standing = sum(plan.row["used"] * standing_bytes(plan) for plan in self.plans)
        count = len(self.plans) // self.paths
        passes = (self._together_bytes(self.plans[first::count]) for first in range(count))
        return self.tensor_bytes + standing + max(passes)

    @property
    def max_tile_bytes(self) -> int:
        """End of the fullest tile's memory, gaps included.

        The matrix unit's results lie in interleaved memory, which leaves a gap before it.
        """
        target = self.plans[0].problem.target
        standing = sum(map(standing_bytes, self.plans))
        ends = [
            max(map(self._pass_bytes, self.plans))
            + standing
            + ceil_div(self.tensor_bytes, target.tiles)
        ]
        ends += [
            target.interleaved_start_bytes
            + plan.items["partial_bytes"]
            + plan.items["buffer_bytes"]
            for plan in self.plans
            if plan.problem.method.name in {"AMP", "SLIC"}
        ]
        return int(max(ends))

    def _together_bytes(self, plans: Sequence[Plan]) -> int:
        """Bytes on all tiles that live only during one pass of all paths."""
        copies = sum(plan.row["used"] * plan.items["copied_bytes"] for plan in plans)
        return self.rearranged * copies + max(plan.row["used"] * plan.temp_bytes for plan in plans)

    def _pass_bytes(self, plan: Plan) -> int:
        """Bytes on a tile that live only during one pass."""
        return plan.temp_bytes + self.rearranged * plan.items["copied_bytes"]


def plan_cycles(target: Target, plan: Plan) -> dict[str, int]:
    """Cycles of one planned pass as it runs.

    Copies that only regroup channels do not run, and partial sums of one tile are not sent.
    """
    parts, serial = plan.items, plan.serial
    made = {name: serial * parts[name] for name in _STEP}
    made |= {name: parts[name] for name in _ONCE}
    made["first_reduce_exchange"] = serial * parts["first_reduce_exchange"] * (plan.depth > 1)
    wide = plan.problem.params.itemsize >= 4
    factor = target.rearrange_percent_float32 if wide else target.rearrange_percent_float16
    made["rearrange"] = serial * parts["rearrange"] * factor // 100
    made["entry"] = target.compute_set_cycles * serial * compute_sets(target, plan)
    return made


def compute_sets(target: Target, plan: Plan) -> int:
    """Compute sets of one serial step: the vertex, and each reduction stage or a cast."""
    stages = move.reduction_stages(target.tiles)[plan.depth]
    reductions = int((stages > 1).sum())
    return 1 + (reductions or int(plan.items["cast"] > 0))


def matmul_layer(
    target: Target, rows: int, depth: int, columns: int, *, itemsize: int = 2
) -> Executed:
    """C += product of two matrices: one pass, then an addition where the product lies."""
    params = product(rows, depth, columns, itemsize=itemsize)
    plan = choose(target, params, Pass.PRODUCT).plan
    elements = plan.items["reduced"] * plan.row["out_serial"]
    added = {
        "scaled_add": move.scaled_add(target, elements, itemsize),
        "entry": target.compute_set_cycles,
        "loop_copy": _loop_copy(plan),
    }
    size = itemsize * (rows * depth + depth * columns + rows * columns)
    return _layer((plan,), added, 0, size)


def fc_layer(
    target: Target,
    batch: int,
    inputs: int,
    outputs: int,
    *,
    groups: int = 1,
    itemsize: int = 2,
    available_memory: float = AVAILABLE_MEMORY,
) -> Executed:
    """Forward, data gradient, weight gradient and update of a fully connected layer."""
    forward = product(batch, inputs, outputs, groups=groups, itemsize=itemsize)
    back = product(batch, outputs, inputs, groups=groups, itemsize=itemsize)
    update = product(inputs, batch, outputs, groups=groups, itemsize=itemsize)
    todo = ((forward, Pass.FC_FORWARD), (back, Pass.FC_DATA), (update, Pass.FC_WEIGHTS))
    plans = tuple(choose(target, p, why, available_memory=available_memory).plan for p, why in todo)
    weights = groups * inputs * outputs
    # Activations, their gradients, weights.
    size = itemsize * (2 * groups * batch * (inputs + outputs) + weights)
    made = _layer(plans, _update(target, weights, plans[0], itemsize), FC_LAYOUTS, size)
    return replace(made, rearranged=False)


def conv_layer(
    target: Target, forward: ConvParams, *, available_memory: float = AVAILABLE_MEMORY
) -> Executed:
    """Forward, data gradient, weight gradient and update of a convolution."""
    todo = (
        (forward, Pass.FORWARD),
        (data_gradient(forward), Pass.DATA),
        (weight_gradient(forward), Pass.WEIGHTS),
    )
    plans = tuple(choose(target, p, why, available_memory=available_memory).plan for p, why in todo)
    weights = forward.groups * forward.in_channels * forward.out_channels
    for dim in forward.dims:
        weights *= dim.kernel
    added = _update(target, weights, plans[0], forward.itemsize)
    images = forward.batch * forward.groups
    data = images * forward.in_channels * math.prod(dim.size for dim in forward.dims)
    result = images * forward.out_channels * math.prod(forward.out_field)
    size = forward.itemsize * (2 * data + 2 * result + weights)
    return _layer(plans, added, CONV_LAYOUTS, size)


#: Layout changes between the passes of a trained layer, read off the runners. Fully connected:
#: weights for the data gradient, left operand and result of the weight gradient, delta into the
#: update. Convolution: also the second operand of the weight gradient.
FC_LAYOUTS, CONV_LAYOUTS = 4, 5


def _update(target: Target, weights: int, forward: Plan, itemsize: int) -> dict[str, int]:
    elements = ceil_div(weights, forward.row["used"])
    return {
        "scaled_add": int(move.scaled_add(target, elements, itemsize)),
        "entry": target.compute_set_cycles,
    }


def _layer(
    plans: tuple[Plan, ...], added: dict[str, int], layouts: int, tensor_bytes: int
) -> Executed:
    total, target = dict(added), plans[0].problem.target
    total["layouts"] = layouts * target.layout_change_cycles
    for plan in plans:
        for name, value in plan_cycles(target, plan).items():
            total[name] = total.get(name, 0) + int(value)
    return Executed(
        {name: int(value) for name, value in total.items() if value}, plans, tensor_bytes
    )


def _loop_copy(plan: Plan) -> int:
    """Writing each serial step's columns into the whole product.

    Source: PopLibs ConvModel.cpp, regression of copies: 587 cycles and 0.44, 3.125 or 5.15 a byte
    for runs of 8, 4 and 2 bytes.
    """
    steps, params = plan.row["out_serial"], plan.problem.params
    if steps == 1:
        return 0
    run = params.out_channels // steps * params.out_itemsize
    per = 0.44 if run % 8 == 0 else 3.125 if run % 4 == 0 else 5.15
    count = plan.items["reduced"] * params.out_itemsize
    return int(steps * (587 + count * per))


def octave_layer(target: Target, paths: Sequence[ConvParams]) -> Executed:
    """A convolution on two resolutions: one layer for each path between them.

    The paths' layout changes are copies of the same program steps, so they are paid once. Pooling
    and upsampling between the resolutions are not charged.
    """
    total: dict[str, int] = {}
    plans: list[Plan] = []
    tensor_bytes = 0
    for path in paths:
        layer = conv_layer(target, path)
        plans += layer.plans
        tensor_bytes += layer.tensor_bytes
        for name, value in layer.items.items():
            total[name] = value if name == "layouts" else total.get(name, 0) + value
    return Executed(total, tuple(plans), tensor_bytes, paths=len(paths))
