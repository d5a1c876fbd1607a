"""Plans: the chosen split of a layer, itemised, beside the runners-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.planner.search import rank
from ipuc.types import Ints

#: A plan that uses more of the chip than this, and is no less even than EVEN, is "wide".
WIDE, EVEN = 0.85, 1.25


@dataclass(frozen=True, slots=True)
class Table:
    """Candidate plans of one layer.

    Attributes:
        dims: what each column of `splits` splits.
        splits: int64[rows, dims].
        costs: cycles of each item, by name: [rows] each; the total is their sum.
        work: work of the fullest tile times tiles over the whole work: [rows].
        extra: further choices, as columns: [rows] each.
    """

    dims: tuple[str, ...]
    splits: Ints
    costs: Mapping[str, NDArray[Any]]
    work: NDArray[np.float64]
    extra: Mapping[str, NDArray[Any]]

    def total(self) -> Ints:
        """Cycles of every row."""
        rows = (len(self.splits),)
        total: Ints = sum(
            (np.broadcast_to(c, rows) for c in self.costs.values()), np.zeros(rows, np.int64)
        )
        return total

    def choose(self, tiles: int, shown: int = 5) -> tuple[int, dict[str, Any]]:
        """The cheapest row, and a record of it beside the next ones.

        The record also shows the cheapest plan that is wide and even, so that a plan on fewer
        tiles can be seen to cost less.
        """
        total = self.total()
        used = np.prod(self.splits, axis=1)
        order = rank([total, self.work, used])
        wide = (used > WIDE * tiles) & (self.work <= EVEN)
        listed = [int(row) for row in order[:shown]]
        record: dict[str, Any] = {
            "candidates": len(self.splits),
            "chosen": self._row(listed[0], total, used),
            "next": [self._row(row, total, used) for row in listed[1:]],
        }
        wide_rows = order[wide[order]]
        if len(wide_rows):
            record["cheapest wide and even"] = self._row(int(wide_rows[0]), total, used)
        return listed[0], record

    def _row(self, row: int, total: Ints, used: Ints) -> dict[str, Any]:
        splits = dict(zip(self.dims, (int(s) for s in self.splits[row]), strict=True))
        costs = {
            name: int(np.broadcast_to(cost, total.shape)[row]) for name, cost in self.costs.items()
        }
        extra = {name: column[row].item() for name, column in self.extra.items()}
        return {
            **extra,
            "splits": splits,
            "tiles": int(used[row]),
            "balance": round(float(self.work[row]), 4),
            "cycles": int(total[row]),
            "costs": costs,
        }


def exchange_cycles(received_bytes: Any, bytes_per_cycle: Any) -> Any:
    """Cycles in which the fullest tile receives its bytes.

    Source: PopLibs ExchangeEstimator.hpp.
    """
    return -(-np.asarray(received_bytes) // bytes_per_cycle)


def products(columns: Sequence[Any]) -> Any:
    """Element-wise product of columns and numbers."""
    total: Any = 1
    for column in columns:
        total = total * column
    return total
