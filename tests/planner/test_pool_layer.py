"""A pooling layer with its gradient, as calibration builds it."""

from __future__ import annotations

import dataclasses

import pytest

from ipuc.planner.pool_layer import pool_layer
from ipuc.planner.window import Slide
from ipuc.target import CATALOGUE

GC2 = CATALOGUE["gc2"]
THIRDS = (Slide(35, 17, 3, 2), Slide(35, 17, 3, 2))


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_more_channels_and_a_gradient_cost_more(kind: str) -> None:
    few, many = (pool_layer(GC2, kind, THIRDS, 1, n, lies=8) for n in (64, 512))
    assert few.cycles < many.cycles
    assert few.total_memory_bytes < many.total_memory_bytes
    forward = pool_layer(GC2, kind, THIRDS, 1, 64, lies=8, gradient=False)
    assert forward.cycles < few.cycles
    assert forward.items["layouts"] * 2 == few.items["layouts"] == 2 * GC2.layout_change_cycles
    assert forward.items["entry"] == GC2.compute_set_cycles


def test_a_mean_is_divided_beforehand() -> None:
    layer = pool_layer(GC2, "mean", THIRDS, 1, 64, lies=8)
    assert layer.items["entry"] == 3 * GC2.compute_set_cycles
    assert (
        pool_layer(GC2, "max", THIRDS, 1, 64, lies=8).items["entry"] * 3 == 2 * layer.items["entry"]
    )


def test_halves_that_lie_apart_are_sorted_in_every_pass_that_reads_them() -> None:
    apart, together = (pool_layer(GC2, "max", THIRDS, 1, 64, lies=n) for n in (1, 8))
    assert together.items["sorting"] == 0
    assert apart.items["sorting"] > 2 * 587
    whole = pool_layer(GC2, "max", THIRDS, 1, 64, lies=1, dtype="float32")
    assert whole.items["sorting"] == 0
    once = pool_layer(GC2, "max", THIRDS, 1, 64, lies=1, gradient=False)
    assert 587 < once.items["sorting"] < apart.items["sorting"]


def test_fixed_costs_are_the_target_records() -> None:
    slow = dataclasses.replace(GC2, compute_set_cycles=400, layout_change_cycles=2000)
    old, new = (pool_layer(target, "max", THIRDS, 1, 64, lies=8) for target in (GC2, slow))
    assert new.cycles - old.cycles == 2 * (400 - 190) + 2 * (2000 - 960)


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_one_window_is_a_reduction(kind: str) -> None:
    whole = (Slide(7, 1, 7), Slide(7, 1, 7))
    made = pool_layer(GC2, kind, whole, 1, 512, lies=16)
    # a tensor of 7 x 7 x 512 halves and its gradient, and what they come to
    tensors = 2 * 2 * (49 + 1) * 512
    assert made.cycles > 0
    assert made.total_memory_bytes > tensors


def test_memory_by_hand() -> None:
    """Forward alone: input and output; each tile's window of the input is its buffer."""
    slides = (Slide(8, 4, 2, 2), Slide(8, 4, 2, 2))
    made = pool_layer(GC2, "max", slides, 1, 16, lies=16, gradient=False)
    tensors = 2 * 16 * (64 + 16)
    assert tensors < made.total_memory_bytes < 3 * tensors + 1216 * 256
    assert GC2.memory_element_bytes < made.max_tile_bytes < GC2.memory_element_bytes + tensors
