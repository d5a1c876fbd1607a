"""Lay out and paint vertex graphs: generated ones, and a program's from its file to the picture.

The generated graph is twelve layers whose vertices share inputs and have weights of their own, so
that its size does not move with the planner. Seconds depend on the machine; every figure is also
given as a multiple of one rfft2 and irfft2 of 4096 x 4096, timed in the same run. At 100,000 nodes
igraph's `layout_drl` lays out the same graph (`pip install -e '.[bench]'`; minutes). A program is
also drawn by the command `ipuc render --preview`.

Usage: python benchmarks/render.py [--nodes N]... [--program P.ipu]... [--json FILE]
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
from measure import finish, in_process, seconds_of

#: Goals: nodes at most, and seconds for layout and picture.
GOALS = ((150_000, 10.0), (1_500_000, 50.0), (20_000_000, 480.0))

#: Goal of a preview, and the size of the graph that igraph lays out too.
PREVIEW_GOAL, DRL_NODES = 15.0, 100_000

_RENDER = """
import json, sys, time
from pathlib import Path
from ipuc.machine import keep_freed_memory
from ipuc.render.paint import paint_whole
from ipuc.render.place import place
from ipuc.render.provenance import save_png
from ipuc.render.scene import load_scene
keep_freed_memory()
scene = load_scene(Path(sys.argv[1]))
start = time.perf_counter()
layout = place(scene, seed=0)
placed = time.perf_counter()
painting = paint_whole(scene, layout, 2048)
save_png(painting.image, Path(sys.argv[2]), {})
done = time.perf_counter()
print(json.dumps({
    "nodes": scene.nodes, "edges": scene.edges, "layout_seconds": placed - start,
    "paint_seconds": done - placed, "drawn_edges": painting.drawn_edges,
}))
"""

_PROGRAM = """
import json, sys, time
from pathlib import Path
start = time.perf_counter()
from ipuc.machine import keep_freed_memory
from ipuc.program.save import load
from ipuc.render.build import scene_of
from ipuc.render.paint import paint_whole
from ipuc.render.place import place
from ipuc.render.provenance import save_png
keep_freed_memory()
scene = scene_of(load(Path(sys.argv[1])))
built = time.perf_counter()
layout = place(scene, seed=0)
placed = time.perf_counter()
painting = paint_whole(scene, layout, 4096)
save_png(painting.image, Path(sys.argv[2]), {})
done = time.perf_counter()
print(json.dumps({
    "nodes": scene.nodes, "edges": scene.edges, "scene_seconds": built - start,
    "layout_seconds": placed - built, "paint_seconds": done - placed,
    "drawn_edges": painting.drawn_edges,
}))
"""

_PREVIEW = """
import contextlib, io, json, sys, time
start = time.perf_counter()
from ipuc.cli import main
told = io.StringIO()
words = ["render", sys.argv[1], "--preview", "--no-cache", "--json", "-o", sys.argv[2]]
with contextlib.redirect_stdout(told):
    main(words, prog_name="ipuc", standalone_mode=False)
facts = json.loads(told.getvalue())
print(json.dumps({
    "nodes": facts["nodes"], "edges": facts["edges"], "sample": facts.get("sample"),
    "preview_seconds": time.perf_counter() - start,
}))
"""

_DRL = """
import json, random, sys, time
from pathlib import Path
import igraph
import numpy as np
from ipuc.render.scene import load_scene
scene = load_scene(Path(sys.argv[1]))
pairs = np.concatenate([np.stack(ends, axis=1) for ends in scene.edge_blocks()])
graph = igraph.Graph(n=scene.nodes, edges=pairs.tolist())
random.seed(0)
start = time.perf_counter()
graph.layout_drl()
print(json.dumps({"drl_seconds": time.perf_counter() - start}))
"""

_SCENE = """
import json, sys
from pathlib import Path
import numpy as np
from ipuc.render.cells import cells_of
from ipuc.render.scene import REGION, VERTEX, LayerInfo, Scene, save_scene
from ipuc.render.touches import touches_of_edges

