"""What a candidate costs: the planner's own estimate, item by item, and what really runs.

Source: PopLibs ConvModel.cpp, ExchangeEstimator.hpp; what a plan's execution drops and adds was
found on Graphcore's IPU model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from ipuc.codelets.cycles import amp, move
from ipuc.codelets.cycles.amp import Block
from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin.methods import Method, compute_cycles
from ipuc.planner.poplin.params import ConvParams
from ipuc.planner.poplin.transforms import Transforms
from ipuc.target import Target
from ipuc.types import Ints

#: Bytes that an on-tile copy moves in a cycle at best.
COPY_BYTES = 8


class Pass(StrEnum):
    """What a convolution is for; it decides which operands already lie as the plan wants them."""

    INFERENCE = "conv inference"
    FORWARD = "conv forward"
    DATA = "conv data gradient"
    WEIGHTS = "conv weight gradient"
    FC_FORWARD = "fc forward"
    FC_DATA = "fc data gradient"
    FC_WEIGHTS = "fc weight gradient"
    PRODUCT = "matmul"

    @property
    def fully_connected(self) -> bool:
        """Whether it belongs to a fully connected layer."""
        return self in (Pass.FC_FORWARD, Pass.FC_DATA, Pass.FC_WEIGHTS)

    @property
    def dense(self) -> bool:
        """Whether it is a matrix product of any kind."""
        return self.fully_connected or self is Pass.PRODUCT


@dataclass(frozen=True, slots=True)
class Problem:
    """A convolution with its transforms and vertex type chosen, its partition still open.

    Attributes:
        target: the machine.
        params: the transformed convolution, channels not padded.
        transforms: what was done to it.
        method: the vertex type.
        purpose: the pass.
    """

    target: Target
    params: ConvParams
    transforms: Transforms
    method: Method
    purpose: Pass

    @property
    def long_row(self) -> bool:
        """Whether the whole convolution is one row with a kernel of one element."""
        params = self.params
        return (
            params.batch == 1
            and all(dim.out == 1 for dim in params.dims[:-1])
            and all(
                dim.kernel == 1
                and dim.data.dilation == dim.result.stride
                and not any(dim.result.pad)
                for dim in params.dims
            )
        )


def sizes(problem: Problem, table: Mapping[str, Ints]) -> dict[str, Any]:
    """Elements of operands and result on the fullest tile, by candidate."""
    params = problem.params
    rank = range(len(params.dims))
    ci, co = table["in_group"] * table["in_groups"], table["out_group"] * table["out_groups"]
    images, groups = table["batch"], table["groups"]
    field: Any = 1
    out: Any = 1
    kernel: Any = 1
    cuts: Any = table["batch_split"]
    for d in rank:
        dim = params.dims[d]
        o, k = table[f"field{d}"], table[f"kernel{d}"]
        reach = (o - 1) * dim.result.stride + (k - 1) * dim.weights.dilation
        field = field * np.minimum(reach // dim.data.dilation + 1, dim.data.kept(dim.size))
        out, kernel = out * o, kernel * k
        cuts = cuts * table[f"field{d}_split"]
    depth = table["in_split"]
    for d in rank[:-1]:
        depth = depth * table[f"kernel{d}_split"]
    return {
        "data": field * images * ci * groups,
        "weights": kernel * ci * co * groups,
        "result": out * images * co * groups,
        "weight_users": cuts,
        "depth": depth,
        "padding": _tile_padding(problem, table, ci * groups * images, ci * co * groups),
    }


def _tile_padding(problem: Problem, table: Mapping[str, Ints], chans: Any, weights: Any) -> Any:
    """Zeros that a tile adds to its operands because the vertex wants whole kernel blocks."""
    params, method = problem.params, problem.method
    inner = range(1, len(params.dims))
    if method.name == "SLIC":
        row = table[f"kernel{len(params.dims) - 1}"]
        extra = ceil_div(row, 4) * 4 - row
        outer: Any = 1
        lines: Any = 1
        for d in range(len(params.dims)):
            dim = params.dims[d]
            o, k = table[f"field{d}"], table[f"kernel{d}"]
            if d < len(params.dims) - 1:
                outer, lines = outer * k, lines * ((o - 1) * dim.result.stride + k)
        return (lines * chans + outer * weights) * extra
    if method.name != "AMP":
        return 0
    fused = amp.weights_per_unit(params.itemsize) // table["in_group"]
    extra = ceil_div(table["kernel0"], fused) * fused - table["kernel0"]
    rows: Any = 1
    kernel: Any = 1
    for d in inner:
        dim = params.dims[d]
        reach = (table[f"field{d}"] - 1) * dim.result.stride + table[f"kernel{d}"]
        rows = rows * np.minimum(reach // dim.data.dilation + 1, dim.data.kept(dim.size))
        kernel = kernel * table[f"kernel{d}"]
    return extra * (rows * chans + kernel * weights)


def exchange(
    problem: Problem, table: Mapping[str, Ints], size: Mapping[str, Any]
) -> dict[str, Ints]:
    """Cycles in which the fullest tile receives operands and partial sums, in one serial step."""
    target, params, method = problem.target, problem.params, problem.method
    rate, element = target.exchange_bytes_per_cycle, params.itemsize
    out_split = table["out_split"]
    # Neighbours hold other output channels of the same activations and share a bus.
    paired = np.where(out_split % target.tiles_per_exchange_bus == 0, 2, 1)
    data = (size["data"] - size["data"] // out_split) * element
    weights = (size["weights"] - size["weights"] // size["weight_users"]) * element
    partial = size["result"] * method.partial
    stages = _stages(problem, size)
    later: Any = 0
    left = size["result"]
    for stage in (0, 1):
        left = ceil_div(left, stages[:, stage])
        later = later + np.where(stages[:, stage + 1] > 1, ceil_div(left * method.partial, rate), 0)
    return {
        "data_exchange": ceil_div(data, rate * paired),
        "weight_exchange": ceil_div(weights, rate),
        "padding": ceil_div(np.asarray(size["padding"]) * element, rate) + 0 * out_split,
        "first_reduce_exchange": ceil_div(partial, rate),
        "later_reduce_exchange": later + 0 * out_split,
    }


def _stages(problem: Problem, size: Mapping[str, Any]) -> Ints:
    found: Ints = move.reduction_stages(problem.target.tiles)[np.asarray(size["depth"])]
    return found


def after(problem: Problem, table: Mapping[str, Ints], size: Mapping[str, Any]) -> dict[str, Ints]:
    """Cycles of reduction or cast, slices and accumulation in one step; and one-off ones."""
    target, params, partial = problem.target, problem.params, problem.method.partial
    element, out_size = params.itemsize, params.out_itemsize
    out_serial, used = table["out_serial"], table["used"]
    stages, depth = _stages(problem, size), size["depth"]
    reduced = size["result"]
    reduce: Any = 0
    for stage in range(3):
        active = stages[:, stage] > 1
        reduced = np.where(active, ceil_div(reduced, stages[:, stage]), reduced)
        last = stages[:, stage + 1] == 1 if stage < 2 else True
        for final in {partial, out_size}:
            mine = active & (np.where(last, out_size, partial) == final)
            cost = move.reduce_add(target, reduced, stages[:, stage], partial=partial, out=final)
            reduce = reduce + np.where(mine, cost, 0)
    cast = move.cast(target, reduced, partial, out_size) if partial != out_size else 0 * reduced
    whole = tensor_elements(problem, table)
    serial = out_serial > 1
    slices = move.dynamic_slice(target, ceil_div(whole["weights"], used), out_serial, element)
    update = move.dynamic_slice(target, ceil_div(whole["result"], used), out_serial, out_size)
    weights = ceil_div(whole["weights"], used)
    moved = serial & problem.purpose.fully_connected
    return {
        "slice": np.where(serial, slices, 0),
        "reduce": reduce,
        "cast": np.where(depth == 1, cast, 0),
        "update": np.where(serial, update, 0),
        "weight_rearrange": np.where(
            moved, ceil_div(weights * element, target.exchange_bytes_per_cycle) + weights, 0
        ),
        "rearranged_bytes": np.where(moved, weights * element, 0),
        "reduce_bytes": np.where(
            depth > 1, ceil_div(size["result"], stages[:, 0]) * stages[:, 0] * partial, 0
        ),
        "reduced": reduced,
        "partial_bytes": size["result"] * partial,
        "buffer_bytes": _buffer(problem, table, size["result"] * partial),
    }


def _buffer(problem: Problem, table: Mapping[str, Ints], partial_bytes: Any) -> Any:
    """Bytes of the second copy of one bundle's results that a SLIC vertex works in."""
    if problem.method.name != "SLIC":
        return 0 * table["used"]
    return partial_bytes // ceil_div(table["groups"], problem.method.bundle) + 200


