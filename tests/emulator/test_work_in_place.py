"""Large updates change memory where it lies, part by part; NumPy in float64 is the judge."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ipuc.codelets.fully_connected_weight_update import FullyConnectedWeightUpdate
from ipuc.emulator.parts import parted
from ipuc.emulator.run import Emulator
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.program.program import Program
from ipuc.target import parse_target

ROWS, COLUMNS, SLICES = 1024, 2048, 4
RATE, KEEP = 0.5, 0.75


def program(batch: int) -> Program:
    """Weights of which every vertex has a slice of one row."""
    builder = Builder(parse_target("tiny"))
    x = builder.input("x", "float32", (batch, COLUMNS))
    deltas = builder.input("deltas", "float32", (batch, ROWS))
    weights = builder.constant("weights", np.ones((ROWS, COLUMNS), np.float32))
    row, part = np.arange(ROWS), np.arange(SLICES) * (COLUMNS // SLICES)
    wide = COLUMNS // SLICES
    with builder.compute_set("update") as compute_set:
        compute_set.add(
            FullyConnectedWeightUpdate(RATE, KEEP),
            separable(0, np.arange(SLICES), 0 * row),
            x=builder.field(x, [part, 0 * row], (batch, wide), (COLUMNS, 1)),
            deltas=builder.field(deltas, [0 * part, row], (batch,), (ROWS,)),
            weights=builder.field(weights, [part, row * COLUMNS], (wide,)),
        )
    builder.output("weights", weights)
    builder.map_rest()
    return builder.build()


@pytest.mark.parametrize("batch", [1, 3])
def test_weights_are_updated_where_they_lie(batch: int) -> None:
    """Beside what the program gives back, less than a quarter of the weights is ever held."""
    draw = np.random.default_rng(batch)
    x = draw.standard_normal((batch, COLUMNS)).astype(np.float32)
    deltas = draw.standard_normal((batch, ROWS)).astype(np.float32)
    emulator, wanted = Emulator(program(batch)), np.ones((ROWS, COLUMNS))
    for _ in range(2):  # a constant is copied when it is changed for the first time
        tracemalloc.start()
        found = emulator.run({"x": x, "deltas": deltas})["weights"]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        wanted = KEEP * wanted - RATE * deltas.T.astype(np.float64) @ x
        # products of numbers below 5, a handful of roundings of 6e-8
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert peak < 1.25 * found.nbytes


def test_parts_of_a_matrix_are_stretches_of_memory() -> None:
    """Not columns, although there are more of them."""
    (family,) = program(1).families()
    parts = parted(family)
    assert len(parts) == ROWS * COLUMNS // (1 << 19)
    assert {part.grid for part in parts} == {(SLICES, ROWS // len(parts))}
