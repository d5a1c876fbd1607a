"""`ipuc render`: a picture of a program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ipuc.cli.options import (
    CompileOptions,
    compile_options,
    debug_option,
    json_option,
    out_option,
)
from ipuc.cli.output import (
    Progress,
    counted,
    next_step,
    note,
    print_json,
    progress,
    say,
    shell_word,
    timed,
)
from ipuc.cli.paths import settle_output
from ipuc.cli.picture_options import PictureOptions, picture_options
from ipuc.cli.render_graph import check_folder, check_options, draw_graph, hint
from ipuc.cli.source import Opened, open_program
from ipuc.cli.words import given_words, pasted
from ipuc.errors import OptionError
from ipuc.graph.record import from_json
from ipuc.profile.record import MODELLED, profile
from ipuc.render.ops_view import draw_ops
from ipuc.render.profile_views import MEASURES, VIEWS, tiles_view
from ipuc.render.provenance import MARK, save_png
from ipuc.version import __version__

#: Options that change nothing in the picture.
_NOT_TOLD = frozenset({"program", "out", "as_json", "write_labels", "cached"})

#: Suffixes that promise another format than the one that is written.
_OTHER_PICTURES = frozenset({".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".pdf"})

_HELP = """Draw the vertex graph of a program, its operators, or its cost.

PROGRAM is a .ipu file, or a model (.onnx) that is compiled first. Without it the newest .ipu of
the current folder is drawn.

\b
  --view graph  every compute vertex and every region of memory it touches (the default);
                nothing is drawn that is not in the program
  --view ops    the operators, layer by layer
  --view timeline  what every tile does at every modelled cycle
  --view memory    bytes by tile and category, and the limit
  --view liveness  bytes that are alive, by program step
  --view tiles     compute cycles of every tile, or another --measure, as a heat map

\b
Examples:
  ipuc render --out graph.png
  ipuc render alexnet.onnx --preset 2017 -o poster.png    compiled, labelled, as in 2017
  ipuc render alexnet.ipu --size 4096 --palette alex --label --out alexnet.svg
  ipuc render alexnet.ipu --inset fc6 --inset "Conv 2 - 5x5@10" --paper A2 -o print.png
  ipuc render resnet34.ipu --view ops --out ops.png
  ipuc render resnet34.ipu --view tiles --measure memory --size 1200

A name that ends in .svg gives labels, legend and caption as text that can be edited. The same
program and seed give the same picture. `ipuc info graph.png` says what a picture shows.
"""


@click.command("render", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@out_option("The picture to write, .png or .svg.  [default: PROGRAM.png, or PROGRAM-VIEW.png]")
@click.option(
    "--view",
    type=click.Choice(["graph", "ops", *VIEWS]),
    default="graph",
    show_default=True,
    help="What to draw; see above.",
)
@click.option(
    "--measure",
    type=click.Choice(list(MEASURES)),
    help="What --view tiles shows.  [default: compute]",
)
@picture_options
@compile_options
@json_option
@debug_option
@click.pass_context
def command(
    ctx: click.Context,
    program: Path | None,
    out: Path | None,
    view: str,
    measure: str | None,
    picture: PictureOptions,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Draw and say what was drawn."""
    if measure is not None and view != "tiles":
        raise OptionError("--measure is about tiles", fix="add --view tiles, or leave it out")
    _check_suffix(out, view)
    size = picture.size
    picture = _check_places(program, out, view, picture, options)
    with timed() as seconds, progress() as bar:
        opened = open_program(program, options, bar, races=False)
        name = f"{opened.path.stem}{'' if view == 'graph' else f'-{view}'}.png"
        path = settle_output(out, name, source=opened.path)
        if picture.write_labels is not None and picture.write_labels.resolve() == path.resolve():
            raise OptionError(
                "the picture and its labels would be one file", where=str(path), fix="use two names"
            )
        if view == "ops":
            facts = _ops(opened, path, size or 4096)
        elif view in VIEWS:
            facts = _chart(opened, path, view, size or 1600, measure or "compute", bar)
        else:
            # All that was given but where to write it: draws the same picture.
            again = pasted("ipuc", "render", opened.path.name, *given_words(ctx, without=_NOT_TOLD))
            about = {**_provenance(opened), "ipuc.command": again}
            facts = draw_graph(opened, path, picture, options.preset, about, bar)
    where = picture.frames if "frames" in facts else path
    facts |= {"seed": picture.seed, "out": str(where), "seconds": seconds[0]}
    if as_json:
        print_json(facts)
        return
    _say(facts, view, seconds[0])
    better = hint(opened, options.preset, facts["nodes"]) if view == "graph" else ""
    if better:
        note(f"for the look of 2017: {better}")
    if path.suffix.lower() != ".svg" and "frames" not in facts:
        next_step(f"ipuc info {shell_word(str(path))}")


