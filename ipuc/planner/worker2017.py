"""The plans of 2017, on which granularity `worker` counts.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.amp import row_time
from ipuc.planner.plan import Table
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide
from ipuc.target import Target

#: Output channels of a group: the conv units of that time.
OUT_GROUP = 8
#: Input channels that may stay together.
GROUPS = (4, 8, 16)


def conv_splits(
    target: Target, outs: int, ins: int, rows: Slide, columns: Slide
) -> tuple[tuple[int, int, int, int, int], dict[str, Any]]:
    """Plan a convolution as in 2017: ((ty, tx, tz, ti, input group), plan record).

    Args:
        target: the machine; its tiles are used.
        outs: output channels.
        ins: input channels.
        rows: the sliding window along y.
        columns: the sliding window along x.

    The input group of 4, 8 or 16 channels decides how many kernel rows are fused (h = 16 / icg).
    As many input-group tiles are used as fit.
    """
    tables: list[tuple[Any, dict[str, Any]]] = []
    for group in GROUPS:
        in_groups, out_groups = -(-ins // group), -(-outs // OUT_GROUP)
        table = candidates([rows.out, columns.out, out_groups], target.tiles)
        ig = -(-in_groups // np.minimum(in_groups, target.tiles // np.prod(table, axis=1)))
        ti = -(-in_groups // ig)
        block = _Block(
            -(-rows.out // table[:, 0]),
            -(-columns.out // table[:, 1]),
            -(-out_groups // table[:, 2]),
            ig,
            group,
        )
        costs = _costs(target, block, ti, (rows, columns), outs)
        work = block.rows * block.columns * np.minimum(block.og * OUT_GROUP, outs)
        costs["work"] = work * np.minimum(ig * group, ins) * float(target.tiles)
        tables.append((np.column_stack([table, ti]), costs))
    splits = np.concatenate([splits for splits, _ in tables])
    costs = {k: np.concatenate([c[k] for _, c in tables]) for k in tables[0][1]}
    work = costs.pop("work") / (rows.out * columns.out * outs * ins)
    groups = np.repeat(GROUPS, [len(splits) for splits, _ in tables])
    dims = ("field0", "field1", "outs", "ins")
    row, record = Table(dims, splits, costs, work, {"in group": groups}).choose(target.tiles)
    ty, tx, tz, ti = (int(v) for v in splits[row])
    return (ty, tx, tz, ti, int(groups[row])), {"rules": "2017", **record}


@dataclass(frozen=True, slots=True)
class _Block:
    """What the fullest tile makes: columns of a table, but for the input group."""

    rows: Any
    columns: Any
    og: Any
    ig: Any
    group: int


def _costs(
    target: Target, block: _Block, ti: Any, slides: tuple[Slide, Slide], outs: int
) -> dict[str, Any]:
    rows, columns = slides
    workers, fused = target.worker_contexts, 16 // block.group
    outputs = block.rows * block.columns
    inputs = rows.reach(block.rows) * columns.reach(block.columns) * block.ig * block.group
    weights = rows.kernel * columns.kernel * block.og * OUT_GROUP * block.ig * block.group
    partials = np.where(ti > 1, outputs * block.og * OUT_GROUP, 0)
    slowest, _ = row_time(block.rows, block.columns, workers, lambda n: fused + 1 + 4 * n)
    positions = -(-rows.kernel // fused) * columns.kernel
    compute = block.og * block.ig * positions * (16 + workers * (10 + slowest) + 6)
    received = 2 * inputs + 2 * weights + 4 * partials
    share = rows.out * columns.out * outs // target.tiles
    return {
        "exchange": received // target.exchange_bytes_per_cycle,
        "compute": compute,
        "reduce": np.where(ti > 1, share * ti // 2, 0),
    }
