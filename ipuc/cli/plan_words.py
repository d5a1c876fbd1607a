"""Plan records in words: what a plan splits, how it rewrites, and what its costs are for.

Records come from files, so nothing here trusts them: what is not as expected is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

#: Keys of a record that have rows of their own; others are shown under their own name.
_SHOWN = frozenset(
    {
        *("method", "in group", "out group", "swap", "expand", "flatten out", "dilate after"),
        *("rearrange", "splits", "serial", "tiles", "balance", "cycles", "temp bytes", "costs"),
        "planned",
    }
)

METHODS = {
    "AMP": "the matrix unit multiplies a group of input channels by a group of output channels",
    "SLIC": "the matrix unit holds a short piece of a kernel row and slides data past it",
    "HMAC": "workers multiply and add along input channels, without the matrix unit",
    "VMAC": "workers multiply and add for several groups side by side, without the matrix unit",
    "OUTER_PRODUCT": "each element of a row times each weight; nothing is added up",
    "MAC": "workers multiply and add along the depth, without the matrix unit",
}

#: What the cost items pay for. Source of the items: PopLibs ConvModel.cpp.
ITEMS = {
    "input exchange": "receiving activations",
    "left exchange": "receiving the left operand",
    "right exchange": "receiving the right operand",
    "weight exchange": "receiving weights",
    "partials exchange": "receiving partial sums of other tiles",
    "exchange": "receiving operands and partial sums",
    "compute": "the vertices that multiply, or do the layer's work",
    "reduce": "adding up partial sums",
    "sync": "barriers",
    "slice": "cutting the operands of a serial step out",
    "rearrange": "copies that bring operands into the order the vertices want",
    "rearrange_exchange": "moving what is rearranged",
    "regroup": "copies that change the grouping of channels",
    "data_exchange": "receiving activations",
    "hoisted_data_exchange": "receiving activations, once before the serial loop",
    "weight_exchange": "receiving weights",
    "padding": "writing zeros around the data",
    "first_reduce_exchange": "receiving partial sums for the first stage of the reduction",
    "later_reduce_exchange": "receiving partial sums for later stages of the reduction",
    "cast": "converting the result to its element type",
    "deferred_cast": "converting the result, once after the serial loop",
    "update": "putting a serial step's result into place",
    "accumulate": "adding a serial step's result to those before",
    "weight_rearrange": "bringing weights into the order the vertices want, once",
    "entry": "starting compute sets",
}

#: Items that are paid once, not in every serial step.
ONCE = frozenset({"weight_rearrange", "hoisted_data_exchange", "deferred_cast"})

_SPLITS = {
    "group": "groups",
    "groups": "groups",
    "batch": "images",
    "in": "input channels",
    "ins": "input channels",
    "out": "output channels",
    "outs": "output channels",
    "depth": "depth",
}
_FIELD = re.compile(r"(field|kernel|batch)(\d{1,3})")


def axis_word(index: int) -> str:
    """A dimension of a field: rows, columns, or its number."""
    return ("rows", "columns")[index] if index < 2 else f"axis {index}"


def split_word(name: str) -> str:
    """What a split cuts into parts."""
    found = _FIELD.fullmatch(name)
    if not found:
        return _SPLITS.get(name, name)
    which = int(found[2])
    if found[1] == "batch":
        return f"batch axis {which}"
    return f"{'output' if found[1] == 'field' else 'kernel'} {axis_word(which)}"


def split_row(name: str) -> str:
    """Title of the row of a split; a reduction's are the tiles of its stages."""
    known = name in _SPLITS or name in ("rows", "columns", "channels") or _FIELD.fullmatch(name)
    return f"parts of {split_word(name)}" if known else f"tiles, {name}"


