"""`ipuc explain`: why a layer is split as it is, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ipuc.cli.layers import find_layer, layer_values
from ipuc.cli.options import (
    CompileOptions,
    compile_options,
    debug_option,
    json_option,
    save_plan_option,
)
from ipuc.cli.output import counted, next_step, print_json, progress, say, shell_word, table
from ipuc.cli.paths import settle_output
from ipuc.cli.plan_words import (
    ITEMS,
    METHODS,
    Record,
    paid_each_step,
    plan_rows,
    planned_parts,
    serial_steps,
    transforms,
)
from ipuc.cli.source import open_program
from ipuc.errors import OptionError
from ipuc.planner.choices import parse_memory
from ipuc.planner.plan_file import write_plan
from ipuc.planner.precision import parse_precision
from ipuc.profile.record import MODELLED, Profile, profile
from ipuc.profile.tables import Row, by_compute_set, by_layer
from ipuc.program.program import Layer, Program

_HELP = """Say why a layer is split over tiles as it is, and what that costs.

PROGRAM is a .ipu file, or a model (.onnx) that is compiled first. LAYER is a name, a number, the
begin of a name, or the name of an ONNX node that was folded into the layer. Without LAYER all
layers are listed; without PROGRAM the newest .ipu of the current folder is taken.

The chosen plan stands beside the next four, item by item; below it, what the profile of the
program found for the same layer.

\b
Examples:
  ipuc explain alexnet.ipu
  ipuc explain alexnet.ipu conv1
  ipuc explain alexnet.onnx 0 --precision mixed --available-memory 0.3
  ipuc explain alexnet.ipu fc6 --json
"""

#: Plans beside the chosen one.
_NEXT = 4
_PARTS = ("compute", "exchange", "sync")


@click.command("explain", help=_HELP)
@click.argument("words", nargs=-1, metavar="[PROGRAM] [LAYER]")
@compile_options
@save_plan_option
@json_option
@debug_option
def command(
    words: tuple[str, ...], options: CompileOptions, save_plan: Path | None, as_json: bool
) -> None:
    """Find the layer, profile, print."""
    path, wanted = _arguments(words)
    plans = save_plan and settle_output(save_plan, "plan.json", source=path)
    with progress() as bar:
        opened = open_program(path, options, bar)
        number = None if wanted is None else find_layer(opened.program, wanted)
        found = profile(opened.program, lambda done, of: bar("profile", done, of))
    if plans is not None:
        write_plan(opened.program, plans)
    word = shell_word(str(opened.path))
    rows = by_layer(found)[: len(opened.program.layers)]
    if number is None:
        if as_json:
            print_json({"program": str(opened.path), "layers": _listed(opened.program, rows)})
            return
        _list(opened.program, rows)
        if opened.program.layers:
            next_step(f"ipuc explain {word} {shell_word(opened.program.layers[0].name)}")
        return
    facts = _facts(found, number, rows[number])
    if as_json:
        print_json({"program": str(opened.path), **facts})
        return
    _print(facts, _tables(found.program.layers[number]))
    if plans is not None:
        say(f"plans written: {plans}")
    next_step(f"ipuc show {word} --step {shell_word(facts['layer']['name'])} --tile 0")


def _arguments(words: tuple[str, ...]) -> tuple[Path | None, str | None]:
    """Tell program and layer apart: a single word is a program if it is a file, else a layer."""
    if len(words) > 2:
        raise OptionError(
            f"{len(words)} words are too many", fix="write ipuc explain PROGRAM LAYER"
        )
    if len(words) == 2:
        return Path(words[0]), words[1]
    if not words:
        return None, None
    path = Path(words[0])
    if path.suffix in (".ipu", ".onnx") or path.is_file():
        return path, None
    return None, words[0]


def _facts(found: Profile, number: int, row: Row) -> dict[str, Any]:
    """All that is said about a layer, as JSON values."""
    program = found.program
    layer = program.layers[number]
    inputs, outputs = layer_values(program, layer)
    steps = [one for one in by_compute_set(found) if one["layer"] == layer.name]
    tables = _tables(layer)
    return {
        "layer": {
            "name": layer.name,
            "number": number,
            "of": len(program.layers),
            "op": layer.op,
            "nodes": list(layer.nodes),
            "inputs": inputs,
            "outputs": outputs,
            **_settings(program, layer),
        },
        "plan": layer.plan or None,
        "reason": None if tables else _reason(program, layer, steps),
        "planned": _planned(tables),
        "profiled": {key: row[key] for key in ("cycles", *_PARTS, "tiles", "balance")}
        | {"bytes_exchanged": row["bytes_exchanged"], "peak_tile_bytes": row["peak_tile_bytes"]},
        "supersteps": steps,
    }


def _settings(program: Program, layer: Layer) -> dict[str, Any]:
    """What the compile was told about a layer; None where the program does not say."""
    about, target = program.metadata, program.target
    precision, memory = about.get("precision"), about.get("available_memory")
    pins = about.get("pinned")
    share = parse_memory(memory).memory(layer.name) if isinstance(memory, str) else None
    return {
        "precision": parse_precision(precision).of(layer.name).name
        if isinstance(precision, str)
        else None,
        "available_memory": share,
        "available_bytes": None if share is None else int(share * target.tile_memory_bytes),
        "granularity": about.get("granularity"),
        "pinned": isinstance(pins, list) and layer.name in pins,
    }


def _tables(layer: Layer) -> dict[str, Record]:
    """The layer's plan records that show a choice: its own, and those of its further parts."""
    return {
        name: record
        for name, record in {"": layer.plan, **layer.plan}.items()
        if isinstance(record, Mapping) and isinstance(record.get("chosen"), Mapping)
    }


