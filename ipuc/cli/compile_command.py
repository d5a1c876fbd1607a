"""`ipuc compile`: an ONNX model becomes a program file."""

from __future__ import annotations

from pathlib import Path

import click

from ipuc.cli.arguments import compile_arguments
from ipuc.cli.facts import print_facts, program_facts
from ipuc.cli.guard import complain
from ipuc.cli.modelled import noted_memory, too_large
from ipuc.cli.options import (
    CompileOptions,
    compile_options,
    debug_option,
    json_option,
    out_option,
    save_plan_option,
)
from ipuc.cli.output import counted, next_step, print_json, progress, say, shell_word, timed
from ipuc.cli.paths import settle_output
from ipuc.cli.presets import settle_preset
from ipuc.cli.remedies_text import find_remedies, print_remedies, remedies_json
from ipuc.cli.source import SUFFIX, compile_from, is_program
from ipuc.cli.training_text import print_training
from ipuc.errors import OptionError
from ipuc.importer.limits import readable
from ipuc.planner.plan_file import write_plan
from ipuc.program.save import save

_HELP = """Compile an ONNX model into a program (.ipu).

The program is written into the current folder, under the model's name, unless -o says otherwise.
It holds everything: weights, the vertices of every tile, and the operators it was made from.
A program that does not fit the tiles' memory is written all the same, and the exit code is 3;
then the options that may help are tried for a minute, and listed with what they cost.

\b
Examples:
  ipuc compile alexnet.onnx
  ipuc compile model.onnx --batch 1
  ipuc compile model.onnx --shape image=1x3x224x224 --const size=size.npy
  ipuc compile model.onnx --target gc200,tiles=64 --granularity worker -o small.ipu
  ipuc compile model.onnx --precision "mixed,conv1=float32" --stochastic-rounding 1
  ipuc compile model.onnx --available-memory "0.6,conv1=0.3,fc*=1.0" --save-plan plan.json
  ipuc compile model.onnx --plan plan.json
  ipuc compile model.onnx --train --optimizer sgd:lr=0.1 --batch 16
  ipuc compile alexnet2017.onnx --preset 2017

`ipuc info MODEL.onnx` says which of these options a model needs.
"""

#: How to go on with a program that does not fit, with and without remedies being tried.
_WITH = "one of the remedies below; ipuc run --allow-oom runs it all the same"
_WITHOUT = (
    "--precision mixed, --ipus 2, a lower --available-memory, a smaller --batch, another --target; "
    "without --no-remedies they are tried; ipuc run --allow-oom runs it all the same"
)


@click.command("compile", help=_HELP)
@click.argument("model", type=click.Path(path_type=Path))
@out_option("The program to write.  [default: MODEL.ipu in the current folder]")
@compile_options
@save_plan_option
@click.option(
    "--no-remedies",
    is_flag=True,
    help="Do not try what would help a program that does not fit.",
)
@click.option("--count", is_flag=True, help="Count the vertex graph however large it is.")
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    out: Path | None,
    options: CompileOptions,
    save_plan: Path | None,
    no_remedies: bool,
    count: bool,
    as_json: bool,
) -> None:
    """Compile, save, and say what came out."""
    if is_program(model):
        raise OptionError(
            "this is a compiled program already", where=str(model), fix="ipuc info says what it is"
        )
    path = settle_output(out, f"{model.stem}{SUFFIX}", source=model)
    plans = save_plan and settle_output(save_plan, f"{model.stem}-plan.json", source=model)
    if plans is not None and plans.resolve() == path.resolve():
        raise OptionError(
            "the program and its plans would be one file", where=str(path), fix="use two names"
        )
    options = settle_preset(options, model)
    with timed() as seconds, progress() as bar:
        program = compile_from(model, options, bar)
        save(program, path, progress=lambda done, of: bar("save", done, of))
    planned = None if plans is None else write_plan(program, plans)
    facts = program_facts(program, count=count)
    facts |= {
        "compile_seconds": seconds[0],
        "program": str(path),
        "plan_file": plans and str(plans),
    }
    memory = noted_memory(program)
    prices = None
    if not as_json:
        size = readable(path.stat().st_size)
        say(f"{model} compiled in {seconds[0]:.1f} s: {path}, {size}")
        print_facts(facts)
        print_training(program)
        if planned is not None:
            say(f"plans written: {plans}, {counted(planned, 'layer')}")
    if not memory["fits"]:
        fault = too_large(memory, _WITHOUT if no_remedies else _WITH)
        complain(fault)
        if not no_remedies:
            prices = find_remedies(model, compile_arguments(options), program)
    if as_json:
        print_json({**facts, "remedies": prices and remedies_json(prices)})
    elif prices is not None:
        print_remedies(prices, facts["cycles"])
    if not memory["fits"]:
        ctx.exit(fault.exit_code)
    if as_json:
        return
    word = shell_word(str(path))
    next_step(f"ipuc run {word}   or   ipuc render {word} --out graph.png")
