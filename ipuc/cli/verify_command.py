"""`ipuc verify`: rules of the program, then every layer against another engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ipuc.check import LayerReport, Report, verify_model
from ipuc.cli.arguments import constants_of
from ipuc.cli.arrays import read_inputs
from ipuc.cli.options import CompileOptions, compile_options, debug_option, json_option
from ipuc.cli.output import counted, next_step, note, print_json, progress, say, shell_word, table
from ipuc.cli.source import Opened, open_program
from ipuc.errors import OptionError

_HELP = """Compare every layer with another engine.

First the program is held to Poplar's rules: every element on one tile, none written twice in a
compute set, and so on. Then emulator and reference (onnxruntime if it is installed, else
onnx.reference) get the same input, and every layer's largest difference is printed.
On a mismatch the exit code is 1, and the first layer, compute set, tile and vertex that differ
are named. A program in halves (--precision) is held to the float32 model, and allowed what its
roundings add up to.

PROGRAM is a model (.onnx), which is compiled first, or a .ipu whose model is still in its place.
Without it the newest .ipu of the current folder is verified. --input works as in `ipuc run`.

\b
Examples:
  ipuc verify alexnet.onnx
  ipuc verify alexnet.ipu --input photo.jpg
  ipuc verify digits.onnx --granularity worker --target tiny
  ipuc verify digits.onnx --precision mixed
"""


@click.command("verify", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]WHAT", help="See ipuc run.")
@click.option(
    "--reference",
    type=click.Choice(["auto", "onnxruntime", "onnx"]),
    default="auto",
    show_default=True,
    help="The engine to compare with.",
)
@compile_options
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    program: Path | None,
    inputs: tuple[str, ...],
    reference: Any,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Compare and print one row a layer."""
    constants = constants_of(options)
    if program is None or program.suffix == ".ipu":
        # Values of specialised inputs are no compile option here: the reference needs them.
        options = _without_constants(options)
    with progress() as bar:
        opened = open_program(program, options, bar)
    given = read_inputs(opened.program, inputs, options.max_bytes)
    if not inputs and given.arrays and not as_json:
        note(f"no --input: random:0 for {', '.join(given.arrays)}")
    report = verify_model(
        _model_of(opened),
        opened.program,
        given.arrays,
        reference,
        constants=constants,
        declined=lambda why: note(f"the reference is onnx.reference; onnxruntime: {why}"),
    )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, opened)
    ctx.exit(0 if report.ok else 1)


def _without_constants(options: CompileOptions) -> CompileOptions:
    given = tuple(flag for flag in options.given if flag != "--const")
    return replace(options, constants=(), given=given)


def _model_of(opened: Opened) -> Path:
    """Find the model that a program was made from."""
    if opened.compiled:
        return opened.path
    recorded = opened.program.metadata.get("path")
    if not isinstance(recorded, str):
        raise OptionError(
            "this program was made from no model file, so there is nothing to compare with",
            where=str(opened.path),
            fix="verify the model itself: ipuc verify MODEL.onnx",
        )
    return Path(recorded)


def _verdict(one: LayerReport) -> str:
    lost = f", {one.overflows:,} too large for float16" if one.overflows else ""
    return ("ok" if one.ok else "WRONG") + lost


def _tolerance(report: Report) -> str:
    most = max((one.tolerance for one in report.layers), default=report.tolerance)
    if most == report.tolerance:
        return f"{most:g}"
    return f"up to {most:.1e}, as {report.precision} rounds"


def _print(report: Report, opened: Opened) -> None:
    """Print the table and the verdict."""
    rows = [["layer", "op", "max abs", "max rel", "allowed", "carried as", ""]]
    rows += [
        [
            one.name,
            one.op,
            f"{one.max_abs:.2e}",
            f"{one.max_rel:.2e}",
            f"{one.tolerance:.1e}",
            one.precision,
            _verdict(one),
        ]
        for one in report.layers
    ]
    table(rows, right=(2, 3, 4))
    wrong = report.first_mismatch
    if report.ok:
        worst = max((one.max_rel for one in report.layers), default=0.0)
        agree = "agrees" if len(report.layers) == 1 else "agree"
        say(
            f"{counted(len(report.layers), 'layer')} {agree} with {report.reference}: "
            f"at most {worst:.2e} of the largest value apart (tolerance {_tolerance(report)}); "
            "the program keeps the rules"
        )
        next_step(f"ipuc render {shell_word(str(opened.path))} --out graph.png")
        return
    count = sum(not one.ok for one in report.layers)
    differ = "differs" if count == 1 else "differ"
    layers = counted(len(report.layers), "layer")
    say(f"{count} of {layers} {differ} from {report.reference}")
    if wrong is None:
        return
    say("first mismatch")
    say(f"  layer        {wrong.layer}")
    if wrong.compute_set is not None:
        say(f"  compute set  {wrong.compute_set}")
    if wrong.tile is not None:
        say(f"  tile         {wrong.tile}")
    if wrong.vertex is not None:
        say(f"  vertex       {wrong.vertex} ({wrong.codelet})")
    say(f"  element      {wrong.element} of {wrong.value}: {wrong.found:g}, not {wrong.expected:g}")
