"""The vertex graph of AlexNet at `worker` granularity: what it takes to hold and to enumerate.

Goals of the first release: the program in under 300 MB beyond its weights, and over 5 million
edges enumerated a second.

Usage: python benchmarks/enumerate.py [--model NAME] [--json FILE]
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
from measure import finish, in_process

from ipuc import zoo

_ENUMERATE = """
import gc, json, resource, sys, time
from pathlib import Path
import ipuc.pipeline
from measure import peak_bytes
from ipuc.program.enumerate import VertexGraph
from ipuc.program.save import load

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()

before = resident()
program = load(sys.argv[1])
gc.collect()
weights = sum(array.nbytes for array in program.constants.values())
held = resident() - before - weights
start = time.perf_counter()
graph = VertexGraph(program)
cut = time.perf_counter()
counted = graph.edges()
told = time.perf_counter()
vertices = edges = blocks = checksum = 0
for block in graph.blocks():
    blocks += 1
    vertices += len(block.tile)
    edges += len(block.regions)
    checksum ^= int(block.regions.sum())
done = time.perf_counter()
assert (vertices, edges) == (graph.vertices, counted)
peak = peak_bytes()
print(json.dumps({
    "weights_bytes": weights, "held_bytes": held, "beyond_weights_peak_bytes": peak - weights,
    "vertices": vertices, "regions": graph.regions, "edges": edges, "blocks": blocks,
    "cut_seconds": cut - start, "count_seconds": told - cut, "enumerate_seconds": done - told,
    "edges_per_second": edges / (done - told),
}))
"""

_COMPILE = """
import json, sys
from pathlib import Path
from ipuc.pipeline import compile_model
from ipuc.program.save import save
from ipuc.target import parse_target
save(compile_model(Path(sys.argv[1]), target=parse_target("gc200"), granularity="worker"),
     sys.argv[2])
print("{}")
"""


def measure(name: str) -> dict[str, Any]:
    """Compile a built-in model at worker granularity and walk over its vertex graph."""
    with tempfile.TemporaryDirectory() as folder:
        model, program = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}.ipu"
        zoo.write(name, model)
        in_process(_COMPILE, model, program)
        return in_process(_ENUMERATE, program)


@click.command(help=__doc__)
@click.option("--model", "name", default="alexnet", show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(name: str, target: Path | None) -> None:
    """Measure and print."""
    found = measure(name)
    print(f"{name}, granularity worker, gc200")
    print(
        f"  {found['vertices'] + found['regions']:,} nodes ({found['vertices']:,} vertices + "
        f"{found['regions']:,} regions), {found['edges']:,} edges in {found['blocks']} blocks"
    )
    print(f"  program held beyond weights  {found['held_bytes'] / 1e6:8.1f} MB  goal: under 300 MB")
    print(
        f"  peak beyond weights, with all of the below "
        f"{found['beyond_weights_peak_bytes'] / 1e6:.0f} MB"
    )
    print(
        f"  regions cut in {found['cut_seconds']:.2f} s, edges counted in "
        f"{found['count_seconds']:.2f} s, enumerated in {found['enumerate_seconds']:.2f} s"
    )
    rate = found["edges_per_second"] / 1e6
    print(f"  {rate:.1f} million edges a second  goal: over 5")
    finish({"enumerate": {name: found}}, target)


if __name__ == "__main__":
    main()
