"""Whole layers: what runs besides the plans, and that nothing planned only is charged."""

from __future__ import annotations

import dataclasses

import numpy as np

from ipuc.codelets.cycles import move
from ipuc.planner.poplin.executed import (
    CONV_LAYOUTS,
    FC_LAYOUTS,
    conv_layer,
    fc_layer,
    matmul_layer,
    octave_layer,
    plan_cycles,
)
from ipuc.planner.poplin.footprint import messages, standing_bytes
from ipuc.planner.poplin.params import convolution
from ipuc.target import CATALOGUE

GC2 = CATALOGUE["gc2"]
SMALL = convolution((14, 14), (3, 3), channels=(32, 32), batch=2, pads=((1, 1), (1, 1)))


def test_an_unsplit_depth_sends_no_partial_sums() -> None:
    layer = matmul_layer(GC2, 200, 64, 10000)
    (plan,) = layer.plans
    assert plan.depth == 1
    ran = plan_cycles(GC2, plan)
    assert plan.items["first_reduce_exchange"] > 0
    assert ran["first_reduce_exchange"] == 0
    assert "regroup" not in ran
    # The vertex and the cast of its sums are two compute sets, the addition is a third.
    assert layer.items["entry"] == 3 * GC2.compute_set_cycles
    assert "layouts" not in layer.items


def test_a_split_depth_sends_its_partial_sums() -> None:
    layer = fc_layer(GC2, 16, 1000, 1000)
    split = [plan for plan in layer.plans if plan.depth > 1]
    assert split
    for plan in split:
        ran = plan_cycles(GC2, plan)
        assert ran["first_reduce_exchange"] == plan.serial * plan.items["first_reduce_exchange"]
        assert ran["reduce"] > 0
    assert layer.items["layouts"] == FC_LAYOUTS * GC2.layout_change_cycles


def test_fitted_figures_are_the_target_records() -> None:
    slow = dataclasses.replace(
        GC2, layout_change_cycles=2000, compute_set_cycles=400, rearrange_percent_float16=0
    )
    old, new = conv_layer(GC2, SMALL), conv_layer(slow, SMALL)
    assert new.items["layouts"] == CONV_LAYOUTS * 2000
    assert new.items["entry"] * GC2.compute_set_cycles == old.items["entry"] * 400
    assert old.items["rearrange"] > 0
    assert "rearrange" not in new.items


def test_three_passes_of_a_convolution() -> None:
    layer = conv_layer(GC2, SMALL)
    assert [plan.problem.purpose.value for plan in layer.plans] == [
        "conv forward",
        "conv data gradient",
        "conv weight gradient",
    ]
    assert layer.cycles == sum(layer.items.values())
    # Twice the batch is more work, and less than twice the fixed part.
    twice = conv_layer(GC2, dataclasses.replace(SMALL, batch=4))
    assert layer.cycles < twice.cycles < 2 * layer.cycles


def test_octave_paths_share_their_layout_changes() -> None:
    alone = conv_layer(GC2, SMALL)
    both = octave_layer(GC2, [SMALL, SMALL])
    assert both.cycles == 2 * alone.cycles - alone.items["layouts"]


def test_reduction_stages_multiply_to_their_depth() -> None:
    stages = move.reduction_stages(1472)
    depth = np.arange(len(stages))
    assert (stages.prod(axis=1)[1:] >= depth[1:]).all()
    assert ((stages > 1).sum(axis=1)[[1, 2, 15, 16, 124, 125, 1472]] == [0, 1, 1, 2, 2, 3, 3]).all()
    # No stage is longer than its fair share by more than rounding.
    assert stages[16:125].max() <= 13
    assert stages[125:].max() <= 13


