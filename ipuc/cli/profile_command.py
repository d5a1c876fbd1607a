"""`ipuc profile`: what a program would cost on the chip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path

import click

from ipuc.cli.compared import layer_changes, other_profile, read_limits, total_changes
from ipuc.cli.modelled import warn_if_too_large
from ipuc.cli.options import CompileOptions, compile_options, debug_option, json_option
from ipuc.cli.output import next_step, note, print_json, progress, say, shell_word
from ipuc.cli.paths import settle_output
from ipuc.cli.profile_text import print_changes, print_rows, print_summary
from ipuc.cli.source import open_program
from ipuc.errors import OptionError, nearest
from ipuc.files import whole
from ipuc.importer.limits import readable
from ipuc.profile.record import Profile, profile
from ipuc.profile.tables import TABLES, Row, in_order, to_json
from ipuc.profile.trace import trace

_HELP = """Say what a program would cost on the chip: cycles, time and memory.

PROGRAM is a .ipu file, or a model (.onnx) that is compiled first. Without it the newest .ipu of
the current folder is profiled. All figures are modelled, not measured: they follow from the
program's own vertices, copies and tile mapping, and from published formulas. Memory of a tile
includes gaps: addresses that alignment and memory banks leave unused.

\b
Examples:
  ipuc profile
  ipuc profile alexnet.ipu --by layer --sort cycles --top 5
  ipuc profile alexnet.ipu --by tile --csv tiles.csv
  ipuc profile alexnet.ipu --trace trace.json --trace-tiles 0,5,100-110
  ipuc profile new.ipu --compare old.ipu --fail-over cycles=2%,memory=1%

\b
--by  layer        the layers of the model
      compute-set  compute sets and copies, in the order in which they run
      codelet      vertex types
      tile         the tiles of the chip
      step         program steps, with the memory that is in use
      ipu          the IPUs, with what comes and goes over the links between them
--compare takes a program, a model, or what `ipuc profile --json` wrote earlier. With --fail-over
the exit code is 1 if PROGRAM needs more than that over the other one.
"""


@click.command("profile", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(list(TABLES)), default="layer", show_default=True)
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Largest first, words from A.  [default: the order of the program]",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows to print."
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the whole table, all columns; - prints it, and nothing else.",
)
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a timeline that Perfetto (ui.perfetto.dev) and Chrome open; packed, if FILE "
    "ends in .gz.",
)
@click.option(
    "--trace-tiles",
    metavar="0,5,100-110|all",
    help="Tiles to draw beside the busiest and the median one.",
)
@click.option(
    "--compare", type=click.Path(path_type=Path), metavar="OTHER", help="Show the difference."
)
@click.option("--fail-over", metavar="cycles=2%,memory=1%", help="Limits for --compare.")
@compile_options
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    program: Path | None,
    by: str,
    sort: str | None,
    top: int,
    csv_file: Path | None,
    trace_file: Path | None,
    trace_tiles: str | None,
    compare: Path | None,
    fail_over: str | None,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Profile, print, compare."""
    limits = read_limits(fail_over, compare)
    to_stdout = csv_file == Path("-")
    _check_together(trace_tiles, trace_file, to_stdout and as_json)
    csv_file = None if to_stdout else csv_file
    csv_file = csv_file and settle_output(csv_file, "profile.csv", source=program)
    trace_file = trace_file and settle_output(trace_file, "trace.json", source=program)
    with progress() as bar:
        opened = open_program(program, options, bar, warns=False)
        found = profile(opened.program, lambda done, of: bar("profile", done, of))
        other = None if compare is None else other_profile(compare, options, bar)
    rows = TABLES[by](found)
    if sort is not None:
        rows = in_order(rows, _column(rows, sort))
    if csv_file is not None:
        _write(csv_file, "the table", _csv(rows).encode("utf-8"))
    if trace_file is not None:
        tiles = _tiles(trace_tiles, opened.program.target.all_tiles)
        _write(trace_file, "the timeline", _timeline(found, tiles, packed=trace_file.suffix))
    mine = to_json(found)
    changes = None if other is None else total_changes(mine, other, limits)
    layers = None if other is None else layer_changes(mine, other)
    warn_if_too_large(mine["memory"])
    if as_json:
        compared = {"compare": changes, "compare_layers": layers}
        print_json({**mine, "program": str(opened.path), **compared})
    elif to_stdout:
        click.echo(_csv(rows), nl=False)
    else:
        print_summary(mine, str(opened.path))
        say()
        print_rows(rows, by, top, mine)
        if changes is not None:
            print_changes(changes, layers or [], str(compare))
        if csv_file is not None:
            say(f"table written: {csv_file}, {len(rows)} rows")
        if trace_file is not None:
            say(f"timeline written: {trace_file}, {readable(trace_file.stat().st_size)}")
    worse = [name for name, change in (changes or {}).items() if change["over"]]
    if worse:
        note(f"worse than --fail-over allows: {', '.join(worse)}")
        ctx.exit(1)
    if not as_json and not to_stdout:
        word = shell_word(str(opened.path))
        next_step(f"ipuc profile {word} --by compute-set --sort cycles")


def _check_together(tiles: str | None, trace_file: Path | None, twice: bool) -> None:
    """Hold options to those that they need, and to those that they exclude."""
    if tiles is not None and trace_file is None:
        raise OptionError("--trace-tiles needs a timeline", fix="add --trace FILE")
    if twice:
        raise OptionError("--csv - and --json both want standard output", fix="name a file")


def _write(path: Path, what: str, text: bytes) -> None:
    with whole(path, what) as file:
        file.write(text)


def _timeline(found: Profile, tiles: list[int], packed: str) -> bytes:
    """The timeline as a file; packed for .gz, without a date, so that the same is the same."""
    text = json.dumps(trace(found, tiles), separators=(",", ":")).encode("utf-8")
    return gzip.compress(text, mtime=0) if packed == ".gz" else text


def _tiles(text: str | None, tiles: int) -> list[int]:
    """Read 0,5,100-110 or all."""
    if text is None:
        return []
    if text.strip() == "all":
        return list(range(tiles))
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < tiles:
            raise OptionError(
                f'"{part}" is no tile of {tiles}',
                where="--trace-tiles",
                fix=f"write 0,5,100-110 or all; the last tile is {tiles - 1}",
            )
        found += range(first, last + 1)
    return found


def _column(rows: list[Row], wanted: str) -> str:
    columns = list(rows[0]) if rows else [wanted]
    name = wanted.replace("-", "_").replace(" ", "_")
    if name not in columns:
        raise OptionError(
            f'the table has no column "{wanted}"', where="--sort", fix=nearest(name, columns)
        )
    if rows and any(isinstance(row[name], list) for row in rows):
        raise OptionError(f"there is no order of {wanted}", where="--sort")
    return name


def _csv(rows: list[Row]) -> str:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lists = {k: " ".join(v) for k, v in row.items() if isinstance(v, list)}
            writer.writerow({**row, **lists})
    return text.getvalue()
