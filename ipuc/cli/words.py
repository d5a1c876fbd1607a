"""Command lines as words: what was given, to be written down, and read again."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import click

from ipuc.cli.options import CompileOptions, compile_options
from ipuc.cli.output import shell_word


@click.command()
@compile_options
def _compiling(options: CompileOptions) -> CompileOptions:
    """Nothing but the options that say how to compile."""
    return options


#: The key of a program's metadata under which the options stand that it was compiled with.
GIVEN = "options_given"

#: Names of the options that say how to compile.
COMPILING = frozenset(parameter.name or "" for parameter in _compiling.params)


def given_words(
    ctx: click.Context,
    *,
    only: Container[str] | None = None,
    without: Container[str] = (),
) -> list[str]:
    """The options of a command line that were given, as words that give them again.

    Args:
        ctx: of the command.
        only: names of options to look at; None for all.
        without: names to leave out. What click keeps to itself (`--help`) is left out too.
    """
    words: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        told = name in ctx.params and name not in without and (only is None or name in only)
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if told and given and isinstance(parameter, click.Option):
            words += _words_of(parameter, ctx.params[name])
    return words


def _words_of(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        flags = option.opts if value else option.secondary_opts
        return [flags[0]]
    values = value if isinstance(value, tuple) else (value,)
    return [word for one in values for word in (option.opts[0], str(one))]


def read_compiling(words: list[str]) -> CompileOptions:
    """Read words that `given_words` wrote down for the options that say how to compile.

    Raises:
        click.ClickException: they are of another version.
    """
    options = _compiling.main(list(words), standalone_mode=False)
    assert isinstance(options, CompileOptions)
    return options


def compiling_words(metadata: Mapping[str, Any]) -> list[str] | None:
    """The options with which a program was compiled; None if nobody wrote them down."""
    found = metadata.get(GIVEN)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        return None
    return found


def pasted(*words: str | Path) -> str:
    """A command line that a shell reads as these words."""
    return " ".join(shell_word(str(word)) for word in words)
