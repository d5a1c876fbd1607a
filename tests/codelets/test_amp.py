"""Worker time and batched products, against plain loops and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.amp import grouped_product, row_time, worker_runs

MANY = settings(max_examples=200, deadline=None)


def pieces_of(rows: int, width: int, workers: int) -> list[list[int]]:
    """For each worker, how many outputs of each row lie in its run; one output at a time."""
    found: list[list[int]] = []
    for worker in range(workers):
        begin, end = worker * rows * width // workers, (worker + 1) * rows * width // workers
        counts: dict[int, int] = {}
        for output in range(begin, end):
            counts[output // width] = counts.get(output // width, 0) + 1
        found.append(list(counts.values()))
    return found


@given(rows=st.integers(0, 12), width=st.integers(1, 20), workers=st.integers(1, 7))
@MANY
def test_worker_runs(rows: int, width: int, workers: int) -> None:
    """Pieces, first and last of every worker's run of outputs in row order."""
    pieces, head, tail = worker_runs(rows, width, workers)
    wanted = pieces_of(rows, width, workers)
    assert pieces.tolist() == [len(run) for run in wanted]
    assert head.tolist() == [run[0] if run else 0 for run in wanted]
    assert tail.tolist() == [run[-1] if len(run) > 1 else 0 for run in wanted]


@given(
    rows=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    width=st.integers(1, 20),
    start=st.integers(0, 30),
)
@MANY
def test_row_time(rows: list[int], width: int, start: int) -> None:
    """The slowest and the quickest of six workers, for a column of shapes at once."""

    def cost(n: Any) -> Any:
        return start + 3 * n + (np.asarray(n) % 4 == 1)

    slow, quick = row_time(np.array(rows), width, 6, cost)
    for place, count in enumerate(rows):
        times = [sum(int(cost(n)) for n in run) for run in pieces_of(count, width, 6)]
        assert (slow[place], quick[place]) == (max(times), min(times))


@given(
    seed=st.integers(0, 2**32 - 1),
    grid=st.lists(
        st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), min_size=1, max_size=4
    ),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
)
@MANY
def test_products_of_shared_operands(
    seed: int, grid: list[tuple[int, bool, bool]], sizes: tuple[int, int, int]
) -> None:
    """Merging grid axes into rows and columns gives numpy.matmul's numbers."""
    random = np.random.default_rng(seed)
    m, k, n = sizes
    extents = tuple(extent for extent, _, _ in grid)
    left = random.integers(-9, 9, (*(1 if shared else e for e, shared, _ in grid), m, k))
    right = random.integers(-9, 9, (*(1 if shared else e for e, _, shared in grid), k, n))
    wanted = np.broadcast_to(left.astype(float) @ right.astype(float), (*extents, m, n))
    made = grouped_product(
        np.broadcast_to(left.astype(float), (*extents, m, k)),
        np.broadcast_to(right.astype(float), (*extents, k, n)),
        extents,
        left_rows=1,
        right_columns=1,
    )
    np.testing.assert_array_equal(np.broadcast_to(made, wanted.shape), wanted)