def layer_of(vertices, shared, own, first):
    # Each vertex reads four of its layer's shared regions and has some regions of its own.
    vertex = first + np.arange(vertices)
    common = first + vertices + np.arange(shared)
    leaves = first + vertices + shared + np.arange(vertices * own)
    picked = (np.arange(vertices)[:, None] * shared // vertices + np.arange(4)) % shared
    left = np.concatenate([np.repeat(vertex, 4), np.repeat(vertex, own)])
    right = np.concatenate([common[picked].reshape(-1), leaves])
    return left, right, vertices + shared + vertices * own

wanted, layers = int(sys.argv[2]), 12
sizes = np.linspace(1, 3, layers)
sizes = (sizes / sizes.sum() * wanted / 7).astype(int)
left, right, layer, kind, first = [], [], [], [], 0
for at, vertices in enumerate(sizes):
    a, b, count = layer_of(vertices, max(vertices // 4, 4), 6, first)
    left.append(a); right.append(b)
    layer.append(np.full(count, at, np.int32))
    kind.append(np.where(np.arange(count) < vertices, VERTEX, REGION).astype(np.uint8))
    first += count
vertex, region = (np.concatenate(one).astype(np.int32) for one in (left, right))
layer, kind = np.concatenate(layer), np.concatenate(kind)
order = np.argsort(kind, kind="stable")
number = np.argsort(order).astype(np.int32)
vertices = int(np.count_nonzero(kind == VERTEX))
kind, layer = kind[order], layer[order]
touches = touches_of_edges(vertices, first - vertices, number[vertex], number[region] - vertices)
names = [f"layer {at}" for at in range(layers)]
save_scene(Scene(
    kind=kind, tile=(np.arange(first) % 1472).astype(np.int32), layer=layer,
    elements=np.ones(first, np.int32), itemsize=np.ones(first, np.uint8),
    activity=np.ones(first, np.float32),
    codelet=np.where(kind == VERTEX, 0, -1).astype(np.int16),
    cell=cells_of(layer[:vertices], touches), touches=touches,
    layers=tuple(LayerInfo(name, name, "forward") for name in names), codelets=("vertex",),
    title="benchmark",
), Path(sys.argv[1]))
print("{}")
"""


def transform_seconds() -> float:
    """Time one rfft2 and one irfft2 of 4096 x 4096 float32."""
    field = np.random.default_rng(0).random((4096, 4096), np.float32)
    shape = field.shape
    return seconds_of(lambda: np.fft.irfft2(np.fft.rfft2(field), shape), 3)


def measure(nodes: int) -> dict[str, Any]:
    """Make a scene, then lay it out and paint it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.npz"
        in_process(_SCENE, scene, nodes)
        found = summed(in_process(_RENDER, scene, Path(folder) / "graph.png"))
        if nodes == DRL_NODES:
            if find_spec("igraph"):
                found["drl_seconds"] = in_process(_DRL, scene)["drl_seconds"]
            else:
                print("igraph is not installed (pip install -e '.[bench]'): no layout_drl")
        return found


def measure_program(program: Path) -> dict[str, Any]:
    """Load a program and paint it at 4096 pixels, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return summed(in_process(_PROGRAM, program, Path(folder) / "graph.png"))


def measure_preview(program: Path) -> dict[str, Any]:
    """Run the command that draws a preview, from its start, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return summed(in_process(_PREVIEW, program, Path(folder) / "graph.png"))


def summed(found: dict[str, Any]) -> dict[str, Any]:
    """Add the sum of all stages, and each as a multiple of the transforms."""
    unit = transform_seconds()
    stages = [name for name in found if name.endswith("_seconds") and name != "wall_seconds"]
    found["seconds"] = sum(found[name] for name in stages)
    multiples = {f"{name[:-8]}_transforms": found[name] / unit for name in stages}
    return {
        **found,
        **multiples,
        "transform_seconds": unit,
        "transforms": found["seconds"] / unit,
    }


def show(found: dict[str, Any]) -> None:
    """Print one graph's figures."""
    print(f"{found['nodes']:,} nodes, {found['edges']:,} edges")
    for stage in ("scene", "layout", "paint", "preview"):
        if f"{stage}_seconds" in found:
            seconds, multiple = found[f"{stage}_seconds"], found[f"{stage}_transforms"]
            print(f"  {stage:<8} {seconds:7.1f} s  {multiple:7.1f} transforms")
    goal = next((limit for nodes, limit in GOALS if found["nodes"] <= nodes), None)
    goal = PREVIEW_GOAL if "preview_seconds" in found else goal
    aim = f"  goal: under {goal:g} s" if goal else ""
    print(f"  {'all':<8} {found['seconds']:7.1f} s  {found['transforms']:7.1f} transforms{aim}")
    if "drl_seconds" in found:
        drl, unit = found["drl_seconds"], found["transform_seconds"]
        times = drl / found["layout_seconds"]
        print(f"  igraph's layout_drl {drl:.1f} s  {drl / unit:.1f} transforms, {times:.1f} x ours")
    if found.get("sample"):
        print("  drawn: a sample of {nodes:,} nodes, {edges:,} edges".format(**found["sample"]))
    print(f"  one rfft2 and irfft2 of 4096 x 4096: {found['transform_seconds']:.2f} s")
    print(f"  peak memory {found['peak_bytes'] / 1e9:.2f} GB")


@click.command(help=__doc__)
@click.option("--nodes", multiple=True, type=int, help="[default: 100000 and 1000000]")
@click.option("--program", "programs", multiple=True, type=click.Path(path_type=Path))
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(nodes: tuple[int, ...], programs: tuple[Path, ...], target: Path | None) -> None:
    """Measure and print."""
    sizes = nodes or (() if programs else (100_000, 1_000_000))
    runs = {f"render {count}": measure(count) for count in sizes}
    runs |= {f"preview {path.stem}": measure_preview(path) for path in programs}
    runs |= {f"render {path.stem}": measure_program(path) for path in programs}
    for found in runs.values():
        show(found)
    finish(runs, target)


if __name__ == "__main__":
    main()