def test_memory_is_tensors_and_the_hungriest_pass() -> None:
    layer = matmul_layer(GC2, 200, 64, 10000)
    (plan,) = layer.plans
    tensors = 2 * (200 * 64 + 64 * 10000 + 200 * 10000)
    assert layer.tensor_bytes == tensors
    # The operands were made for the plan, so nothing is rearranged.
    each = plan.temp_bytes + standing_bytes(plan)
    assert layer.total_memory_bytes == tensors + plan.row["used"] * each
    # The matrix unit writes above the first 128 KiB, though little more is used.
    assert layer.max_tile_bytes == 131_072 + plan.items["partial_bytes"]
    assert layer.max_tile_bytes > plan.temp_bytes


def test_standing_bytes_by_hand() -> None:
    """The 200 x 64 by 64 x 10000 product on a GC2: 93 x 13 tiles of one long row each.

    Swapped, so the second matrix is the data: four groups of 16 channels by 108 columns, which 13
    tiles share; the weights are two groups of 8 outputs, which 93 tiles share in pieces of 256 B.
    """
    (plan,) = matmul_layer(GC2, 200, 64, 10000).plans
    assert (plan.row["in_groups"], plan.row["out_groups"], plan.row["out_split"]) == (4, 2, 13)
    received = (13 - 1 + 4) + (2 * 8 * 64 * 2 // 256 + 2)
    assert messages(plan) == received
    edges, lists = 4 + 4 * 2 + 2, 1
    assert standing_bytes(plan) == 4 * (edges + lists) + 6 * 6 + 16 * received


def test_what_stays_is_of_every_pass() -> None:
    layer = fc_layer(GC2, 16, 1000, 1000)
    assert len(layer.plans) == 3
    passes = [plan.row["used"] * plan.temp_bytes for plan in layer.plans]
    standing = [plan.row["used"] * standing_bytes(plan) for plan in layer.plans]
    assert layer.total_memory_bytes == layer.tensor_bytes + sum(standing) + max(passes)


def test_kernels_and_rows_need_worklists() -> None:
    """One list a worker and kernel position; of row pieces, one a row and a cut between workers."""

    def lists(**changed: int) -> int:
        made = dataclasses.replace(plan, row=dict(plan.row) | {"in_group": 16} | changed)
        return standing_bytes(made) - 16 * messages(made)

    plan = conv_layer(GC2, SMALL).plans[0]
    assert plan.problem.method.name == "AMP"
    assert len(plan.problem.params.dims) == 2
    line = {"kernel0": 1, "kernel1": 3, "field0": 4, "batch": 1}
    one, three = lists(**line), lists(**line | {"kernel0": 3})
    assert three - one == (9 - 3) * (6 * 4 + (4 + 5) * 6)
    assert lists(**line | {"field0": 5}) - one == 3 * 6


def test_paths_of_an_octave_rearrange_together() -> None:
    one, two = conv_layer(GC2, SMALL), octave_layer(GC2, [SMALL, SMALL])
    standing = sum(plan.row["used"] * standing_bytes(plan) for plan in one.plans)
    copied = [plan.row["used"] * plan.items["copied_bytes"] for plan in one.plans]
    temp = [plan.row["used"] * plan.temp_bytes for plan in one.plans]
    assert max(copied) > 0
    passes = [c + t for c, t in zip(copied, temp, strict=True)]
    assert one.total_memory_bytes == one.tensor_bytes + standing + max(passes)
    passes = [2 * c + t for c, t in zip(copied, temp, strict=True)]
    assert two.total_memory_bytes == 2 * (one.tensor_bytes + standing) + max(passes)


def test_partial_sums_are_received_and_pointed_at_in_every_stage() -> None:
    """Depth 83 is added in stages of 9 and 10: two vertices, each with one edge for its sum."""
    plan = conv_layer(GC2, SMALL).plans[0]
    assert move.reduction_stages(GC2.tiles)[83].tolist() == [10, 9, 1]
    alone, deep = (dataclasses.replace(plan, depth=depth) for depth in (1, 83))
    assert messages(deep) - messages(alone) == 10 + 9
    more = standing_bytes(deep) - standing_bytes(alone)
    assert more == 16 * (10 + 9) + 4 * (10 + 1 + 9 + 1)
