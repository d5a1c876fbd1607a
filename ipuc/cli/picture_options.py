"""Options that say how the picture of a vertex graph is to look."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ipuc.errors import OptionError
from ipuc.render.colouring import BY, By
from ipuc.render.drawn import DEFAULT_MAX_NODES
from ipuc.render.paint import SIZES
from ipuc.render.palettes import PALETTES, Mode, palette_named
from ipuc.render.poster.page import PAPERS, paper_pixels

Function = TypeVar("Function", bound=Callable[..., Any])

_SIZE = 2048

#: What the preset 2017 stands for in pictures: the published picture with labels.
_PRESET = {"palette": "alex", "ground": "white", "label": True}


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """How a picture is to look; None where nothing was said.

    Attributes:
        size: pixels across.
        paper: a sheet of paper instead.
        dpi: dots per inch on it.
        palette: name of the colours.
        mode: density or activity.
        by: what colour shows.
        ground: colour of the page.
        dither: tones that are scattered.
        label: cells are labelled.
        labels: an edited list of labels.
        write_labels: where to write that list.
        title: above the picture.
        insets: layers to magnify.
        sheet: one page of all palettes.
        frames: folder for one picture a superstep.
        seed: of the layout.
        preview: a quick, coarse picture.
        max_nodes: the most that is drawn; None for the default.
        cached: layouts are kept beside the program, and used again.
    """

    size: int | None = None
    paper: str | None = None
    dpi: int = 300
    palette: str | None = None
    mode: Mode | None = None
    by: By | None = None
    ground: str | None = None
    dither: str | None = None
    label: bool | None = None
    labels: Path | None = None
    write_labels: Path | None = None
    title: str = ""
    insets: tuple[str, ...] = ()
    sheet: bool = False
    frames: Path | None = None
    seed: int = 0
    preview: bool = False
    max_nodes: int | None = None
    cached: bool = True

    def settled(self, preset: str) -> Settled:
        """Fill in what was not given.

        Args:
            preset: "2017", or nothing.

        Raises:
            OptionError: two options contradict each other.
        """
        self._check()
        like: dict[str, Any] = _PRESET if preset and not self.sheet and not self.frames else {}
        palette = self.palette or like.get("palette", "amber")
        mode = self.mode or ("activity" if self.by else palette_named(palette).mode)
        by: By | None = None if mode == "density" else self.by or "cycles"
        wanted = bool(self.labels or self.write_labels) or bool(like.get("label"))
        label = wanted if self.label is None else self.label
        ground = self.ground or (like.get("ground") if palette == like.get("palette") else None)
        size = paper_pixels(self.paper, self.dpi) if self.paper else self._size()
        return Settled(size, palette, by, ground, label)

    def _size(self) -> int:
        return self.size or (1024 if self.preview or self.frames else _SIZE)

    def _check(self) -> None:
        for one, other, clash in (
            ("--size", "--paper", self.size and self.paper),
            ("--mode density", "--colour-by", self.mode == "density" and self.by),
            ("--no-label", "--labels", self.label is False and self.labels),
            ("--sheet", "--frames", self.sheet and self.frames),
            ("--sheet", "--inset", self.sheet and self.insets),
            ("--sheet", "--paper", self.sheet and self.paper),
            ("--frames", "--paper", self.frames and self.paper),
        ):
            if clash:
                raise OptionError(f"{one} and {other} contradict each other", fix="leave one out")


@dataclass(frozen=True, slots=True)
class Settled:
    """What `PictureOptions` come to: pixels, colours, ground, and whether cells are labelled."""

    size: int | tuple[int, int]
    palette: str
    by: By | None
    ground: str | None
    label: bool

    @property
    def mode(self) -> Mode:
        """What the picture shows."""
        return "density" if self.by is None else "activity"


def picture_options(function: Function) -> Function:
    """Give a command all options about the look, as one argument `picture`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **rest: Any) -> Any:
        own = {name: rest.pop(name) for name in PictureOptions.__dataclass_fields__}
        return function(*args, picture=PictureOptions(**own), **rest)

    for decorate in reversed(_decorators()):
        wrapper = decorate(wrapper)
    return wrapper  # type: ignore[return-value]  # it takes other keywords than it hands on


def max_nodes_option(function: Function) -> Function:
    """Give a command `--max-nodes`."""
    return click.option(
        "--max-nodes",
        type=click.IntRange(min=1),
        metavar="N",
        help=f"Refuse graphs with more nodes.  [default: {DEFAULT_MAX_NODES:,}]",
    )(function)


def _decorators() -> tuple[Callable[[Any], Any], ...]:
    file = click.Path(path_type=Path)
    return (
        click.option(
            "--size",
            type=click.IntRange(*SIZES),
            help="Pixels across.  [default: 2048; preview: 1024; ops: 4096; charts: 1600]",
        ),
        click.option(
            "--paper", type=click.Choice(list(PAPERS)), help="Fill a sheet of paper, upright."
        ),
        click.option(
            "--dpi",
            type=click.IntRange(36, 1200),
            default=300,
            show_default=True,
            help="Dots per inch on paper.",
        ),
        click.option(
            "--palette",
            type=click.Choice(sorted(PALETTES)),
            help="Colours; cividis suits colour-blind eyes.  [default: amber; preset 2017: alex]",
        ),
        click.option(
            "--mode",
            type=click.Choice(["density", "activity"]),
            help="How dense the graph is, or how busy a node is.  [default: as suits the palette]",
        ),
        click.option(
            "--colour-by",
            "--color-by",
            "by",
            type=click.Choice(BY),
            help="What the colour shows in an activity picture.  [default: cycles]",
        ),
        click.option(
            "--ground",
            metavar="COLOUR",
            help="Round the disc: #rrggbb, black, white or transparent.  [default: the palette's]",
        ),
        click.option(
            "--dither", type=click.Choice(["8"]), help="Scatter eight tones, as film grain."
        ),
        click.option(
            "--label/--no-label", default=None, help="Name the cells, all round the disc."
        ),
        click.option("--labels", type=file, metavar="FILE", help="Use an edited list of labels."),
        click.option(
            "--write-labels", type=file, metavar="FILE", help="Write that list, to be edited."
        ),
        click.option("--title", default="", help="Over the picture."),
        click.option(
            "--inset",
            "insets",
            multiple=True,
            metavar="LAYER[@TIMES]",
            help="Magnify a part of a layer's largest cell beside the disc; may be repeated.",
        ),
        click.option("--sheet", is_flag=True, help="One page with all palettes."),
        click.option(
            "--frames",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="One picture for every superstep, in which cells light up as they compute.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Of the layout.",
        ),
        click.option(
            "--preview",
            is_flag=True,
            help="A quick picture, 1024 pixels: a coarse layout; of a large graph, a sample.",
        ),
        max_nodes_option,
        click.option(
            "--cache/--no-cache",
            "cached",
            default=True,
            help="Keep the layout beside the program, and use it again.  [default: cache]",
        ),
    )