def tensor_elements(problem: Problem, table: Mapping[str, Ints]) -> dict[str, Any]:
    """Elements of the whole transformed operands and result, channels padded to grains."""
    params = problem.params
    ci = ceil_div(params.in_channels, table["in_group"]) * table["in_group"]
    co = ceil_div(params.out_channels, table["out_group"]) * table["out_group"]
    groups = ceil_div(params.groups, problem.method.bundle) * problem.method.bundle
    field = math.prod(dim.data.kept(dim.size) for dim in params.dims)
    kernel = math.prod(dim.weights.kept(dim.kernel) for dim in params.dims)
    return {
        "data": groups * params.batch * field * ci,
        "weights": groups * kernel * ci * co,
        "result": groups * params.batch * math.prod(params.out_field) * co,
    }


def balance(problem: Problem, table: Mapping[str, Ints]) -> Any:
    """Multiply-adds of the fullest tile over the mean of all tiles, by candidate."""
    params = problem.params
    ins = np.minimum(table["in_group"] * table["in_groups"], params.in_channels)
    most = params.out_channels // table["out_serial"]
    outs = np.minimum(table["out_group"] * table["out_groups"], most)
    work = table["batch"] * np.minimum(table["groups"], params.groups) * ins * outs
    work = work * table["out_serial"]
    whole = params.batch * params.groups * params.in_channels * params.out_channels
    for d, dim in enumerate(params.dims):
        work = work * np.minimum(table[f"field{d}"], dim.out) * table[f"kernel{d}"]
        whole *= dim.out * dim.weights.kept(dim.kernel)
    return work * float(problem.target.tiles) / whole


