"""The command group: names, one-line helps, and lazy loading of the commands."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from ipuc.cli.guard import State, guarded
from ipuc.cli.options import debug_option
from ipuc.errors import nearest
from ipuc.version import __version__

#: Every command with its line in `ipuc --help`; the command is `ipuc.cli.<name>_command.command`.
COMMANDS: dict[str, str] = {
    "model": "List the built-in models, or write one as an .onnx file.",
    "info": "Say what an .onnx, .ipu or rendered .png file is.",
    "targets": "Print the machines that programs are compiled for.",
    "compile": "Compile an ONNX model into a program (.ipu).",
    "run": "Run a program on the emulator.",
    "data": "Write a data set to learn from, as a .npz file.",
    "train": "Train a model on the emulated chip.",
    "profile": "Say what a program would cost on the chip: cycles, time and memory.",
    "explain": "Say why a layer is split over tiles as it is, and what that costs.",
    "show": "Show what one tile does in one superstep.",
    "export": "Write parts of a program for other tools.",
    "verify": "Compare every layer with another engine.",
    "render": "Draw the vertex graph of a program, its operators, or its cost.",
}

_HELP = """The Graphcore IPU and its compiler without the hardware.

An ONNX model becomes a program of vertices mapped onto the tiles of an IPU; an emulator computes
the same numbers with it that other engines give; and the program's graph becomes a picture.

\b
  ipuc model alexnet              write alexnet.onnx (random weights)
  ipuc compile alexnet.onnx       compile it: alexnet.ipu
  ipuc run --input photo.jpg      run the newest .ipu here on a photo
  ipuc render --out graph.png     draw its vertex graph

Exit codes: 0 done, 1 model or options, 2 usage, 3 does not fit the chip, 70 fault of ipuc,
130 stopped.
"""


class Commands(click.Group):
    """A group that imports a command when it is needed, and lets no exception escape."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order in which they are used."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ipuc.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a misspelt one is answered with what is like it."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f'there is no command "{args[0]}"; {nearest(args[0], COMMANDS)}', ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Parse and run; faults are printed and become the exit code.

        Args:
            args: words of the command line; by default the process's own.
            prog_name: what help calls the program.
            complete_var: variable that asks for shell completion.
            standalone_mode: end the process with the exit code instead of returning it.
            extra: for click's context.
        """
        state = State()
        parse = super().main
        code = guarded(
            lambda: parse(args, prog_name, complete_var, False, obj=state, **extra), state
        )
        if standalone_mode:
            raise SystemExit(code)
        return code


@click.group(
    cls=Commands,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ipuc")
@debug_option
def main() -> None:
    """Only options here: the commands do the work."""