def _planned(tables: Mapping[str, Record]) -> dict[str, int] | None:
    """Planned cycles of all of a layer's plans by part; None if one of them is not itemised."""
    parts = [planned_parts(record["chosen"]) for record in tables.values()]
    if not parts or any(part is None for part in parts):
        return None
    made = {name: sum(part[name] for part in parts if part) for name in _PARTS}
    return {"cycles": sum(made.values()), **made}


def _reason(program: Program, layer: Layer, steps: list[Row]) -> str:
    """Why a layer has no plan."""
    if not steps:
        return "nothing runs for it: its result is a view of its input, or part of a later step"
    if all(step["kind"] == "copy" for step in steps):
        return "its data are only moved, and there is one way to do that"
    kinds = {
        family.codelet.name
        for family in program.families()
        if layer.name in {origin.layer for origin in family.origins}
    }
    return (
        f"its vertices ({', '.join(sorted(kinds))}) are spread over the tiles by a rule, "
        "and no other plans are kept"
    )


def _listed(program: Program, rows: list[Row]) -> list[dict[str, Any]]:
    made = []
    for number, (layer, row) in enumerate(zip(program.layers, rows, strict=True)):
        planned = _planned(_tables(layer))
        chosen = layer.plan.get("chosen")
        method = chosen.get("method") if isinstance(chosen, Mapping) else None
        made.append(
            {
                "number": number,
                "name": layer.name,
                "op": layer.op,
                "method": method,
                "candidates": layer.plan.get("candidates"),
                "planned_cycles": None if planned is None else planned["cycles"],
                "profiled_cycles": row["cycles"],
                "tiles": row["tiles"],
            }
        )
    return made


def _list(program: Program, rows: list[Row]) -> None:
    keys = ("number", "name", "op", "method", "candidates", "planned_cycles", "profiled_cycles")
    cells = [[key.replace("_", " ") for key in (*keys, "tiles")]]
    cells += [[_cell(row[key]) for key in (*keys, "tiles")] for row in _listed(program, rows)]
    table(cells, right=(0, 4, 5, 6, 7), indent="")