def rearranging(problem: Problem, table: Mapping[str, Ints]) -> dict[str, Ints]:
    """Cycles and bytes of layout changes before and after, in one serial step.

    Copies that only regroup channels are planned, so that layers agree on a layout, and kept apart:
    where the neighbour already agrees they do not run.
    """
    target, params, how, why = (
        problem.target,
        problem.params,
        problem.transforms,
        problem.purpose,
    )
    vector, element = target.vector_width(params.itemsize), params.itemsize
    icg, ocg, used = table["in_group"], table["out_group"], table["used"]
    ci, co = ceil_div(params.in_channels, icg) * icg, ceil_div(params.out_channels, ocg) * ocg
    in_padded, out_padded = ci != params.in_channels, co != params.out_channels
    gradient = why is Pass.WEIGHTS
    reshaped = bool(how.expand)
    crossed = how.swap != why.dense
    data = gradient or why in (Pass.FC_WEIGHTS, Pass.FC_DATA) or reshaped or crossed | in_padded
    weights = gradient or reshaped or bool(how.flatten_out) or crossed | in_padded | out_padded
    result = (
        (how.swap != (gradient or why.dense))
        or bool(how.flatten_out)
        or why is Pass.FC_WEIGHTS
        or out_padded
    )
    data, weights, result = (np.broadcast_to(one, used.shape) for one in (data, weights, result))
    whole = tensor_elements(problem, table)
    wide = amp.weights_per_unit(element)
    factor = np.where(ci * co % vector == 0, 4, 3)
    before = ceil_div((data * whole["data"] + weights * whole["weights"]) * element, used)
    regroup_weights = ~weights & (why is Pass.FORWARD) & (ocg % wide != 0)
    regroup_weights_bytes = ceil_div(regroup_weights * whole["weights"] * element, used)
    out_size = params.out_itemsize
    after_bytes = ceil_div(result * whole["result"] * out_size, used)
    regroup_result = ~result & (not why.fully_connected) & (ocg != wide)
    regroup_result_bytes = ceil_div(regroup_result * whole["result"] * out_size, used)

    def copy(count: Any, itemsize: Any, q: Any) -> Any:
        return ceil_div(count * 5, q * np.minimum(COPY_BYTES, itemsize))

    out_factor = np.where(co % vector == 0, 4, 3)
    rate = target.exchange_bytes_per_cycle
    return {
        "rearrange": copy(before, element, factor) + copy(after_bytes, out_size, factor),
        "rearrange_exchange": ceil_div(before, rate) + ceil_div(after_bytes, rate),
        "regroup": copy(regroup_weights_bytes, ocg * element, out_factor)
        + copy(regroup_result_bytes, ocg * out_size, out_factor),
        "copied_bytes": before + after_bytes,
        "move_data": data.astype(np.int64),
        "move_weights": weights.astype(np.int64),
        "move_out": result.astype(np.int64),
        "rearrange_bytes": np.maximum(
            np.maximum(before, after_bytes), np.maximum(regroup_weights_bytes, regroup_result_bytes)
        ),
    }


