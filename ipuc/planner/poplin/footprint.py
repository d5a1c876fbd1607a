"""Bytes that a pass keeps on a tile through the whole program: vertices, worklists, exchange code.

Counted from the plan, for calibration: a program that is built has its own, exact, account.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.codelets.cycles import move
from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin import cost
from ipuc.planner.poplin.methods import Method
from ipuc.planner.poplin.search import Plan
from ipuc.profile.resident import EDGE_BYTES, RECEIVE_CODE_BYTES, ROW_PIECE_BYTES, SEND_CODE_BYTES

#: Code of a piece of data that comes from another tile, at both ends.
MESSAGE_BYTES = SEND_CODE_BYTES + RECEIVE_CODE_BYTES
#: Least bytes of an operand on each of the tiles that share it. Source: poplin Convolution.cpp.
LEAST_DATA, LEAST_WEIGHTS = 128, 256


def standing_bytes(plan: Plan) -> int:
    """Bytes on the fullest tile that stay whether the pass runs or not."""
    return _vertex_bytes(plan) + MESSAGE_BYTES * messages(plan)


def _vertex_bytes(plan: Plan) -> int:
    """Pointers of the convolution vertex and of those that add partial sums, and worklists.

    Source: PopLibs poplin ConvVertices.cpp: edges of each vertex type.
    """
    row, problem = plan.row, plan.problem
    workers, groups = problem.target.worker_contexts, row["groups"]
    ins, outs = row["in_groups"], row["out_groups"]
    edges = groups * (ins + ins * outs + outs)
    edges += sum(stage + 1 for stage in _stages(plan))
    rows: int = row["batch"]
    for d in range(len(problem.params.dims) - 1):
        rows *= row[f"field{d}"]
    lists, each = _worklists(plan)
    pieces = lists // max(each, 1) * (rows + workers - 1) if each > 1 else workers * lists
    return EDGE_BYTES * (edges + lists) + ROW_PIECE_BYTES * pieces


def _worklists(plan: Plan) -> tuple[int, int]:
    """Worklists of the vertex, and how many of them are for one kernel position."""
    row, problem = plan.row, plan.problem
    workers = problem.target.worker_contexts
    rank = len(problem.params.dims)
    kernel = [row[f"kernel{d}"] for d in range(rank)]
    whole = int(np.prod(kernel))
    method: Method = problem.method
    if method.name == "OUTER_PRODUCT":
        return 0, 1
    if method.name == "VMAC":
        return workers, workers
    if whole == 1 and (method.name == "HMAC" or problem.long_row):
        return 1, 1
    if method.name == "SLIC":
        return workers * ceil_div(kernel[-1], 4) * int(np.prod(kernel[:-1])), workers
    if method.name == "AMP":
        full = 32 // problem.params.itemsize
        fused = max(1, full // row["in_group"])
        return workers * ceil_div(kernel[0], fused) * (whole // kernel[0]), workers
    return workers * whole, workers


def messages(plan: Plan) -> int:
    """Pieces of operands and partial sums that the fullest tile receives in a pass.

    An operand is spread over the tiles that use it, so one piece comes from each of them, as far
    as it is large enough; and every row of data, and every group of output channels of the
    weights, is a piece of its own.
    """
    row, problem = plan.row, plan.problem
    params, itemsize = problem.params, problem.params.itemsize
    size: dict[str, Any] = cost.sizes(problem, {name: np.asarray(n) for name, n in row.items()})
    rows: int = row["batch"] * row["groups"] * row["in_groups"]
    for d in range(len(params.dims) - 1):
        dim = params.dims[d]
        reach = (row[f"field{d}"] - 1) * dim.result.stride
        reach += (row[f"kernel{d}"] - 1) * dim.weights.dilation
        rows *= min(reach // dim.data.dilation + 1, dim.data.kept(dim.size))
    data = min(row["out_split"] - 1, int(size["data"]) * itemsize // LEAST_DATA)
    weights = min(int(size["weight_users"]) - 1, int(size["weights"]) * itemsize // LEAST_WEIGHTS)
    partials = sum(_stages(plan))
    return data + rows + weights + row["out_groups"] * row["groups"] + partials


def _stages(plan: Plan) -> list[int]:
    """Partial sums that a tile adds in each stage."""
    stages = move.reduction_stages(plan.problem.target.tiles)[plan.depth]
    return [int(stage) for stage in stages if stage > 1]
