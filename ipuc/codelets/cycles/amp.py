"""Cycles of the vertices that use the matrix unit: ConvPartial1x1Out and ConvPartialnx1.

Source of every formula: PopLibs poplin PerformanceEstimation.hpp (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.amp import row_time
from ipuc.codelets.define import Number, ceil_div
from ipuc.target import Target


@dataclass(frozen=True, slots=True)
class Block:
    """What the convolution vertex of one tile computes.

    Attributes:
        rows: rows of outputs, of all images and outer field dimensions.
        width: outputs in a row; with a dilated input, those that one kernel element touches.
        outputs: all outputs of one channel and one group.
        groups: convolution groups, or bundles of them for vertices that do several at once.
        in_groups: groups of input channels.
        in_group: input channels in a group.
        out_groups: groups of output channels.
        out_group: output channels in a group.
        kernel: kernel elements along each dimension.
    """

    rows: Number
    width: Number
    outputs: Number
    groups: Number
    in_groups: Number
    in_group: Number
    out_groups: Number
    out_group: Number
    kernel: tuple[Number, ...]

    @property
    def kernel_elements(self) -> Number:
        """Kernel elements, all dimensions."""
        return np.prod(np.broadcast_arrays(*self.kernel), axis=0)


def conv_units(target: Target, itemsize: int, partial: int) -> int:
    """Units that work at once, by bytes of an element and of a partial sum."""
    if itemsize >= 4:
        return target.conv_units_float32
    return target.conv_units_mixed if partial >= 4 else target.conv_units_float16


def weights_per_unit(itemsize: int) -> int:
    """Input channels that the unit takes at once: 32 bytes of weights."""
    return 32 // itemsize


def load_width(itemsize: int) -> int:
    """Input channels loaded in one cycle."""
    return 8 // itemsize


def zeroing(target: Target, block: Block) -> Number:
    """Setting float partial sums to zero before they are added to."""
    workers = target.worker_contexts
    vectors = ceil_div(ceil_div(block.outputs * block.out_group, workers), 2)
    return workers * block.out_groups * block.groups * (vectors + 5)


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a cycle formula, for the one sum that is computed and written out.

    Attributes:
        start: before and between groups.
        groups: convolution groups.
        group: of each.
        in_groups: groups of input channels.
        in_group: of each.
        out_groups: groups of output channels.
        block: of each pair of channel groups.
        first: extra cycles of a first pair, which sets sums instead of adding to them.
        zero: setting partial sums to zero beforehand.
    """

    start: Number
    groups: Number
    group: Number
    in_groups: Number
    in_group: Number
    out_groups: Number
    block: Number
    first: Number
    zero: Number

    @property
    def total(self) -> Number:
        """All cycles."""
        pairs = self.in_group + self.out_groups * self.block
        each = self.group + self.in_groups * pairs + self.out_groups * self.first
        return self.start + self.groups * each + self.zero

    def text(self) -> str:
        """The sum with its numbers, and what it comes to; of one vertex."""
        n = {name: int(getattr(self, name)) for name in self.__dataclass_fields__}
        pairs = f"{n['in_group']} + {n['out_groups']} x {n['block']}"
        each = f"{n['group']} + {n['in_groups']} x ({pairs})"
        if n["first"]:
            each += f" + {n['out_groups']} x {n['first']}"
        zero = f" + {n['zero']}" if n["zero"] else ""
        return f"{n['start']} + {n['groups']} x ({each}){zero} = {int(self.total):,}"


def one_by_one(target: Target, block: Block, itemsize: int, partial: int) -> Terms:
    """ConvPartial1x1Out: one long row of outputs, one kernel element."""
    workers, units = target.worker_contexts, conv_units(target, itemsize, partial)
    load = units * 32 // target.coefficient_load_bytes_per_cycle
    runs = np.arange(workers + 1).reshape(-1, *(1 for _ in range(np.ndim(block.outputs))))
    edges = runs * np.asarray(block.outputs) // workers
    each = edges[1:] - edges[:-1]
    wide = itemsize >= 4
    if wide:
        table, later, saved = (24, 47, 46, 46), 8, 0
        zero_more = 8 if units == 16 else 4
    elif partial >= 4 or units == 16:
        table, later, saved, zero_more = (22, 33, 42, 38), 4, 7, 0
    else:
        table, later, saved, zero_more = (24, 39, 40, 41), 4, 0, 2
    add = _by_count(each, table, later)
    zero = add - 1 if saved else add + np.where(each > 0, 2 + zero_more * each, 0)
    fill = _slowest(add - saved, workers, 14)
    first = _slowest(zero - saved, workers, 14)
    head, more, c = (7, 3, 1) if saved else (0, 0, int(wide))
    passes = ceil_div(block.out_group, units)
    ig, og, groups = block.in_groups, block.out_groups, block.groups
    each = 19 + passes * (6 + load + fill)
    once = 19 - c + passes * (7 + load + first)
    return Terms(
        start=50 + workers * (head + more * (ig * groups - 1)),
        groups=groups,
        group=23 + c,
        in_groups=ig - 1,
        in_group=16 - c,
        out_groups=og,
        block=each,
        first=once,
        zero=0,
    )


def nx1(target: Target, block: Block, itemsize: int, partial: int) -> Terms:
    """ConvPartialnx1: any kernel; a group smaller than the unit fuses kernel rows."""
    workers, units = target.worker_contexts, conv_units(target, itemsize, partial)
    load = units * 32 // target.coefficient_load_bytes_per_cycle
    wide, floats = itemsize >= 4, partial >= 4
    fused = weights_per_unit(itemsize) // block.in_group
    outer = ceil_div(block.kernel[0], fused)
    inner: Number = 1
    for extent in block.kernel[1:]:
        inner = inner * extent
    dear = 27 + (1 if floats == (units == 8) and not wide else 0)
    table = (11, 27, 38, 39) if wide else (11, 23, dear, 28)
    slow, quick = row_time(
        block.rows, block.width, workers, lambda n: _by_count(n, table, 8 if wide else 4)
    )
    start = 17 if floats else 18
    position = ceil_div(block.out_group, units) * np.maximum(
        workers * (start + slow), workers * (start + quick) + 9
    )
    weights = np.select([fused == 1, fused == 2, fused == 4], [15, 46, 60], 20 * fused)
    loading = ceil_div(block.out_group, units) * (load + weights + 3)
    core = outer * (14 + inner * (12 + loading)) + outer * inner * position
    og, groups = block.out_groups, block.groups
    return Terms(
        start=104 + 9 * workers + workers * (9 if floats else 10) + 6 * groups,
        groups=groups,
        group=11 + 23 * og,
        in_groups=block.in_groups,
        in_group=14,
        out_groups=og,
        block=14 + core,
        first=0,
        zero=zeroing(target, block),
    )


def _slowest(time: Any, workers: int, lag: int) -> Number:
    """Tile cycles until all workers are done; the last one starts `lag` cycles late."""
    return np.maximum(workers * time.max(axis=0), workers * time.min(axis=0) + lag)


def _by_count(n: Any, table: tuple[int, int, int, int], later: int) -> Any:
    """Worker cycles for n outputs: a figure for 0, 1, 2, 3, then `later` for each more."""
    return np.where(n >= 3, table[3] + later * (n - 3), np.asarray(table)[np.clip(n, 0, 3)])
