"""The plans of 2017, on which granularity `worker` counts.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.planner.plan import Table
from ipuc.planner.search import candidates
from ipuc.target import Target

#: Output channels of a group: the conv units of that time.
OUT_GROUP = 8


def conv_splits(
    target: Target,
    outs: int,
    ins: int,
    field: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
) -> tuple[tuple[int, int, int, int, int], dict[str, Any]]:
    """Plan a convolution as in 2017: ((ty, tx, tz, ti, input group), plan record).

    Args:
        target: the machine; its tiles are used.
        outs: output channels.
        ins: input channels.
        field: output rows and columns.
        kernel: kernel rows and columns.
        stride: in rows and columns.

    The input group of 4, 8 or 16 channels decides how many kernel rows are fused (h = 16 / icg).
    As many input-group tiles are used as fit.
    """
    tables: list[tuple[int, Any, dict[str, Any]]] = []
    for group in (4, 8, 16):
        in_groups, out_groups = -(-ins // group), -(-outs // OUT_GROUP)
        table = candidates([field[0], field[1], out_groups], target.tiles)
        ty, tx, tz = table.T
        ti = np.minimum(in_groups, target.tiles // (ty * tx * tz))
        rows, columns, og = -(-field[0] // ty), -(-field[1] // tx), -(-out_groups // tz)
        ig = -(-in_groups // ti)
        ti = -(-in_groups // ig)
        costs = _costs(target, (rows, columns), (og, ig), ti, group, kernel, stride, field, outs)
        tables.append((group, np.column_stack([table, ti]), costs))
    splits = np.concatenate([splits for _, splits, _ in tables])
    costs = {k: np.concatenate([c[k] for _, _, c in tables]) for k in tables[0][2]}
    groups = np.concatenate([np.full(len(s), g) for g, s, _ in tables])
    made = -(-field[0] // splits[:, 0]) * -(-field[1] // splits[:, 1])
    all_outs, all_ins = -(-outs // OUT_GROUP), -(-ins // groups)
    channels = -(-all_outs // splits[:, 2]) * OUT_GROUP
    depth = np.minimum(-(-all_ins // splits[:, 3]) * groups, ins)
    work = made * np.minimum(channels, outs) * depth * float(target.tiles)
    work = work / (field[0] * field[1] * outs * ins)
    row, record = Table(
        ("field0", "field1", "outs", "ins"), splits, costs, work, {"in group": groups}
    ).choose(target.tiles)
    ty, tx, tz, ti = (int(v) for v in splits[row])
    return (ty, tx, tz, ti, int(groups[row])), {"rules": "2017", **record}


def _costs(
    target: Target,
    block: tuple[Any, Any],
    groups: tuple[Any, Any],
    ti: Any,
    group: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    field: tuple[int, int],
    outs: int,
) -> dict[str, Any]:
    rows, columns = block
    og, ig = groups
    workers = target.worker_contexts
    fused = 16 // group
    reach = ((rows - 1) * stride[0] + kernel[0]) * ((columns - 1) * stride[1] + kernel[1])
    inputs = reach * ig * group * 2
    weights = kernel[0] * kernel[1] * og * OUT_GROUP * ig * group * 2
    partials = np.where(ti > 1, rows * columns * og * OUT_GROUP * 4, 0)
    per_worker = -(-rows * columns // workers)
    pieces = np.minimum(1 + (per_worker + columns - 2) // np.maximum(columns, 1), per_worker)
    worker = 10 + pieces * (fused + 1) + 4 * per_worker
    positions = -(-kernel[0] // fused) * kernel[1]
    compute = og * ig * positions * (16 + workers * worker + 6)
    outputs = field[0] * field[1] * outs
    rate = target.exchange_bytes_per_cycle
    return {
        "exchange": (inputs + weights + partials) // rate,
        "compute": compute,
        "reduce": np.where(ti > 1, outputs // target.tiles * ti // 2, 0),
    }


def fully_connected_splits(target: Target, rows: int, columns: int) -> tuple[int, int]:
    """How a fully connected layer is spread: (tiles per row T, tiles per column K = N / T).

    Args:
        target: the machine.
        rows: outputs R.
        columns: inputs C.

    Source: the forward cost of the fully connected planner of PopLibs, winter 2016/17.
    """
    workers = target.worker_contexts
    t = np.arange(1, min(target.tiles, max(columns, 1)) + 1)
    k = target.tiles // t
    slice_ = -(-columns // t)
    cost = workers * (-(-rows * t // (workers * t * k))) * (7 + -(-slice_ // 4))
    cost = cost + -(-2 * slice_ // 4) + -(-rows // k)
    best = int(np.argmin(cost))
    return int(t[best]), int(k[best])