def _say(facts: dict[str, Any], view: str, seconds: float) -> None:
    """Say what was drawn, and where it is."""
    width, height = facts["pixels"]
    if view == "ops":
        say(f"{facts['nodes']} operators, {facts['edges']} edges")
    elif view in VIEWS:
        say(f"{view}: {MODELLED}")
    else:
        _say_graph(facts)
    say(f"{width} x {height} pixels in {seconds:.1f} s: {facts['out']}")


def _check_places(
    program: Path | None,
    out: Path | None,
    view: str,
    picture: PictureOptions,
    options: CompileOptions,
) -> PictureOptions:
    """Find out before minutes of work what cannot be drawn, or not be written.

    The picture's own place is looked at again when its default name is known.

    Returns:
        The picture's options, with the file of its labels settled.
    """
    if view == "graph":
        check_options(picture, picture.settled(options.preset))
    if out is not None:
        settle_output(out, "graph.png", source=program)
    if picture.write_labels is not None:
        labels = settle_output(picture.write_labels, "labels.json", source=program)
        picture = replace(picture, write_labels=labels)
    if picture.frames is not None:
        check_folder(picture.frames)
    return picture


def _check_suffix(out: Path | None, view: str) -> None:
    """Refuse a name that promises another format than is written."""
    if out is None:
        return
    suffix = out.suffix.lower()
    if suffix in _OTHER_PICTURES or (suffix == ".svg" and view != "graph"):
        raise OptionError(
            f"pictures are written as PNG, not as {suffix[1:].upper()}",
            where=str(out),
            fix=f"-o {shell_word(str(out.with_suffix('.png')))}",
        )


def _say_graph(facts: dict[str, Any]) -> None:
    """What a picture of the graph shows."""
    say(
        f"vertex graph: {facts['nodes']:,} nodes ({facts['vertices']:,} vertices + "
        f"{facts['regions']:,} regions), {facts['edges']:,} edges"
    )
    if "sample" in facts:
        nodes, edges = facts["sample"]["nodes"], facts["sample"]["edges"]
        say(f"  a preview shows a sample of {nodes:,} nodes, {edges:,} edges")
    if facts["drawn_edges"] < facts["edges"]:
        say(f"  {facts['drawn_edges']:,} of the edges are drawn, chosen by a hash")
    if "labels" in facts:
        left = facts["unlabelled"]
        say(f"  {counted(facts['labels'], 'cell')} named" + (f", {left:,} not" if left else ""))
    if "frames" in facts:
        say(f"  {counted(facts['frames'], 'superstep')}, a picture each")


def _ops(opened: Opened, path: Path, size: int) -> dict[str, Any]:
    """Draw the op graph."""
    graph = from_json(opened.program.graph_text)
    image = draw_ops(graph, max_side=size)
    made = {name for node in graph.nodes for name in node.outputs if name}
    made.update(graph.inputs)
    edges = sum(name in made for node in graph.nodes for name in node.inputs)
    about = {
        **_provenance(opened),
        "ipuc.view": "ops",
        "ipuc.nodes": str(len(graph.nodes)),
        "ipuc.edges": str(edges),
    }
    save_png(image, path, about)
    return {
        "view": "ops",
        "nodes": len(graph.nodes),
        "edges": edges,
        "drawn_points": len(graph.nodes),
        "drawn_edges": edges,
        "size": max(image.size),
        "pixels": list(image.size),
    }


def _chart(
    opened: Opened, path: Path, view: str, size: int, measure: str, bar: Progress
) -> dict[str, Any]:
    """Draw a picture of the profile."""
    found = profile(opened.program, lambda done, of: bar("profile", done, of))
    tiles = view == "tiles"
    image = tiles_view(found, size, measure) if tiles else VIEWS[view](found, size)
    about = {"ipuc.view": view, **({"ipuc.measure": measure} if tiles else {})}
    save_png(image, path, {**_provenance(opened), **about})
    unknown = dict.fromkeys(("nodes", "edges", "drawn_points", "drawn_edges"))
    return {"view": view, **unknown, "size": size, "pixels": list(image.size)}


def _provenance(opened: Opened) -> dict[str, str]:
    """What the picture's text chunks say about the program."""
    about = opened.program.metadata
    known = {
        "ipuc.model": about.get("model"),
        "ipuc.sha256": about.get("sha256"),
        "ipuc.target": opened.program.target.name,
        "ipuc.granularity": about.get("granularity"),
        MARK: __version__,
    }
    return {key: str(value) for key, value in known.items() if value}
