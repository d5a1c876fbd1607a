"""`ipuc targets`: the machines, and where their numbers come from."""

from __future__ import annotations

import click

from ipuc.cli.options import debug_option, json_option
from ipuc.cli.output import next_step, print_json, say, table
from ipuc.target import CATALOGUE
from ipuc.target.define import SOURCES

_HELP = """Print the machines that programs are compiled for.

Counts are per IPU. Every number can be changed where a target is asked for:

\b
  ipuc compile model.onnx --target bow
  ipuc compile model.onnx --target gc200,tiles=64,clock_hz=1e9
"""

_ABOUT = {
    "gc2": "the first generation (Mk1)",
    "gc200": "the second generation (Mk2); the default",
    "bow": "a GC200 with a faster clock",
    "tiny": "four tiles of a GC200, for tests and teaching; no such chip exists",
}


@click.command("targets", help=_HELP)
@json_option
@debug_option
def command(as_json: bool) -> None:
    """One column a machine, one row a number, and the sources below."""
    if as_json:
        listed = {
            name: {"name": name, **target.numbers(), "about": _ABOUT[name]}
            for name, target in CATALOGUE.items()
        }
        print_json({"targets": listed, "sources": SOURCES})
        return
    for name in CATALOGUE:
        say(f"{name:<6} {_ABOUT[name]}")
    say()
    rows = [["", *CATALOGUE]]
    machines = [target.numbers() for target in CATALOGUE.values()]
    rows += [[field, *(f"{numbers[field]:,}" for numbers in machines)] for field in SOURCES]
    table(rows, right=range(1, len(CATALOGUE) + 1), indent="")
    say()
    say("Sources")
    for field, source in SOURCES.items():
        say(f"  {field}: {source}")
    next_step("ipuc compile MODEL.onnx --target gc200,tiles=64")