def transforms(record: Record) -> dict[str, str]:
    """Rewritings that a plan uses: their short name, and what they mean."""
    found: dict[str, str] = {}
    record = spaced(record)
    if record.get("swap") is True:
        found["swap"] = "data and weights change places: filters count as images, images as filters"
    for key, short, meaning in (
        ("expand", "expand", "elements of the kernel's {} become input channels (im2col)"),
        ("flatten out", "flatten", "output {} become output channels"),
        ("dilate after", "dilate after", "zeros between {} are put into the result, not the data"),
    ):
        axes = record.get(key)
        if isinstance(axes, list | tuple) and axes and all(_whole(axis) for axis in axes):
            words = " and ".join(axis_word(axis) for axis in axes)
            found[f"{short} {words}"] = meaning.format(words)
    return found


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def plan_rows(plans: Sequence[Record]) -> list[list[str]]:
    """A table of plans: a row for each thing that is said of them, a column for each plan.

    Returns:
        Rows of cells, the first cell the row's name; rows that say nothing are left out.
    """
    plans = [spaced(plan) for plan in plans]
    rows = [
        _row("method", [str(plan.get("method", "")) for plan in plans]),
        _row("input channels in a group", [_cell(plan.get("in group")) for plan in plans]),
        _row("output channels in a group", [_cell(plan.get("out group")) for plan in plans]),
    ]
    if any("swap" in plan for plan in plans):
        rows.append(["rewritten", *(", ".join(transforms(plan)) or "no" for plan in plans)])
    if any("rearrange" in plan for plan in plans):
        rows.append(["copied into order first", *(_words(plan.get("rearrange")) for plan in plans)])
    rows += _others(plans)
    splits = [_table(plan.get("splits")) for plan in plans]
    for name in _keys(splits):
        if any(split.get(name, 1) != 1 for split in splits):
            cells = (_cell(split.get(name, 1)) for split in splits)
            rows.append([split_row(name), *cells])
    rows += _serial(plans)
    rows.append(_row("tiles", [_cell(plan.get("tiles")) for plan in plans]))
    rows.append(_row("busiest tile / mean", [_cell(plan.get("balance")) for plan in plans]))
    rows.append(_row("temporary bytes", [_cell(plan.get("temp bytes")) for plan in plans]))
    costs = [_table(plan.get("costs")) for plan in plans]
    rows += [
        [name.replace("_", " "), *(_cell(cost.get(name, 0)) for cost in costs)]
        for name in _keys(costs)
    ]
    totals = [_number(plan.get("cycles")) for plan in plans]
    rows.append(_row("cycles", [_cell(total) for total in totals]))
    rows.append(_row("ratio to the chosen", [_ratio(total, totals[0]) for total in totals]))
    rows.append(_row("the planner's own count", [_cell(plan.get("planned")) for plan in plans]))
    return [row for row in rows if row]


def spaced(record: Record) -> Record:
    """A record with spaces in its keys, where one planner writes underscores."""
    return {str(key).replace("_", " "): value for key, value in record.items()}


def _words(value: Any) -> str:
    return " ".join(str(word) for word in value) or "no" if isinstance(value, list) else "no"


def _row(name: str, cells: list[str]) -> list[str]:
    return [name, *(cell or "-" for cell in cells)] if any(cells) else []


def _others(plans: Sequence[Record]) -> list[list[str]]:
    """Rows of what is said under other names: tiles per row and column, input groups."""
    rows = []
    for name in _keys(plans):
        if name not in _SHOWN:
            cells = [_cell(plan.get(name)) for plan in plans]
            rows.append(_row(name, cells))
    return rows


def _serial(plans: Sequence[Record]) -> list[list[str]]:
    """Rows of the serial loop, which is a number of steps, or one for each dimension."""
    loops = [plan.get("serial") for plan in plans]
    tables = [_table(loop) for loop in loops]
    rows = [
        [f"serial steps over {split_word(name)}", *(_cell(t.get(name, 1)) for t in tables)]
        for name in _keys(tables)
        if any(t.get(name, 1) != 1 for t in tables)
    ]
    if any(_number(loop) not in (None, 1) for loop in loops):
        rows.append(_row("serial steps", [_cell(_number(loop)) for loop in loops]))
    return rows


def serial_steps(record: Record) -> int:
    """Steps of a plan's serial loop; 1 if it has none."""
    loop = record.get("serial", 1)
    steps = 1
    for count in loop.values() if isinstance(loop, Mapping) else (loop,):
        steps *= count if _whole(count) else 1
    return steps


def planned_parts(record: Record) -> dict[str, int] | None:
    """Planned cycles of a layer as a profile has them: compute, exchange, sync.

    Items of a serial step count once for each step, unless they already do. None if the items do
    not make up the plan's total.
    """
    total = _number(record.get("cycles"))
    steps = serial_steps(record)
    costs = _costs(record)
    for times in (1, steps):
        parts = dict.fromkeys(("compute", "exchange", "sync"), 0)
        for name, value in costs.items():
            part = "sync" if name == "sync" else "exchange" if "exchange" in name else "compute"
            parts[part] += value * (1 if name in ONCE else times)
        if costs and sum(parts.values()) == total:
            return parts
    return None


def paid_each_step(record: Record) -> bool:
    """Whether the items of a plan are those of one of its serial steps, its total that of all."""
    return sum(_costs(record).values()) != record.get("cycles")


def _costs(record: Record) -> dict[str, int]:
    return {name: value for name, value in _table(record.get("costs")).items() if _whole(value)}


def _table(value: Any) -> Record:
    return value if isinstance(value, Mapping) else {}


def _keys(tables: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(str(key) for table in tables for key in table))


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _ratio(total: float | None, chosen: float | None) -> str:
    return f"{total / chosen:.2f}" if total is not None and chosen else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
