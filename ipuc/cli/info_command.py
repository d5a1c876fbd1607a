"""`ipuc info`: what a file is, and what can be done with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ipuc.cli.facts import print_facts, program_facts
from ipuc.cli.options import debug_option, json_option, max_bytes_option
from ipuc.cli.output import counted, next_step, print_json, say, shell_word, table
from ipuc.cli.source import is_program
from ipuc.errors import OptionError
from ipuc.importer.inspect import ModelInfo, inspect_model
from ipuc.importer.limits import readable
from ipuc.pipeline import supported
from ipuc.program.program import Program
from ipuc.program.save import load
from ipuc.program.text import to_text
from ipuc.render.provenance import PictureInfo, read_png

_HELP = """Say what an .onnx, .ipu or rendered .png file is.

It also says what can be done with the file:

\b
  .onnx  inputs and outputs, the exact flag for each open dimension, operators, and every node
         that cannot be compiled
  .ipu   target, sizes, inputs and outputs, layers; --plans: how each layer was split, and the
         plans that were rejected; --text: the whole program in words
  .png   which program the picture shows, and how it was drawn

\b
Examples:
  ipuc info model.onnx
  ipuc info alexnet.ipu --plans
  ipuc info graph.png --json
"""

#: What every plan's row has, in columns of its own.
_SHOWN = frozenset({"splits", "tiles", "balance", "cycles", "costs"})

_PNG = b"\x89PNG\r\n\x1a\n"


@click.command("info", help=_HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plans", is_flag=True, help="The plan tables of a .ipu.")
@click.option("--text", is_flag=True, help="The text form of a .ipu.")
@click.option("--count", is_flag=True, help="Count the vertex graph however large it is.")
@max_bytes_option
@json_option
@debug_option
def command(
    file: Path, plans: bool, text: bool, count: bool, max_bytes: int, as_json: bool
) -> None:
    """Find out what the file is, and describe it."""
    kind = _kind(file)
    if kind != "program" and (plans or text or count):
        raise OptionError(
            "--plans, --text and --count are about programs (.ipu)",
            where=str(file),
            fix="leave them out, or compile the model first",
        )
    if kind == "picture":
        _picture(file, read_png(file), as_json)
    elif kind == "program":
        _program(file, load(file, max_bytes=max_bytes), plans, text, count, as_json)
    else:
        _model(file, inspect_model(file, supported=supported, max_bytes=max_bytes), as_json)


def _kind(file: Path) -> str:
    """Tell by the first bytes what a file is; what is unknown is left to the importer's words."""
    if is_program(file):
        return "program"
    if file.is_file():
        with file.open("rb") as stream:
            if stream.read(len(_PNG)) == _PNG:
                return "picture"
    return "model"


def _model(file: Path, info: ModelInfo, as_json: bool) -> None:
    data = _fixed_data(info)
    deciding = [flag for name, flag in info.deciding.items() if name not in data]
    needed = [one.flag for one in info.inputs if one.symbolic] + deciding
    if as_json:
        facts = asdict(info)
        for one, record in zip(info.inputs, facts["inputs"], strict=True):
            record["flag"] = one.flag or None
        facts["unsupported"] = [
            {"node": node, "reason": reason} for node, reason in info.unsupported
        ]
        print_json({"kind": "model", "file": str(file), **facts})
        return
    say(f"{file}: ONNX model, opset {info.opset}")
    if info.producer:
        say(f"  written by {info.producer}")
    say(f"  {info.parameters:,} parameters, {readable(info.parameter_bytes)}")
    for key, value in info.metadata.items():
        say(f"  {key}: {value}")
    rows = [["inputs", "type", ""]]
    for one in info.inputs:
        hints = [one.flag] if one.flag else []
        if one.name in data:
            hints += [f"its values decide a shape: only a fixed one compiles, {data[one.name]}"]
        elif one.name in info.deciding:
            hints += [info.deciding[one.name]]
        rows.append([one.name, str(one), "  ".join(hints)])
    table(rows)
    table([["outputs", "type"], *([one.name, str(one)] for one in info.outputs)])
    say("  operators: " + ", ".join(f"{op} {count}" for op, count in info.ops.items()))
    if info.unsupported:
        say(f"  {counted(len(info.unsupported), 'node')} cannot be compiled:")
        for node, reason in info.unsupported:
            say(f"    {node}: {reason}")
        next_step("replace these nodes, or export the model with other operators")
        return
    batch = _batch_is_enough(info)
    flags = ["--batch 1", *deciding] if batch else needed
    next_step(" ".join(["ipuc compile", shell_word(str(file)), *flags]))


def _fixed_data(info: ModelInfo) -> dict[str, str]:
    """Inputs of data, not of sizes, whose values decide a shape, as in NonZero.

    Who gives such an input as a constant compiles a program for that one value.
    """
    return {
        one.name: info.deciding[one.name]
        for one in info.inputs
        if one.name in info.deciding
        and one.dtype.startswith(("float", "bfloat"))
        and (one.dims is None or len(one.dims) > 1)
    }


