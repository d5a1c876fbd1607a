"""Exchange between IPUs: which links the bytes take, and how long that takes.

IPUs form a ladder of pairs: 0 and 1, 2 and 3, ... Between the two of a pair there are links for
what one sends to the other, and others for what only crosses over to go on; each IPU has links to
the pair above and to the pair below. Bytes for another pair cross over first, if they must, and
then climb or descend.

Source: the machine that PopLibs' tests make of Graphcore's IPU model for several IPUs: links,
routes, rate and payload share.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ipuc.target import Target
from ipuc.types import Ints

Flags = NDArray[np.bool_]

#: Groups of links that leave an IPU: to its partner for the partner, to its partner in passing,
#: up the ladder, down the ladder.
_PAIR, _ACROSS, _UP, _DOWN = range(4)


@cache
def routes(ipus: int) -> Flags:
    """Which links the traffic of any two IPUs takes.

    Returns:
        bool[4 * ipus, ipus, ipus]: whether what goes from an IPU (second axis) to another (third)
        uses a group of links; rows 4 i to 4 i + 3 are the links that leave IPU i: to its partner,
        across in passing, up, down.
    """
    used = np.zeros((ipus, 4, ipus, ipus), bool)
    for source in range(ipus):
        for target in range(ipus):
            if source // 2 == target // 2:
                used[source, _PAIR, source, target] = source != target
                continue
            at, step = source, 2 if target > source else -2
            # The last of an odd number of IPUs has no partner: what it sends crosses over below.
            if at % 2 != target % 2 and at ^ 1 < ipus:
                used[at, _ACROSS, source, target] = True
                at ^= 1
            while at // 2 != target // 2:
                used[at, _UP if step > 0 else _DOWN, source, target] = True
                at += step
            if at != target:
                used[at, _ACROSS, source, target] = True
    return used.reshape(-1, ipus, ipus)


def link_cycles(target: Target, crossing: Ints) -> int:
    """Cycles in which the busiest links have carried their bytes.

    Args:
        target: the machine.
        crossing: bytes from each IPU to each other: int64[ipus, ipus].
    """
    if not crossing.any():
        return 0
    carried = (routes(target.ipus) * crossing).sum(axis=(1, 2), dtype=np.int64)
    links = np.full((target.ipus, 4), target.ladder_links)
    links[:, _PAIR] = target.pair_links
    # Whole numbers of Python's: 64 bits would not hold them.
    rate = target.link_bits_per_second * target.link_percent
    bits = [8 * 100 * target.clock_hz * int(count) for count in carried]
    return max(-(-b // (int(n) * rate)) for b, n in zip(bits, links.reshape(-1), strict=True))
