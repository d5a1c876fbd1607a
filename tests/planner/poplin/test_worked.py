"""Plans whose cycles were worked out by hand from poplin's formulas, on a GC2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipuc.planner.poplin import cost
from ipuc.planner.poplin.cost import Pass, Problem
from ipuc.planner.poplin.methods import methods
from ipuc.planner.poplin.params import ConvParams, canonical, convolution, product
from ipuc.planner.poplin.search import choose, evaluate
from ipuc.planner.poplin.table import axes, grow
from ipuc.planner.poplin.transforms import Transforms, transformed
from ipuc.target import CATALOGUE

GC2 = CATALOGUE["gc2"]
#: Copies to other layouts are left out of the hand-made figures.
LAYOUT = ("rearrange", "rearrange_exchange", "regroup")
CONV = convolution((27, 27), (5, 5), channels=(64, 192), pads=((2, 2), (2, 2)))


def _row(
    params: ConvParams, method: str, how: Transforms, why: Pass, **wanted: int
) -> dict[str, Any]:
    """Itemised cycles of the one candidate with these splits."""
    made = transformed(canonical(params), how)
    found = next(one for one in methods(GC2, made, dense=why.dense) if one.name == method)
    problem = Problem(GC2, made, how, found, why)
    table = grow(axes(made, found, GC2.tiles), GC2.tiles, rate=found.rate, bound=1e6)
    keep = np.ones(len(table["used"]), bool)
    for name, column in table.items():
        plain = wanted.get(name, 1 if name.endswith(("_split", "_serial")) else None)
        keep &= True if plain is None else column == plain
    assert keep.sum() == 1, f"{keep.sum()} candidates"
    table = {name: column[keep] for name, column in table.items()}
    columns, total, temp = evaluate(problem, table)
    layout = sum(int(columns[name][0]) for name in LAYOUT)
    items = {name: int(columns[name][0]) for name in (*cost.EACH, *cost.ONCE)}
    return {**items, "total": int(total[0]) - layout, "temp": int(temp[0])}


def test_convolution_of_a_small_field() -> None:
    plan = choose(GC2, CONV, Pass.INFERENCE).plan
    assert plan.problem.method.name == "AMP"
    assert (plan.row["in_group"], plan.row["out_group"]) == (16, 8)
    splits = {name: value for name, value in plan.row.items() if name.endswith("_split")}
    assert {name: value for name, value in splits.items() if value > 1} == {
        "field0_split": 5,
        "out_split": 24,
        "in_split": 2,
        "kernel0_split": 5,
    }
    assert plan.row["used"] == 1200
    assert plan.items["compute"] == 10184
    assert plan.items["data_exchange"] == 1242
    assert plan.items["weight_exchange"] == 512
    assert plan.items["first_reduce_exchange"] == 1296
    assert plan.items["reduce"] == 1470
    assert plan.total - sum(plan.items[name] for name in LAYOUT) == 14704
    assert plan.temp_bytes == pytest.approx(18.1e3, rel=0.01)


def test_matrix_as_field_on_dot_products() -> None:
    items = _row(
        product(1, 9216, 4096),
        "HMAC",
        Transforms(swap=True),
        Pass.PRODUCT,
        field1_split=86,
        in_split=14,
        in_group=660,
    )
    assert items["compute"] == 8737
    assert items["weight_exchange"] == 327
    assert items["first_reduce_exchange"] == 48
    assert items["reduce"] == 480
    assert items["total"] == 9592


def test_dot_products_win_for_one_row() -> None:
    best = choose(GC2, product(1, 9216, 4096), Pass.PRODUCT)
    assert best.plan.problem.method.name == "HMAC"
    assert best.plan.problem.transforms.swap
    assert best.plan.total < 1.01 * 9592


def test_matrix_unit_wins_for_many_rows() -> None:
    best = choose(GC2, product(64, 1024, 1024), Pass.PRODUCT)
    assert best.plan.problem.method.name == "AMP"
    # 7.2k cycles without swapped operands, so the best of both is no more.
    assert best.plan.total < 7200


def test_plans_are_listed_in_order() -> None:
    best = choose(GC2, CONV, Pass.INFERENCE)
    assert len(best.plans) == 5
    totals = [(plan.total, plan.temp_bytes) for plan in best.plans]
    assert totals == sorted(totals)
    for plan in best.plans:
        assert plan.total == cost.planned(plan.items, plan.serial)
        assert plan.temp_bytes <= 0.6 * GC2.tile_memory_bytes
        assert plan.record()["cycles"] == plan.total


def test_equal_convolutions_share_a_plan() -> None:
    # The last row and column of 28 are never read with this stride.
    wide = convolution((28, 28), (3, 3), channels=(16, 16), stride=(2, 2))
    assert choose(GC2, wide, Pass.INFERENCE) is choose(GC2, canonical(wide), Pass.INFERENCE)


def test_little_memory_makes_a_serial_or_smaller_plan() -> None:
    big = product(1000, 256, 10000)
    free = choose(GC2, big, Pass.PRODUCT, available_memory=1.0).plan
    tight = choose(GC2, big, Pass.PRODUCT, available_memory=0.3).plan
    assert tight.temp_bytes <= 0.3 * GC2.tile_memory_bytes < free.temp_bytes
    assert tight.total > free.total


def test_a_bound_that_nothing_meets_is_doubled() -> None:
    params = product(8, 100, 100)
    best = choose(GC2, params, Pass.PRODUCT).plan
    least = choose(GC2, params, Pass.PRODUCT, available_memory=1e-5).plan
    assert least.temp_bytes > 1e-5 * GC2.tile_memory_bytes
    assert least.temp_bytes <= best.temp_bytes
    assert least.total >= best.total