def _batch_is_enough(info: ModelInfo) -> bool:
    """Whether `--batch` settles everything that is open."""
    open_ = [one for one in info.inputs if one.symbolic]
    return bool(open_) and all(one.only_batch for one in open_)


def _program(
    file: Path, program: Program, plans: bool, text: bool, count: bool, as_json: bool
) -> None:
    if text:
        if as_json:
            raise OptionError("--text is no JSON", fix="leave out --text or --json")
        click.echo(to_text(program))
        return
    if as_json:
        print_json(_program_json(file, program, count))
        return
    if plans:
        _plans(program)
        return
    about = program.metadata
    say(f"{file}: compiled program, written by ipuc {about.get('ipuc')}")
    say(f"  from {about.get('path') or about.get('model')}")
    for key, value in about.get("model_metadata", {}).items():
        say(f"  {key}: {value}")
    print_facts(program_facts(program, count=count))
    table([["inputs", "type"], *([name, str(kind)] for name, kind in program.inputs.items())])
    table([["outputs", "type"], *([name, str(kind)] for name, kind in program.outputs.items())])
    say(f"  {counted(len(program.layers), 'layer')}; --plans: how each was split over the tiles")
    word = shell_word(str(file))
    next_step(f"ipuc run {word}   or   ipuc render {word} --out graph.png")


def _program_json(file: Path, program: Program, count: bool) -> dict[str, Any]:
    def types(values: Any) -> dict[str, Any]:
        return {
            name: {"dtype": kind.dtype, "shape": list(kind.shape)} for name, kind in values.items()
        }

    return {
        "kind": "program",
        "file": str(file),
        **program_facts(program, count=count),
        "inputs": types(program.inputs),
        "outputs": types(program.outputs),
        "layers": [
            {"name": layer.name, "op": layer.op, "nodes": list(layer.nodes), "plan": layer.plan}
            for layer in program.layers
        ],
        "metadata": program.metadata,
    }


def _plans(program: Program) -> None:
    """Print the plans of every layer that had a choice; the chosen one first."""
    for layer in program.layers:
        if not layer.plan.get("chosen"):
            continue
        if "splits" not in layer.plan["chosen"]:  # by the rules of 2017 there was no choice
            parts = ", ".join(f"{value} {key}" for key, value in layer.plan["chosen"].items())
            say(f"{layer.name} ({layer.op}): {parts}")
            say()
            continue
        # A search that prunes early does not know how many plans there are.
        known = layer.plan.get("candidates")
        number = "" if known is None else f": {counted(known, 'plan')}"
        say(f"{layer.name} ({layer.op}){number}")
        named = [("chosen", layer.plan["chosen"])]
        named += [("next", row) for row in layer.plan.get("next", [])]
        if "cheapest wide and even" in layer.plan:
            named.append(("wide and even", layer.plan["cheapest wide and even"]))
        costs = list(layer.plan["chosen"].get("costs", {}))
        # Further choices, such as the method: two plans may differ in nothing else.
        others = list(dict.fromkeys(key for _, row in named for key in row if key not in _SHOWN))
        rows = [["", "split", *others, "tiles", "balance", "cycles", *costs]]
        rows += [[title, *_plan_row(row, others, costs)] for title, row in named]
        table(rows, right=range(2 + len(others), 5 + len(others) + len(costs)))
        say()


def _words(value: Any) -> str:
    """Write a choice of a plan: a number, a word, or several."""
    if isinstance(value, list):
        return "+".join(str(item) for item in value) or "-"
    return str(value)


def _plan_row(row: dict[str, Any], others: list[str], costs: list[str]) -> list[str]:
    """Cells of one plan: how it splits, what it uses, and its cycles item by item."""
    splits = " ".join(f"{name}:{parts}" for name, parts in row["splits"].items() if parts > 1)
    return [
        splits or "one tile",
        *(_words(row.get(name, "")) for name in others),
        f"{row['tiles']:,}",
        f"{row['balance']:.2f}",
        f"{row['cycles']:,}",
        *(f"{row['costs'].get(name, 0):,}" for name in costs),
    ]


def _picture(file: Path, info: PictureInfo, as_json: bool) -> None:
    width, height = info.size
    if as_json:
        known = {
            key.removeprefix("ipuc."): value
            for key, value in info.text.items()
            if key.startswith("ipuc.")
        }
        print_json(
            {
                "kind": "picture",
                "file": str(file),
                "width": width,
                "height": height,
                "ours": info.ours,
                **({"provenance": known} if info.ours else {}),
                "text": info.text,
            }
        )
        return
    if not info.ours:
        say(f"{file}: a picture of {width} x {height} pixels, not drawn by ipuc")
        next_step(f"ipuc run --input {shell_word(str(file))}")
        return
    say(f"{file}: drawn by ipuc, {width} x {height} pixels")
    table(sorted([key.removeprefix("ipuc."), value] for key, value in info.text.items()))
