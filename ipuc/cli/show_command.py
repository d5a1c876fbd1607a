"""`ipuc show`: one tile's part of one superstep, with values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ipuc.cli.arrays import read_inputs
from ipuc.cli.layers import find_layer
from ipuc.cli.options import CompileOptions, compile_options, debug_option, json_option
from ipuc.cli.output import (
    counted,
    next_step,
    note,
    print_json,
    progress,
    say,
    shell_word,
    table,
)
from ipuc.cli.source import open_program
from ipuc.emulator.machine import Array
from ipuc.emulator.until import run_until
from ipuc.errors import OptionError
from ipuc.profile.liveness import ProgramStep, liveness
from ipuc.profile.record import MODELLED
from ipuc.profile.tile_part import TilePart, compute_part, copy_part
from ipuc.program.program import Program
from ipuc.program.steps import Copy, Execute, StreamIn, StreamOut, Sweep

_HELP = """Show what one tile does in one superstep.

PROGRAM is a .ipu file, or a model (.onnx) that is compiled first; without it the newest .ipu of
the current folder is taken. It says what the tile receives and from which tiles, what it sends,
and of each of its vertices the fields, their values before and after, and its cycle formula with
the numbers filled in. The values are those of a run of the emulator up to that step; without
--input every input is random:0.

\b
Examples:
  ipuc show alexnet.ipu --step 12 --tile 5
  ipuc show alexnet.ipu --step conv2 --tile 5 --input photo.jpg
  ipuc show alexnet.ipu --step 12 --tile 5 --vertices 20 --json

\b
--step takes
  12       a program step, numbered from 0 as in `ipuc profile --by step --top 1000`
  "12[3]"  of a step that runs several supersteps, the one numbered 3
  conv2    the first step of a layer or, by its whole name, a compute set
"""

#: Rows of a table of tiles, and elements of a field, that are printed.
_ROWS, _ELEMENTS = 8, 6
_STEP = re.compile(r"([0-9]{1,9})(?:\[([0-9]{1,9})\])?")


@dataclass(frozen=True, slots=True)
class _At:
    """Which superstep: its number, the step, and of a sweep the position."""

    number: int
    of: int
    step: ProgramStep
    position: int
    positions: int


@click.command("show", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@click.option("--step", "wanted", required=True, metavar="NUMBER|LAYER", help="See above.")
@click.option("--tile", required=True, type=int, help="The tile, numbered from 0.")
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]WHAT", help="As of `ipuc run`.")
@click.option(
    "--vertices", type=click.IntRange(min=0), default=4, show_default=True, help="Vertices to show."
)
@compile_options
@json_option
@debug_option
def command(
    program: Path | None,
    wanted: str,
    tile: int,
    inputs: tuple[str, ...],
    vertices: int,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Find the step, describe the tile's part, run, print."""
    with progress() as bar:
        opened = open_program(program, options, bar)
    made = opened.program
    if not 0 <= tile < made.target.all_tiles:
        raise OptionError(
            f"there is no tile {tile}",
            where="--tile",
            fix=f"the tiles of {made.target.name} are numbered from 0 to "
            f"{made.target.all_tiles - 1}",
        )
    steps = liveness(made).steps
    at = _find(made, steps, wanted)
    part = _part(made, at, tile, vertices)
    values = None
    if part is not None and part.vertices:
        given = read_inputs(made, inputs, options.max_bytes)
        if not inputs and given.arrays:
            note(f"no --input: random:0 for {', '.join(given.arrays)}")
        values = _values(made, steps, at, part, given.arrays)
    facts = _facts(made, at, tile, part, values)
    if as_json:
        print_json({"program": str(opened.path), **facts})
        return
    _print(facts, values)
    word = shell_word(str(opened.path))
    if part is not None and not part.cycles and part.busiest_tile != tile and part.slowest_cycles:
        next_step(f"ipuc show {word} --step {shell_word(wanted)} --tile {part.busiest_tile}")
    elif at.number + 1 < at.of:
        next_step(f"ipuc show {word} --step {at.number + 1} --tile {tile}")


