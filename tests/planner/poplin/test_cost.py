"""Cost columns against poplin's formulas written a second time, one candidate at a time.

Plain whole numbers and loops over the workers' runs; equality is exact. It guards the columns:
that every row is charged with its own sizes, and the partition of work is the real one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ipuc.planner.poplin.cost import Pass, Problem
from ipuc.planner.poplin.methods import methods
from ipuc.planner.poplin.params import (
    ConvParams,
    canonical,
    convolution,
    data_gradient,
    product,
    weight_gradient,
)
from ipuc.planner.poplin.search import evaluate
from ipuc.planner.poplin.table import axes, grow, take
from ipuc.planner.poplin.transforms import choices, transformed
from ipuc.target import CATALOGUE, Target

Row = dict[str, int]
WORKERS = 6


def up(a: int, b: int) -> int:
    return -(-a // b)


def pieces(rows: int, width: int) -> list[list[int]]:
    """Lengths of the row pieces of each worker, outputs counted one by one."""
    found: list[list[int]] = []
    for worker in range(WORKERS):
        mine = range(worker * rows * width // WORKERS, (worker + 1) * rows * width // WORKERS)
        in_rows: dict[int, int] = {}
        for output in mine:
            in_rows[output // width] = in_rows.get(output // width, 0) + 1
        found.append(list(in_rows.values()))
    return found


def shape(problem: Problem, row: Row) -> tuple[list[int], list[int], list[int]]:
    rank = range(len(problem.params.dims))
    outs = [row[f"field{d}"] for d in rank]
    kernel = [row[f"kernel{d}"] for d in rank]
    touched = [up(o, dim.step) for o, dim in zip(outs, problem.params.dims, strict=True)]
    return outs, kernel, touched


def zeros(problem: Problem, row: Row) -> int:
    outputs = row["batch"] * math.prod(shape(problem, row)[0])
    vectors = up(up(outputs * row["out_group"], WORKERS), 2)
    return WORKERS * row["out_groups"] * row["groups"] * (vectors + 5)


def amp_nx1(problem: Problem, row: Row) -> int:
    """Half data, float32 partial sums, 8 units."""
    _, kernel, touched = shape(problem, row)
    fused = 16 // row["in_group"]

    def piece(n: int) -> int:
        return {1: 23, 2: 28}.get(n, 28 + 4 * (n - 3))

    lists = pieces(row["batch"] * math.prod(touched[:-1]), touched[-1])
    times = [17 + sum(map(piece, one)) for one in lists]
    p = up(row["out_group"], 8)
    position = p * max(WORKERS * max(times), WORKERS * min(times) + 9)
    outer, inner = up(kernel[0], fused), math.prod(kernel[1:])
    e = {1: 15, 2: 46, 4: 60}[fused]
    loop = outer * (14 + inner * (12 + p * (32 + e + 3))) + outer * inner * position
    g, og, ig = row["groups"], row["out_groups"], row["in_groups"]
    cycles = 109 + 9 * WORKERS + 9 * WORKERS + g * (17 * og + 6 * (og - 1) + 1) + 6 * (g - 1) + 1
    return cycles + g * (16 + ig * (14 + og * (14 + loop))) + zeros(problem, row)


def amp_1x1(problem: Problem, row: Row) -> int:
    outputs = math.prod(shape(problem, row)[0])
    each = [(w + 1) * outputs // WORKERS - w * outputs // WORKERS for w in range(WORKERS)]

    def run(start: int, n: int) -> int:
        table = ((21, 22), (32, 33), (41, 42))
        return (table[n][start] if n < 3 else 37 + start + 4 * (n - 3)) - 7

    def worst(kind: int) -> int:
        times = [run(kind, n) for n in each]
        return max(WORKERS * max(times), WORKERS * min(times) + 14)

    g, og, ig, p = row["groups"], row["out_groups"], row["in_groups"], up(row["out_group"], 8)
    later = (ig - 1) * (15 + og * (19 + p * (6 + 32 + worst(1))))
    first = 11 + og * (18 + p * (7 + 32 + worst(0)))
    return 50 + WORKERS * (7 + 3 * (ig * g - 1)) + g * (13 + later + first)


def hmac(problem: Problem, row: Row) -> int:
    _, kernel, touched = shape(problem, row)
    size = row["in_group"]
    if size % 4 == 0:
        product_cycles = 6 + size // 4
    elif size % 2 == 0:
        product_cycles = 7 + size
    else:
        product_cycles = 7 + 2 * size
    lists = pieces(row["batch"] * math.prod(touched[:-1]), touched[-1])
    single = problem.long_row
    chans = row["out_group"]

    def piece(n: int) -> int:
        if single and chans == 1:
            return 14 + n * (2 + product_cycles)
        return (13 if single else 19) + n * (7 + chans * product_cycles)

    start = 16 - (15 if single else 6)
    worker = 16 + math.prod(kernel) * (start + max(sum(map(piece, one)) for one in lists))
    g, og, ig = row["groups"], row["out_groups"], row["in_groups"]
    cycles = 65 - 10 * single + 9 * WORKERS + WORKERS * (15 if single else 0)
    cycles += g * (23 + ig * (15 + og * (10 + WORKERS * worker)))
    return cycles + (0 if single and ig == chans == 1 else zeros(problem, row))


def exchanges(problem: Problem, row: Row) -> dict[str, int]:
    outs, kernel, _ = shape(problem, row)
    field = 1
    for dim, o, k in zip(problem.params.dims, outs, kernel, strict=True):
        seen = ((o - 1) * dim.result.stride + (k - 1) * dim.weights.dilation) // dim.data.dilation
        field *= min(seen + 1, dim.size - sum(dim.data.trunc))
    ci, co = row["in_group"] * row["in_groups"], row["out_group"] * row["out_groups"]
    data = field * row["batch"] * ci * row["groups"]
    weights = math.prod(kernel) * ci * co * row["groups"]
    result = math.prod(outs) * row["batch"] * co * row["groups"]
    users = row["batch_split"] * math.prod(row[f"field{d}_split"] for d in range(len(outs)))
    pair = 1 if row["out_split"] % 2 else 2
    came = up((data - data // row["out_split"]) * 2, 4 * pair)
    return {
        "data_exchange": came,
        "weight_exchange": up((weights - weights // users) * 2, 4),
        "first_reduce_exchange": up(result * 4, 4),
    }


def reduction(problem: Problem, row: Row) -> int | None:
    """One stage, float32 partial sums into half; None for other depths."""
    depth = row["in_split"] * math.prod(
        row[f"kernel{d}_split"] for d in range(len(problem.params.dims) - 1)
    )
    if not 1 < depth < 16:
        return None
    ci_free = math.prod(shape(problem, row)[0]) * row["batch"] * row["groups"]
    outputs = up(ci_free * row["out_group"] * row["out_groups"], depth)
    left = outputs % 4
    blocks = outputs // 4 + left.bit_count()
    rounds, start = blocks // WORKERS, 32
    if blocks % WORKERS:
        rounds += left == 0
        start += 2 * depth + 13 if left else 0
    return WORKERS * (start + rounds * (3 * depth + 6))


FORWARD = convolution((14, 13), (3, 5), channels=(48, 40), batch=2, pads=((1, 1), (2, 2)))
STRIDED = convolution((15, 15), (3, 3), channels=(20, 24), stride=(2, 2), pads=((1, 1), (1, 1)))
CASES: dict[str, tuple[ConvParams, Pass]] = {
    "forward": (FORWARD, Pass.FORWARD),
    "strided": (STRIDED, Pass.FORWARD),
    "data": (data_gradient(STRIDED), Pass.DATA),
    "weights": (weight_gradient(FORWARD), Pass.WEIGHTS),
    "matmul": (product(50, 120, 70), Pass.PRODUCT),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_are_the_formulas(case: str) -> None:
    params, why = CASES[case]
    params = canonical(params)
    target: Target = CATALOGUE["gc2"]
    rng = np.random.default_rng(7)
    checked = {"amp_nx1": 0, "amp_1x1": 0, "hmac": 0, "reduce": 0}
    for how in choices(params, (False, True)):
        made = transformed(params, how)
        for method in methods(target, made, dense=why.dense):
            if method.name not in {"AMP", "HMAC"} or method.partial != 4:
                continue
            problem = Problem(target, made, how, method, why)
            table = grow(axes(made, method, target.tiles), 64, rate=1.0, bound=1e12, most=20000)
            table = take(table, rng.integers(0, len(table["used"]), 12))
            parts, total, _ = evaluate(problem, table)
            for index in range(12):
                row = {name: int(column[index]) for name, column in table.items()}
                got: dict[str, Any] = {n: int(column[index]) for n, column in parts.items()}
                for name, want in exchanges(problem, row).items():
                    assert got[name] == want, (name, row)
                if method.name == "HMAC":
                    formula, name = hmac, "hmac"
                elif problem.long_row and row["in_group"] == 16:
                    formula, name = amp_1x1, "amp_1x1"
                else:
                    formula, name = amp_nx1, "amp_nx1"
                assert got["compute"] == formula(problem, row), (name, row)
                checked[name] += 1
                added = reduction(problem, row)
                if added is not None:
                    assert got["reduce"] == added, row
                    checked["reduce"] += 1
                assert total[index] >= row["out_serial"] * got["compute"]
    assert checked["hmac"] > 10
    assert checked["reduce"] > 3
    assert checked["amp_nx1"] + checked["amp_1x1"] > 20
