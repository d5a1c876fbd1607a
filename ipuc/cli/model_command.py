"""`ipuc model`: the built-in models."""

from __future__ import annotations

from pathlib import Path

import click

from ipuc import zoo
from ipuc.cli.options import debug_option, json_option, out_option
from ipuc.cli.output import next_step, note, print_json, say, shell_word, table
from ipuc.cli.paths import settle_output
from ipuc.errors import OptionError
from ipuc.importer.limits import readable

_HELP = """List the built-in models, or write one as an .onnx file.

The architectures are exact; the weights are random, from a seed, and scaled so that numbers stay
in range. So class numbers mean nothing, and `ipuc run` says so.

\b
Examples:
  ipuc model                      list them
  ipuc model alexnet              write alexnet.onnx
  ipuc model digits -o models/    write models/digits.onnx
  ipuc model --all -o models/     write all that are not there yet
"""


@click.command("model", help=_HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Write every model that is not there yet.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the weights."
)
@out_option("File or folder to write to.  [default: NAME.onnx in the current folder]")
@json_option
@debug_option
def command(
    names: tuple[str, ...], everything: bool, seed: int, out: Path | None, as_json: bool
) -> None:
    """List or write."""
    if everything and names:
        raise OptionError("--all and names exclude each other", fix="leave out one of them")
    wanted = tuple(zoo.names()) if everything else names
    if not wanted:
        if out is not None:
            raise OptionError("-o, but no model is named", fix="ipuc model NAME -o PATH, or --all")
        _list(as_json)
        return
    abouts = {name: zoo.describe(name) for name in wanted}
    if len(wanted) > 1 and out is not None and not out.is_dir():
        raise OptionError("several models need a folder", where=str(out), fix="make it first")
    paths = {name: settle_output(out, f"{name}.onnx") for name in wanted}
    written = []
    for name, path in paths.items():
        if everything and path.exists():
            note(f"{path} is there already and stays as it is")
            continue
        zoo.write(name, path, seed)
        size = path.stat().st_size
        written.append({"name": name, "path": str(path), "seed": seed, "bytes": size})
        if not as_json:
            say(f"{path} ({readable(size)}): {abouts[name]}")
    if as_json:
        print_json({"written": written})
        return
    note("the weights are random")
    next_step(f"ipuc compile {shell_word(str(paths[wanted[0]]))}")


def _list(as_json: bool) -> None:
    found = {name: zoo.describe(name) for name in zoo.names()}
    if as_json:
        print_json({"models": [{"name": name, "about": about} for name, about in found.items()]})
        return
    table([["name", "model"], *([name, about] for name, about in found.items())], indent="")
    next_step("ipuc model alexnet")
