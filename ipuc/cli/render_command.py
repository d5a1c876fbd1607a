"""`ipuc render`: a picture of a program."""

from __future__ import annotations

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
from ipuc.cli.output import Progress, next_step, print_json, progress, say, shell_word, timed
from ipuc.cli.paths import settle_output
from ipuc.cli.source import Opened, open_program
from ipuc.errors import OptionError
from ipuc.graph.record import from_json
from ipuc.profile.record import MODELLED, profile
from ipuc.render.build import scene_of
from ipuc.render.ops_view import draw_ops
from ipuc.render.paint import paint, save_png
from ipuc.render.palettes import RAMPS
from ipuc.render.place import place
from ipuc.render.profile_views import MEASURES, VIEWS, tiles_view
from ipuc.render.provenance import MARK
from ipuc.version import __version__

#: Suffixes that promise another format than the one that is written.
_OTHER_PICTURES = frozenset(
    {".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".svg", ".pdf"}
)

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
  ipuc render alexnet.ipu --size 4096 --palette alex --out alexnet.png
  ipuc render resnet34.ipu --view ops --out ops.png
  ipuc render resnet34.ipu --view tiles --measure memory --size 1200

The same program and seed give the same picture. `ipuc info graph.png` says what a picture shows.
"""


@click.command("render", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@out_option("The picture to write.  [default: PROGRAM.png, or PROGRAM-VIEW.png]")
@click.option(
    "--view",
    type=click.Choice(["graph", "ops", *VIEWS]),
    default="graph",
    show_default=True,
    help="What to draw; see above.",
)
@click.option(
    "--size",
    type=click.IntRange(64, 16384),
    help="Pixels per side.  [default: 2048; ops: 4096; charts: 1600 wide]",
)
@click.option(
    "--palette",
    type=click.Choice(sorted(RAMPS)),
    default="amber",
    show_default=True,
    help="Colours of the graph.",
)
@click.option(
    "--mode",
    type=click.Choice(["density", "activity"]),
    default="density",
    show_default=True,
    help="What the colour shows: how dense the graph is, or how busy a node is.",
)
@click.option(
    "--measure",
    type=click.Choice(list(MEASURES)),
    help="What --view tiles shows.  [default: compute]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the layout."
)
@compile_options
@json_option
@debug_option
def command(
    program: Path | None,
    out: Path | None,
    view: str,
    size: int | None,
    palette: str,
    mode: Any,
    measure: str | None,
    seed: int,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Draw and say what was drawn."""
    if measure is not None and view != "tiles":
        raise OptionError("--measure is about tiles", fix="add --view tiles, or leave it out")
    if out is not None and out.suffix.lower() in _OTHER_PICTURES:
        raise OptionError(
            f"pictures are written as PNG, not as {out.suffix[1:].upper()}",
            where=str(out),
            fix=f"-o {shell_word(str(out.with_suffix('.png')))}",
        )
    if out is not None:
        # Found out before minutes of work, and again below, where the default name is known.
        settle_output(out, "graph.png", source=program)
    with timed() as seconds, progress() as bar:
        opened = open_program(program, options, bar)
        name = f"{opened.path.stem}{'' if view == 'graph' else f'-{view}'}.png"
        path = settle_output(out, name, source=opened.path)
        if view == "ops":
            facts = _ops(opened, path, size or 4096)
        elif view in VIEWS:
            facts = _chart(opened, path, view, size or 1600, measure or "compute", bar)
        else:
            facts = _graph(opened, path, size or 2048, palette, mode, seed, bar)
    facts |= {"seed": seed, "size": facts["size"], "out": str(path), "seconds": seconds[0]}
    if as_json:
        print_json(facts)
        return
    width, height = facts["pixels"]
    if view == "ops":
        say(f"{facts['nodes']} operators, {facts['edges']} edges")
    elif view in VIEWS:
        say(f"{view}: {MODELLED}")
    else:
        say(
            f"vertex graph: {facts['nodes']:,} nodes ({facts['vertices']:,} vertices + "
            f"{facts['regions']:,} regions), {facts['edges']:,} edges"
        )
        if facts["drawn_edges"] < facts["edges"]:
            say(f"  {facts['drawn_edges']:,} of the edges are drawn, chosen by a hash")
    say(f"{width} x {height} pixels in {seconds[0]:.1f} s: {path}")
    next_step(f"ipuc info {shell_word(str(path))}")


def _graph(
    opened: Opened,
    path: Path,
    size: int,
    palette: str,
    mode: Any,
    seed: int,
    bar: Progress,
) -> dict[str, Any]:
    """Draw the vertex graph: scene, layout, paint."""
    bar("scene", 0, 1)
    scene = scene_of(opened.program)
    bar("scene", 1, 1)
    layout = place(scene, seed=seed, progress=lambda part: bar("layout", int(1000 * part), 1000))
    bar("paint", 0, 1)
    painting = paint(scene, layout, size=size, palette=palette, mode=mode)
    about = {
        **scene.provenance,
        **_provenance(opened),
        "ipuc.view": "graph",
        "ipuc.seed": str(seed),
        "ipuc.palette": palette,
        "ipuc.mode": mode,
        "ipuc.nodes": str(scene.nodes),
        "ipuc.vertices": str(scene.vertices),
        "ipuc.regions": str(scene.regions),
        "ipuc.edges": str(scene.edges),
    }
    save_png(painting.image, path, about)
    bar("paint", 1, 1)
    return {
        "view": "graph",
        "nodes": scene.nodes,
        "vertices": scene.vertices,
        "regions": scene.regions,
        "edges": scene.edges,
        "drawn_points": painting.drawn_points,
        "drawn_edges": painting.drawn_edges,
        "size": size,
        "pixels": list(painting.image.size),
    }


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