def _find(program: Program, steps: Sequence[ProgramStep], wanted: str) -> _At:
    """The superstep that the user names.

    Raises:
        OptionError: there is none.
    """
    if not steps:
        raise OptionError("the program has no steps", where="--step")
    numbered = _STEP.fullmatch(wanted)
    if numbered:
        number = int(numbered[1])
        if number >= len(steps):
            raise OptionError(
                f"there is no step {number}",
                where="--step",
                fix=f"steps are numbered from 0 to {len(steps) - 1}: ipuc profile --by step "
                f"--top {len(steps)}",
            )
    else:
        number = _by_name(program, steps, wanted)
    step = steps[number].step
    positions = step.count if isinstance(step, Sweep) else 1
    position = int(numbered[2] or 0) if numbered else 0
    if position >= positions:
        raise OptionError(
            f"step {number} has no superstep {position}",
            where="--step",
            fix=f"its supersteps are numbered from 0 to {positions - 1}",
        )
    return _At(number, len(steps), steps[number], position, positions)


def _by_name(program: Program, steps: Sequence[ProgramStep], wanted: str) -> int:
    """The first step of a layer, or of this name."""
    layers = {layer.name for layer in program.layers}
    for number, step in enumerate(steps):
        if step.layer == wanted or (step.name == wanted and wanted not in layers):
            return number
    layer = program.layers[find_layer(program, wanted, "--step")].name
    for number, step in enumerate(steps):
        if step.layer == layer:
            return number
    raise OptionError(
        f'nothing runs for layer "{layer}"',
        where="--step",
        fix=f"its result is a view of its input: ipuc explain PROGRAM {shell_word(layer)}",
    )


def _part(program: Program, at: _At, tile: int, most: int) -> TilePart | None:
    """The tile's part; None of a step that only the host, or no tile, has to do with."""
    step = at.step.step
    if isinstance(step, Copy):
        return copy_part(program, step, tile)
    if isinstance(step, Sweep):
        return compute_part(program, step.at(at.position), tile, most)
    if isinstance(step, Execute):
        return compute_part(program, step.compute_set, tile, most)
    return None


def _values(
    program: Program,
    steps: Sequence[ProgramStep],
    at: _At,
    part: TilePart,
    inputs: dict[str, Array],
) -> list[list[dict[str, Any]]] | None:
    """First elements of every field before and after; None if the run does not come here.

    What a vertex only writes has no value before that means anything.
    """

    def look(read: Callable[[int], Array]) -> list[list[list[Any]]]:
        return [
            [read(field.variable)[field.first(_ELEMENTS)].tolist() for field in vertex.fields]
            for vertex in part.vertices
        ]

    earlier = sum(step.step is at.step.step for step in steps[: at.number])
    seen = run_until(program, inputs, at.step.step, look, occurrence=earlier, position=at.position)
    if seen is None:
        return None
    return [
        [
            {"before": before if field.reads else None, "after": after}
            for field, before, after in zip(vertex.fields, *both, strict=True)
        ]
        for vertex, *both in zip(part.vertices, *seen, strict=True)
    ]


def _facts(
    program: Program,
    at: _At,
    tile: int,
    part: TilePart | None,
    values: list[list[dict[str, Any]]] | None,
) -> dict[str, Any]:
    """All that is said, as JSON values."""
    step = at.step.step
    facts: dict[str, Any] = {
        "step": at.number,
        "of": at.of,
        "superstep": at.position,
        "supersteps": at.positions,
        "name": at.step.name,
        "layer": at.step.layer or None,
        "kind": type(step).__name__,
        "tile": tile,
        "basis": MODELLED,
    }
    if part is None:
        return {**facts, "host": _host(program, at.step, tile)}
    facts |= asdict(part)
    for number, vertex in enumerate(facts["vertices"]):
        for place, field in enumerate(vertex["fields"]):
            variable = program.variables[field["variable"]]
            field.update({"of": variable.name, "dtype": variable.dtype})
            if values is not None:
                field.update(values[number][place])
    return facts


def _host(program: Program, step: ProgramStep, tile: int) -> dict[str, Any]:
    """Bytes of the streamed variables that lie on the tile."""
    if not isinstance(step.step, StreamIn | StreamOut):
        return {"bytes": 0}
    total = 0
    for id_ in step.reads | step.writes:
        variable = program.variables[id_]
        mapping = variable.mapped()
        lengths = mapping.lengths(variable.size)[mapping.tiles == tile]
        total += int(lengths.sum()) * variable.itemsize
    return {"bytes": total}


