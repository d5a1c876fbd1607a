"""Plans: the chosen split of a layer, itemised, beside the runners-up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.planner.search import rank
from ipuc.types import Ints

#: A plan that uses more of the chip than this, and is no less even than EVEN, is "wide".
WIDE, EVEN = 0.85, 1.25

#: Costs of some rows of a table, by name, where they are dearer than the table says.
Exact = Callable[[Ints], Mapping[str, NDArray[Any]]]
#: Rows that are costed exactly at a time.
_CHUNK = 64


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

    def choose(
        self, tiles: int, shown: int = 5, exact: Exact | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The cheapest row, and a record of it beside the next ones.

        The record also shows the cheapest plan that is wide and even, so that a plan on fewer
        tiles can be seen to cost less.

        Args:
            tiles: of the target.
            shown: rows of the record.
            exact: gives the exact costs of rows, where the table's are lower bounds; it is asked
                about as few rows as will do.
        """
        known = replace(self, costs={name: self._column(c) for name, c in self.costs.items()})
        used = np.prod(self.splits, axis=1)
        order = known.settle(np.arange(len(used)), shown, exact)
        listed = [int(row) for row in order[:shown]]
        wide = np.flatnonzero((used > WIDE * tiles) & (self.work <= EVEN))
        record: dict[str, Any] = {
            "candidates": len(self.splits),
            "chosen": known.row(listed[0]),
            "next": [known.row(row) for row in listed[1:]],
        }
        if len(wide):
            best = known.settle(wide, 1, exact)[0]
            record["cheapest wide and even"] = known.row(int(best))
        return listed[0], record

    def _column(self, cost: NDArray[Any]) -> NDArray[Any]:
        return np.array(np.broadcast_to(cost, (len(self.splits),)))

    def settle(self, rows: Ints, count: int, exact: Exact | None) -> Ints:
        """Put rows in order, the first `count` by their exact costs, which are written down."""
        used = np.prod(self.splits, axis=1)
        bound = self.total()
        order = rows[rank([bound[rows], self.work[rows], used[rows]])]
        if exact is None:
            return order
        done = 0
        while True:
            asked = order[done : done + _CHUNK]
            for name, column in exact(asked).items():
                self.costs[name][asked] = column
            done += len(asked)
            total = self.total()
            known = order[:done]
            if done == len(order):
                break
            if done >= count and np.sort(total[known])[count - 1] <= bound[order[done]]:
                break
        return known[rank([total[known], self.work[known], used[known]])]

    def row(self, row: int) -> dict[str, Any]:
        """The record of one row."""
        splits = dict(zip(self.dims, (int(s) for s in self.splits[row]), strict=True))
        costs = {name: int(self._column(cost)[row]) for name, cost in self.costs.items()}
        extra = {name: column[row].item() for name, column in self.extra.items()}
        return {
            **extra,
            "splits": splits,
            "tiles": int(np.prod(self.splits[row])),
            "balance": round(float(self.work[row]), 4),
            "cycles": sum(costs.values()),
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