def compute(problem: Problem, table: Mapping[str, Ints]) -> Ints:
    """Cycles of the convolution vertex of the fullest tile, in one serial step."""
    params, method = problem.params, problem.method
    rank = len(params.dims)
    rows: Any = table["batch"]
    outputs: Any = table["batch"]
    width: Any = 1
    for d in range(rank):
        dim, o = params.dims[d], table[f"field{d}"]
        outputs = outputs * o
        # A kernel element meets only every step-th output of a dilated input.
        touched = ceil_div(o, dim.step)
        if d == rank - 1:
            width = touched
        else:
            rows = rows * touched
    block = Block(
        rows=rows,
        width=width,
        outputs=outputs,
        groups=ceil_div(table["groups"], method.bundle),
        in_groups=table["in_groups"],
        in_group=table["in_group"],
        out_groups=table["out_groups"],
        out_group=table["out_group"],
        kernel=tuple(table[f"kernel{d}"] for d in range(rank)),
    )
    return compute_cycles(problem.target, method, params, block, long_row=problem.long_row)


def temp_bytes(
    problem: Problem, table: Mapping[str, Ints], size: Mapping[str, Any], parts: Mapping[str, Ints]
) -> Ints:
    """Bytes on the fullest tile that live only while the convolution runs."""
    element, method = problem.params.itemsize, problem.method
    running = element * (size["data"] + size["weights"] + size["padding"])
    running = running + method.partial * size["result"]
    running = running + parts["buffer_bytes"]
    # Inside a loop the step's result waits beside its partial sums to be written into the whole.
    # Found on two matrix products of the IPU model, whose cheapest plans are else not taken.
    loop = table["out_serial"] > 1
    running = running + np.where(loop, parts["reduced"] * problem.params.out_itemsize, 0)
    most = np.maximum(2 * parts["rearrange_bytes"], np.maximum(running, parts["reduce_bytes"]))
    total: Ints = parts["rearranged_bytes"] + most
    return total


#: Items that run once in every step of a serial loop, as planned.
EACH = (
    "slice",
    "rearrange",
    "rearrange_exchange",
    "regroup",
    "data_exchange",
    "weight_exchange",
    "padding",
    "first_reduce_exchange",
    "later_reduce_exchange",
    "compute",
    "reduce",
    "cast",
    "update",
)
#: Items that run once.
ONCE = ("weight_rearrange",)


def planned(parts: Mapping[str, Any], serial: Any) -> Any:
    """The planner's total of itemised costs."""
    each = sum(parts[name] for name in EACH)
    return serial * each + sum(parts[name] for name in ONCE)
