"""ConvWeightGradAop: gradients of convolution weights, by outer products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles, grouped_product
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    In,
    InOut,
    Number,
    ceil_div,
    maximum,
)
from ipuc.target import Target
from ipuc.types import Shape

#: Channels of either operand that the outer product instruction takes.
UNIT = 4
#: The windows of activations.
ACTS = ("acts", "more_acts", "last_acts")


@dataclass(frozen=True)
class ConvWeightGradAop(Codelet):
    """Add up, for some weights, the products of deltas and the activations that met them.

    A task is one kernel element between one group of output and one of input channels. Over all
    images, rows and columns of the deltas' window, a task adds
    deltas[n, o, y, x] (outer product) acts[n, i, row + y * stride, column + x * stride]
    to its block of weight deltas. Activations outside their window are padding.

    acts: [images, in groups, rows, columns, in channels of a group]; deltas: [images, out groups,
    rows, columns, out channels of a group]; weight_deltas: [tasks, out channels, in channels].
    Activations come in up to three windows: tasks that begin or end inside a row of the kernel
    need other columns than whole rows do. A window that is not needed is empty.

    Attributes:
        tasks: (window, in group, out group, row, column) of each task: the window of activations,
            groups counted in it and in that of the deltas, and the place in it that the first of
            the deltas meets, which may lie outside.
        stride: along y and x.

    Source: PopLibs, winter 2016/17, cycles of one worker: 5, + 9p for a task, + p (width + 1) for a
    row of it, p = ceil(out channels / 4) * ceil(in channels / 4). Sums stay in float32 inside.
    """

    tasks: tuple[tuple[int, int, int, int, int], ...]
    stride: tuple[int, int] = (1, 1)

    name: ClassVar[str] = "ConvWeightGradAop"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        *(In(name, list_axes=3) for name in ACTS),
        In("deltas", list_axes=3),
        InOut("weight_deltas", list_axes=1),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply task by task, all vertices at once."""
        axes, grid = batch.axes, batch.grid
        deltas = operands["deltas"]
        total: Array = np.array(
            np.broadcast_to(operands["weight_deltas"], batch.full("weight_deltas"))
        )
        outs = batch.windows["deltas"][2:4]
        for number, (window, group_in, group_out, *place) in enumerate(self.tasks):
            acts, field = operands[ACTS[window]], batch.windows[ACTS[window]][2:4]
            hits = [met(*way) for way in zip(outs, field, place, self.stride, strict=True)]
            if any(there.start >= there.stop for there, _ in hits):
                continue
            (rows, rows_in), (columns, columns_in) = hits
            left = deltas[..., group_out, rows, columns, :]
            right = acts[..., group_in, rows_in, columns_in, :]
            depth = math.prod(left.shape[axes:-1])
            product = grouped_product(
                np.moveaxis(_flat(left, axes, depth), -1, axes),
                _flat(right, axes, depth),
                grid,
                left_rows=1,
                right_columns=1,
            )
            total[..., number, :, :] += product
        return {"weight_deltas": total}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        tasks, outs, ins = windows["weight_deltas"]
        images, _, rows, width = windows["deltas"][:4]
        blocks = ceil_div(outs, UNIT) * ceil_div(ins, UNIT)
        each = blocks * (9 + images * rows * (width + 1))
        return as_cycles(workers * (5 + ceil_div(maximum(tasks, 1), workers) * each))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A multiplication and an addition for each weight of a task and each of its deltas."""
        images, _, rows, width, _ = windows["deltas"]
        return 2 * math.prod(windows["weight_deltas"]) * images * rows * width

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three windows, tasks that meet padding, a stride with several groups, halves."""
        plain: dict[str, Shape] = {
            "acts": (1, 1, 3, 6, 4),
            "more_acts": (1, 1, 3, 4, 4),
            "last_acts": (1, 1, 2, 3, 4),
            "deltas": (1, 1, 3, 4, 8),
            "weight_deltas": (3, 8, 4),
        }
        row = cls(((0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)))
        edge = cls(((0, 0, 0, -1, 1), (1, 0, 0, 0, -2), (2, 0, 0, 1, 2)))
        several: dict[str, Shape] = {
            "acts": (2, 2, 4, 5, 4),
            "more_acts": (2, 1, 3, 3, 4),
            "last_acts": (2, 1, 1, 1, 4),
            "deltas": (2, 2, 2, 2, 4),
            "weight_deltas": (5, 4, 4),
        }
        strided = cls(
            ((0, 0, 0, 0, 0), (0, 1, 0, 0, 1), (0, 1, 1, 1, 2), (1, 0, 1, 0, 0), (2, 0, 0, -2, 0)),
            (2, 2),
        )
        halves = dict.fromkeys((*ACTS, "deltas"), "float16")
        return (
            Example(row, plain),
            Example(edge, plain, halves),
            Example(strided, several, halves),
        )


def met(outs: int, field: int, at: int, stride: int) -> tuple[slice, slice]:
    """Deltas that meet an activation along one dimension, and those activations.

    Args:
        outs: deltas.
        field: activations.
        at: the activation that delta 0 meets.
        stride: between the activations of two deltas.
    """
    first = max(0, -(at // stride))
    last = min(outs, -((at - field) // stride))
    begin = at + first * stride
    return slice(first, last), slice(begin, at + (last - 1) * stride + 1, stride)


def _flat(operand: Array, axes: int, depth: int) -> Array:
    """Merge all but the channels; grid axes on which vertices share elements keep extent 1."""
    kept = tuple(slice(None) if step else slice(1) for step in operand.strides[:axes])
    picked = operand[kept]
    return picked.reshape(*picked.shape[:axes], depth, picked.shape[-1])
