"""Pictures of the vertex graph: what `ipuc render` does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipuc.cli.affordable import with_way_out
from ipuc.cli.modelled import noted_memory
from ipuc.cli.output import Progress, counted, note, shell_word, warn
from ipuc.cli.picture_options import PictureOptions, Settled
from ipuc.cli.source import Opened
from ipuc.errors import OptionError
from ipuc.files import whole
from ipuc.machine import keep_freed_memory
from ipuc.program.program import Program
from ipuc.render.build import layers_of
from ipuc.render.colouring import colouring_of
from ipuc.render.drawn import DEFAULT_MAX_NODES, GraphTooLarge, scene_and_layout
from ipuc.render.frames import frames
from ipuc.render.paint import hold_to_memory
from ipuc.render.palettes import rgb_of
from ipuc.render.place import Layout
from ipuc.render.poster.compose import Look, compose
from ipuc.render.poster.elements import Poster
from ipuc.render.poster.naming import (
    Named,
    name_cells,
    once_each,
    read_labels,
    read_rows,
    write_labels,
)
from ipuc.render.poster.pixels import draw
from ipuc.render.poster.sheet import sheet
from ipuc.render.poster.svg import write_svg
from ipuc.render.poster.windows import read_inset
from ipuc.render.provenance import save_png
from ipuc.render.raster import View
from ipuc.render.scene import Scene
from ipuc.render.words import counts_of, sample_words, words_of

#: A graph of fewer nodes than this looks like a diagram, not like the pictures of 2017.
_SMALL = 300_000


def check_options(picture: PictureOptions, settled: Settled) -> None:
    """Refuse what cannot be drawn before minutes of work.

    Raises:
        OptionError: the picture is too large for memory, the ground is no colour, or the labels
            cannot be read.
    """
    size = settled.size
    width, height = size if isinstance(size, tuple) else (size, size)
    part = width // 3 if picture.sheet else width
    channels = 3 if settled.by in ("layer", "pass") else int(settled.by is not None)
    hold_to_memory(View(0, 0, part, part, min(part, height)), channels)
    if settled.ground and settled.ground != "transparent":
        rgb_of(settled.ground)
    if picture.labels is not None:
        read_rows(picture.labels)


def draw_graph(
    opened: Opened,
    path: Path,
    picture: PictureOptions,
    preset: str,
    about: dict[str, str],
    bar: Progress,
) -> dict[str, Any]:
    """Draw the vertex graph: scene, layout, paint.

    Args:
        opened: the program.
        path: what to write, `.png` or `.svg`.
        picture: how it is to look.
        preset: "2017", or nothing.
        about: what the file says of itself; counts and options are added.
        bar: shows the stages.

    Returns:
        Facts for `--json`, and for people.
    """
    keep_freed_memory()
    settled = picture.settled(preset)
    for inset in picture.insets:
        read_inset(layers_of(opened.program), inset)
    scene, layout = _laid_out(opened, picture, bar)
    words = words_of(scene, _warning(opened.program))
    about = {**scene.provenance, **about, **_facts_of(scene, picture, settled)}
    facts: dict[str, Any] = {
        "view": "graph",
        **counts_of(scene),
    }
    if scene.stands is not None:
        facts["sample"] = {"nodes": scene.nodes, "edges": scene.edges}
        about["ipuc.sample"] = sample_words(scene)

    def told(part: float) -> None:
        bar("paint", int(1000 * part), 1000)

    if picture.sheet:
        poster = sheet(scene, layout, _across(settled), words, told)
        _save(poster, path, about, None)
        return {**facts, **_drawn(scene.nodes, scene.edges, poster)}
    if picture.frames is not None:
        return {**facts, **_frames(opened.program, scene, layout, picture, settled, about, bar)}
    labels = _labels(scene, layout, picture) if settled.label or picture.write_labels else []
    if picture.write_labels is not None:
        write_labels(labels, picture.write_labels)
        note(f"{counted(len(labels), 'label')} written to {picture.write_labels}")
    by = settled.by
    made = compose(
        scene,
        layout,
        Look(
            size=settled.size,
            palette=settled.palette,
            colouring=by and colouring_of(scene, by, settled.palette, layout.light),
            words=words,
            ground=settled.ground,
            title=picture.title,
            labels=labels if settled.label else None,
            insets=picture.insets,
            dither=picture.dither is not None,
        ),
        told,
    )
    _save(made.poster, path, about, picture.dpi if picture.paper else None)
    painting = made.painting
    facts |= _drawn(painting.drawn_points, painting.drawn_edges, made.poster)
    if settled.label:
        facts |= {"labels": made.named, "unlabelled": made.unnamed}
    return facts


def hint(opened: Opened, preset: str, nodes: int) -> str:
    """How to get the look of 2017 from a program that is too small for it; empty if it is not."""
    meta = opened.program.metadata
    if preset or nodes >= _SMALL or meta.get("granularity") == "worker":
        return ""
    model = meta.get("path")
    if not isinstance(model, str) or not Path(model).is_file():
        model = "MODEL.onnx"
    return f"ipuc render {shell_word(_short(model))} --preset 2017 -o poster.png"


def _short(model: str) -> str:
    """A path as seen from here, if that is shorter."""
    try:
        return str(Path(model).relative_to(Path.cwd()))
    except ValueError:
        return model


def _laid_out(opened: Opened, picture: PictureOptions, bar: Progress) -> tuple[Scene, Layout]:
    """Scene and layout; the layout of a program file is kept beside it."""
    kept = picture.cached and not opened.compiled
    try:
        return scene_and_layout(
            opened.program,
            seed=picture.seed,
            preview=picture.preview,
            max_nodes=picture.max_nodes or DEFAULT_MAX_NODES,
            cache=opened.path if kept else None,
            progress=bar,
            warned=warn,
        )
    except GraphTooLarge as fault:
        raise with_way_out(fault, opened, bar) from fault


def _warning(program: Program) -> str:
    """What the caption says of a program that does not fit."""
    memory = noted_memory(program)
    if not memory or memory.get("fits", True):
        return ""
    need, limit = memory["max_tile_bytes"], memory["limit_bytes"]
    return f"does not fit its target: {need:,} of {limit:,} bytes on the fullest tile"


def _labels(scene: Scene, layout: Layout, picture: PictureOptions) -> list[Named]:
    known = name_cells(scene, layout)
    return once_each(known) if picture.labels is None else read_labels(picture.labels, known)


def _facts_of(scene: Scene, picture: PictureOptions, settled: Settled) -> dict[str, str]:
    known = {
        "ipuc.view": "graph",
        "ipuc.seed": picture.seed,
        "ipuc.palette": "all" if picture.sheet else settled.palette,
        "ipuc.mode": settled.mode,
        "ipuc.colour-by": settled.by,
        **{f"ipuc.{name}": count for name, count in counts_of(scene).items()},
    }
    return {key: str(value) for key, value in known.items() if value is not None}


def _across(settled: Settled) -> int:
    assert isinstance(settled.size, int)
    return settled.size


def _drawn(points: int, edges: int, poster: Poster) -> dict[str, Any]:
    return {
        "drawn_points": points,
        "drawn_edges": edges,
        "size": poster.width,
        "pixels": [poster.width, poster.height],
    }


def _save(poster: Poster, path: Path, about: dict[str, str], dpi: int | None) -> None:
    if path.suffix.lower() == ".svg":
        with whole(path, "the picture") as stream:
            stream.write(write_svg(poster, about).encode())
    else:
        save_png(draw(poster), path, about, dpi)


def _frames(
    program: Program,
    scene: Scene,
    layout: Layout,
    picture: PictureOptions,
    settled: Settled,
    about: dict[str, str],
    bar: Progress,
) -> dict[str, Any]:
    """Write one picture for each superstep."""
    folder = picture.frames
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    size, count = _across(settled), 0
    made = frames(program, scene, layout, size=size, palette=settled.palette)
    for number, image in enumerate(made):
        save_png(image, folder / f"{number:05d}.png", {**about, "ipuc.frame": str(number)})
        count += 1
        bar("frames", number, max(number + 1, 100))
    return {
        "drawn_points": scene.nodes,
        "drawn_edges": scene.edges,
        "frames": count,
        "size": size,
        "pixels": [size, size],
    }


def check_folder(folder: Path) -> None:
    """Make the folder for frames, or say why not.

    Raises:
        OptionError: it cannot be made, or holds other things.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"the folder cannot be made: {error.strerror}", where=str(folder), fix="choose another"
        ) from error