def _print(facts: dict[str, Any], values: list[list[dict[str, Any]]] | None) -> None:
    kind = {"Execute": "compute set", "Sweep": "sweep of compute sets", "Copy": "copy"}
    what = kind.get(facts["kind"], facts["kind"])
    layer = f", layer {facts['layer']}" if facts["layer"] else ""
    say(f"step {facts['step']} of {facts['of']}: {facts['name']} ({what}{layer})")
    if facts["supersteps"] > 1:
        say(f"  superstep {facts['superstep']} of its {facts['supersteps']}")
    if "host" in facts:
        to = {"StreamIn": "comes from", "StreamOut": "goes to"}.get(facts["kind"])
        if to is None:
            say("  a branch is chosen; no tile computes")
        else:
            say(f"tile {facts['tile']}: {facts['host']['bytes']:,} bytes; the array {to} the host")
        return
    say(
        f"tile {facts['tile']}: {facts['cycles']:,} cycles of compute; the busiest tile, "
        f"{facts['busiest_tile']}, has {facts['slowest_cycles']:,} ({MODELLED})"
    )
    _print_pieces("receives", facts["received"], "from", facts["senders"])
    say(f"  sends {facts['sent']:,} bytes, what goes to many tiles counted once")
    for vertex in facts["vertices"]:
        say()
        _print_vertex(vertex, has_values=values is not None)
    more = facts["vertex_count"] - len(facts["vertices"])
    if more:
        say()
        say(f"  and {more:,} more {'vertex' if more == 1 else 'vertices'}: --vertices")
    elif not facts["vertex_count"] and facts["kind"] != "Copy":
        say("  no vertex runs on this tile")
    if facts["vertices"] and values is None:
        note("no values: the run does not come to this step with these inputs")
    if facts["kind"] != "Copy" and (facts["results_sent"] or facts["results_received"]):
        say()
        _print_pieces("then sends results of", facts["results_sent"], "to", facts["receivers"])
        say(f"  receives {facts['results_received']:,} bytes of results of other tiles")


def _print_pieces(verb: str, total: int, way: str, pieces: Sequence[dict[str, Any]]) -> None:
    tiles = len({piece["tile"] for piece in pieces})
    say(f"  {verb} {total:,} bytes" + (f" {way} {counted(tiles, 'tile')}" if tiles else ""))
    if not pieces:
        return
    rows = [[f"{way} tile", "bytes", "of"]]
    rows += [[str(p["tile"]), f"{p['bytes']:,}", p["variable"]] for p in pieces[:_ROWS]]
    table(rows, right=(0, 1), indent="    ")
    if len(pieces) > _ROWS:
        say(f"    and {len(pieces) - _ROWS:,} more: --json")


def _print_vertex(vertex: dict[str, Any], *, has_values: bool) -> None:
    given = ", ".join(f"{name} {_plain(value)}" for name, value in vertex["parameters"].items())
    alone = ", on one worker" if vertex["workers"] == "one" else ""
    say(f"  vertex {vertex['number']}: {vertex['codelet']}{f' ({given})' if given else ''}{alone}")
    head = ["field", "", "of", "type", "from", "shape", "strides"]
    rows = [head + (["before", "after"] if has_values else [])]
    for field in vertex["fields"]:
        way = "reads" if not field["writes"] else "changes" if field["reads"] else "writes"
        row = [field["name"], way, field["of"], field["dtype"], f"{field['offset']:,}"]
        row += [_dims(field["shape"]), _dims(field["strides"])]
        if has_values:
            after = field["after"] if field["writes"] else None
            row += [_elements(field, field["before"]), _elements(field, after)]
        rows.append(row)
    table(rows, right=(4,), indent="    ")
    say(f"    cycles: {vertex['formula']}")
    if vertex["source"]:
        say(f"    source: {vertex['source']}")


def _dims(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers)) or "one"


def _elements(field: dict[str, Any], values: list[Any] | None) -> str:
    if values is None:
        return "-"
    text = " ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)
    return f"{text} ..." if int(np.prod(field["shape"])) > len(values) else text


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{' '.join(_plain(item) for item in value)}]"
    return "yes" if value is True else "no" if value is False else str(value)