def _print(facts: dict[str, Any], tables: Mapping[str, Record]) -> None:
    layer = facts["layer"]
    say(f"{layer['name']} ({layer['op']}), layer {layer['number']} of {layer['of']}")
    folded = [node for node in layer["nodes"] if node != layer["name"]]
    if folded:
        say(f"  made of the ONNX nodes {', '.join(layer['nodes'])}")
    rows = [["reads", name, kind] for name, kind in layer["inputs"].items()]
    rows += [["makes", name, kind] for name, kind in layer["outputs"].items()]
    if rows:
        table(rows)
    memory = layer["available_memory"]
    share = "" if memory is None else f"; may use {memory:.0%} of a tile's memory while it runs"
    say(f"  {layer['precision']}, granularity {layer['granularity']}{share}")
    if facts["reason"]:
        say(f"  no choice of plans: {facts['reason']}")
    for name, record in tables.items():
        say()
        _print_plans(name, record, pinned=layer["pinned"])
        need, room = record["chosen"].get("temp_bytes"), layer["available_bytes"]
        if isinstance(need, int) and room is not None and need > room:
            say(f"    no plan was found within {room:,} temporary bytes")
    say()
    _print_profile(facts)


def _print_plans(name: str, record: Record, *, pinned: bool) -> None:
    following = record.get("next")
    rows = following if isinstance(following, list) else []
    rest = [one for one in rows if isinstance(one, Mapping)]
    plans = [record["chosen"], *rest[:_NEXT]]
    many = record.get("candidates")
    how = "pinned by --plan" if pinned else "the only one" if many == 1 else "the cheapest"
    of = f" of {many:,} candidates" if isinstance(many, int) and many > 1 else ""
    rules = f", by the rules of {record['rules']}" if record.get("rules") else ""
    say(f"  {f'plan of the {name}' if name else 'plan'}: {how}{of}{rules}")
    heads = ["chosen", *(f"next {n}" for n in range(1, len(plans)))]
    wide = record.get("cheapest wide and even")
    if isinstance(wide, Mapping) and wide not in plans:
        plans, heads = [*plans, wide], [*heads, "wide and even"]
    table([["", *heads], *plan_rows(plans)], right=range(1, len(plans) + 1), indent="    ")
    for line in _meanings(plans[0]):
        say(f"    {line}")


def _meanings(chosen: Record) -> list[str]:
    """What the words of a plan's column mean."""
    lines = []
    method = str(chosen.get("method", ""))
    if method.upper() in METHODS:
        lines.append(f"{method}: {METHODS[method.upper()]}")
    lines += [f"{short}: {meaning}" for short, meaning in transforms(chosen).items()]
    costs = chosen.get("costs")
    paid = [str(name) for name in costs if costs[name]] if isinstance(costs, Mapping) else []
    lines += [f"{name.replace('_', ' ')}: {ITEMS[name]}" for name in paid if name in ITEMS]
    if "planned" in chosen:
        lines.append("plans are in the order of the planner's own count, which is PopLibs'; the")
        lines.append("items are what this program's vertices and exchanges are expected to take")
    steps = serial_steps(chosen)
    if steps > 1 and paid_each_step(chosen):
        lines.append(f"items are those of one of {steps} serial steps, the total is that of all")
    return lines


def _print_profile(facts: dict[str, Any]) -> None:
    """Planned beside profiled, then the supersteps."""
    profiled: dict[str, Any] = facts["profiled"]
    planned: dict[str, int] = facts["planned"] or {}
    say(f"  cycles, planned and as the program's profile has them ({MODELLED})")
    rows = [["", "planned", "profiled", "profiled / planned"]]
    for part in (*_PARTS, "cycles"):
        have: int = profiled[part]
        plan = planned.get(part)
        ratio = f"{have / plan:.2f}" if plan else "-"
        title = "total" if part == "cycles" else part
        rows.append([title, _cell(plan), _cell(have), ratio])
    table(rows, right=(1, 2, 3), indent="    ")
    balance = profiled["balance"]
    say(
        f"    {counted(profiled['tiles'], 'tile')} used, busiest tile / mean "
        f"{'-' if balance is None else format(balance, '.2f')}; "
        f"{profiled['bytes_exchanged']:,} bytes exchanged; "
        f"{_cell(profiled['peak_tile_bytes'])} bytes on the fullest tile meanwhile"
    )
    if not facts["supersteps"]:
        return
    say()
    keys = ("name", "kind", "times", "compute", "exchange", "sync", "vertices", "tiles")
    cells = [[*keys]]
    cells += [[_cell(step[key]) for key in keys] for step in facts["supersteps"]]
    table(cells, right=range(2, len(keys)), indent="    ")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
