"""The finest granularity at which the vertex graph of a model is small enough to be drawn."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import click

from ipuc.cli.arguments import compile_arguments
from ipuc.cli.options import CompileOptions
from ipuc.cli.output import Progress
from ipuc.cli.presets import settle_preset
from ipuc.cli.source import Opened
from ipuc.cli.words import COMPILING, compiling_words, given_words, pasted, read_compiling
from ipuc.errors import IpucError, OptionError
from ipuc.importer.digest import is_current
from ipuc.pipeline import compile_model
from ipuc.program.enumerate import VertexGraph
from ipuc.render.drawn import GraphTooLarge, estimate, in_words

#: From the finest to the coarsest.
_GRANULARITIES = ("fine", "worker", "tile")

#: Seconds that counting may take: compiling AlexNet's training step takes about ten, and who
#: waits for an error message waits for nothing else.
_PATIENCE = 90.0

#: Options of a command that make no sense beside a model in place of a program.
_NOT_REPEATED = frozenset({"program", "granularity", "max_nodes", "as_json"})


class _OutOfPatienceError(Exception):
    """Compiling takes longer than anybody waits for an error message."""


@dataclass(frozen=True, slots=True)
class _Source:
    """How a program was made: the model, and the options that make it again."""

    model: Path
    options: CompileOptions
    words: list[str]


def with_way_out(fault: GraphTooLarge, opened: Opened, bar: Progress) -> OptionError:
    """Say how to draw a graph that is too large: at the finest granularity that is allowed.

    Coarser granularities are compiled and counted, one after another, with the options of the
    program as it is.

    Args:
        fault: how large the graph is, and how large it may be.
        opened: the program.
        bar: shows that something is done.
    """
    all_the_same = f"--max-nodes {fault.nodes} draws it all the same"
    current = str(opened.program.metadata.get("granularity", ""))
    at = _GRANULARITIES.index(current) if current in _GRANULARITIES else len(_GRANULARITIES)
    coarser = _GRANULARITIES[at + 1 :]
    if not coarser:
        return OptionError(fault.what, fix=all_the_same)
    source = _source_of(opened)
    if source is None:
        unknown = f"a coarser --granularity ({' or '.join(coarser)}) gives fewer nodes"
        fix = f"{unknown}; the model that this was compiled from is not at hand; or {all_the_same}"
        return OptionError(fault.what, fix=fix)
    end = time.monotonic() + _PATIENCE
    counted = []
    for granularity in coarser:
        command = _command(source, granularity)
        try:
            nodes = _count(source, granularity, end, bar)
        except (_OutOfPatienceError, IpucError) as error:
            why = error.what if isinstance(error, IpucError) else "that would take too long"
            fix = f"{command}\n    (its nodes were not counted: {why})\n  or: {all_the_same}"
            return OptionError(fault.what, fix=fix)
        if nodes <= fault.max_nodes:
            takes = f"{nodes:,} nodes, {in_words(estimate(nodes))}"
            return OptionError(fault.what, fix=f"{command}\n    ({takes})\n  or: {all_the_same}")
        counted.append(f"{granularity} {nodes:,}")
    none = f"no granularity is coarse enough (nodes: {', '.join(counted)})"
    return OptionError(fault.what, fix=f"{none}; {all_the_same}")


def _source_of(opened: Opened) -> _Source | None:
    """The model of a program and its options; None if either is unknown or has changed."""
    about = opened.program.metadata
    recorded = about.get("path")
    words = compiling_words(about)
    if words is None or not isinstance(recorded, str) or not Path(recorded).is_file():
        return None
    model = opened.path if opened.compiled else Path(recorded)
    if not opened.compiled and not is_current(model, str(about.get("sha256"))):
        return None
    try:
        return _Source(model, read_compiling(words), words)
    except click.ClickException:
        return None


def _count(source: _Source, granularity: str, end: float, bar: Progress) -> int:
    """Nodes of the vertex graph at another granularity."""

    def told(stage: str, done: int, of: int) -> None:
        if time.monotonic() > end:
            raise _OutOfPatienceError
        bar(stage, done, of)

    given = (*source.options.given, "--granularity")
    options = replace(source.options, granularity=granularity, given=given)
    settled = settle_preset(options, source.model, tell=lambda _: None)
    program = compile_model(source.model, **compile_arguments(settled), progress=told)
    return VertexGraph(program).nodes


def _command(source: _Source, granularity: str) -> str:
    """The command that was given, for the model at another granularity."""
    ctx = click.get_current_context()
    compiling = _without(source.words, "--granularity")
    rest = given_words(ctx, without=_NOT_REPEATED | COMPILING)
    words = [*compiling, "--granularity", granularity, *rest]
    return pasted("ipuc", "render", source.model, *words)


def _without(words: list[str], option: str) -> list[str]:
    """Words without an option and its value."""
    at = words.index(option) if option in words else len(words)
    return words[:at] + words[at + 2 :]
