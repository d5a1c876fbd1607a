"""From a program to a scene that is laid out: estimated first, kept beside the program after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError, OptionError
from ipuc.program.encode import Encoder
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.render.build import scene_of_graph
from ipuc.render.place import Layout, layout_of_arrays, parameters_for, place
from ipuc.render.place.layout import ARRAYS, header_of
from ipuc.render.sample import sample_of
from ipuc.render.saving import load_arrays, save_arrays
from ipuc.render.scene import Scene

#: Told the stage and how much of it is done, as `done` of `total`.
Progress = Callable[[str, int, int], None]

#: Nodes that are drawn unless more are allowed.
DEFAULT_MAX_NODES = 25_000_000

#: A layout that takes less than some seconds is not kept.
KEPT_FROM = 200_000

#: Regions of a preview: as many as are laid out and painted in some seconds.
PREVIEW_REGIONS = 1_500_000

#: Seconds and bytes per node, and what is needed besides. Source: measured on the graphs of 2017
#: training, 0.3 to 20 million nodes, on two cores; `benchmarks/render.py` prints its own.
_SECONDS, _BYTES, _BASE_BYTES = 10e-6, 240, 0.6e9

#: Changes whenever the same scene is laid out differently.
_VERSION = 6


class GraphTooLarge(OptionError):
    """The vertex graph has more nodes than may be drawn; `what` says what it would take.

    Attributes:
        nodes: of the graph.
        max_nodes: that may be drawn.
    """

    def __init__(self, nodes: int, max_nodes: int) -> None:
        takes = in_words(estimate(nodes))
        super().__init__(
            f"the vertex graph has {nodes:,} nodes, more than {max_nodes:,}; to draw it would "
            f"take {takes}",
            fix=f"--max-nodes {nodes} draws it all the same",
        )
        self.nodes = nodes
        self.max_nodes = max_nodes


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a picture of a program takes, before any of the work.

    Attributes:
        nodes: compute vertices and elementary regions; exact.
        minutes: on two cores, to lay out and paint.
        gigabytes: of memory at the peak.
    """

    nodes: int
    minutes: float
    gigabytes: float


def estimate(nodes: int) -> Estimate:
    """Say what a graph of so many nodes takes to draw."""
    return Estimate(nodes, nodes * _SECONDS / 60, (_BASE_BYTES + nodes * _BYTES) / 1e9)


def in_words(needed: Estimate) -> str:
    """Say what a picture takes: "about 6 minutes and 5 GB"."""
    if needed.minutes < 1.5:
        time = f"{max(round(60 * needed.minutes), 1)} s"
    else:
        time = f"{needed.minutes:.0f} minutes"
    return f"about {time} and {needed.gigabytes:.1f} GB"


def scene_and_layout(
    program: Program,
    *,
    seed: int = 0,
    preview: bool = False,
    max_nodes: int = DEFAULT_MAX_NODES,
    cache: Path | None = None,
    progress: Progress | None = None,
    warned: Callable[[str], None] = lambda _: None,
) -> tuple[Scene, Layout]:
    """Make the scene of a program and lay it out, or take the layout that lies beside it.

    Args:
        program: what to draw.
        seed: another seed gives another arrangement.
        preview: lay out clusters of nodes only, and of a large graph only those of a sample.
        max_nodes: a larger graph is refused, with an estimate, before any work.
        cache: the program's file; large layouts are kept beside it, see `cache_path`.
        progress: told what is done.
        warned: told that the layout cannot be kept; the picture does not need that.

    Raises:
        GraphTooLarge: the graph is larger than allowed.
        OptionError: there is nothing to draw.
    """
    told = progress or (lambda _stage, _done, _total: None)
    told("scene", 0, 1000)
    graph = VertexGraph(program)
    if graph.nodes > max_nodes:
        raise GraphTooLarge(graph.nodes, max_nodes)
    path = sample = None
    if preview and graph.regions > PREVIEW_REGIONS:
        sample = sample_of(graph.first_region, PREVIEW_REGIONS)
    elif cache is not None and graph.nodes >= KEPT_FROM:
        path = cache_path(cache, seed, preview=preview)
    digest = _digest(program) if path is not None else ""
    kept = _kept(path, digest, graph.nodes) if path is not None else None
    scene = scene_of_graph(
        program,
        graph,
        cell=kept[0] if kept else None,
        sample=sample,
        progress=lambda part: told("scene", int(1000 * part), 1000),
    )
    if kept:
        return scene, kept[1]
    layout = place(
        scene,
        seed=seed,
        preview=preview,
        progress=lambda part: told("layout", int(1000 * part), 1000),
    )
    if path is not None:
        header = {**header_of(layout), "digest": digest}
        arrays = {name: getattr(layout, name) for name in ARRAYS}
        try:
            save_arrays(path, header, {**arrays, "cell": scene.cell})
        except ContainerError as error:
            warned(f"the layout is not kept, {path}: {error.what}")
    return scene, layout


def cache_path(program: Path, seed: int, *, preview: bool = False) -> Path:
    """Where the layout of a program's picture is kept: beside it, one file per seed."""
    kind = "preview" if preview else "layout"
    return program.with_name(f"{program.stem}.{kind}-{seed}.npz")


def _kept(path: Path, digest: str, nodes: int) -> tuple[NDArray[np.int32], Layout] | None:
    """Read a kept layout: the cells and the layout; None if there is none of this program."""
    if not path.exists():
        return None
    try:
        header, arrays = load_arrays(path, (*ARRAYS, "cell"))
        cell = arrays.pop("cell")
        layout = layout_of_arrays(header, arrays)
    except ContainerError:
        return None
    wanted = parameters_for(nodes)
    if header.get("digest") != digest or cell.size != nodes or layout.parameters != wanted:
        return None
    return cell, layout


def _digest(program: Program) -> str:
    """Digest of all that the vertex graph depends on; weights do not matter."""
    encoder = Encoder(program)
    document = {**encoder.document, "metadata": {}}
    found = hashlib.sha256(json.dumps([_VERSION, document], sort_keys=True).encode())
    found.update(encoder.tables.tobytes())
    found.update(encoder.table_begins.tobytes())
    return found.hexdigest()
