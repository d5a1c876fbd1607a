"""Cycles of the pooling vertices of popnn.

Source: PopLibs popnn PerformanceEstimation.hpp.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.codelets.amp import row_time
from ipuc.codelets.define import Number, ceil_div
from ipuc.target import Target

#: Worker cycles of an inner loop of n: the first, and each further one.
LOOPS = {"max": (4, 3), "mean": (5, 3), "max gradient": (7, 5), "mean gradient": (5, 3)}


def pooling(
    target: Target,
    kind: str,
    *,
    rows: Number,
    width: Number,
    outputs: Number,
    kernel: int,
    groups: Number,
    vectors: Number,
) -> Number:
    """One pooling vertex.

    Args:
        target: the machine.
        kind: a key of `LOOPS`.
        rows: rows of outputs that one kernel element meets, of all images.
        width: outputs in such a row.
        outputs: outputs of one channel.
        kernel: kernel elements.
        groups: groups of channels on the tile.
        vectors: 64-bit vectors in a group.
    """
    workers = target.worker_contexts
    once, more = LOOPS[kind]

    def cost(n: Any) -> Any:
        loop = vectors * (3 + once + more * (np.maximum(n, 1) - 1))
        first = 23 + groups * (2 + loop)
        rest = 23 + groups * (6 + loop)
        return np.where(np.asarray(n) > 0, 15 + first + (kernel - 1) * rest, 0)

    slow, _ = row_time(rows, width, workers, cost)
    start = 41 + (10 if kind == "max gradient" else 0) + (4 + ceil_div(outputs, workers)) * groups
    return 13 + workers * (start + slow)
