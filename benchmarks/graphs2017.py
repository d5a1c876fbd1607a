"""The vertex graphs of 2017, counted layer by layer, beside other people's figures.

Published: Graphcore's blog of 2017 ("What does machine learning look like?"): AlexNet training
18.7 million nodes and 115.8 million edges, ResNet-50 inference 3.22 and 6.21 million. *Counter*:
a program independent of this one, which counts by the rules of PopLibs' public history of winter
2016/17; its plans and its figures by layer and vertex type. Nothing here is fitted to either.

Goals: AlexNet training within 3 % of the published figures, ResNet-50 inference within 10 %.
Compiling AlexNet at `worker` takes under 90 s and 6 GB, counting and enumerating under 90 s more.

Usage: python benchmarks/graphs2017.py [MODEL...] [--detail] [--enumerate] [--json FILE]
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from measure import finish, peak_bytes

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.planner.precision import parse_precision
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Execute, Sequence
from ipuc.target import parse_target
from ipuc.training.options import Training

#: (model, training?) -> millions of nodes and edges as published, and by the counter.
FIGURES: dict[tuple[str, bool], dict[str, tuple[float, float]]] = {
    ("alexnet2017", True): {"published": (18.7, 115.8), "counter": (18.80, 115.2)},
    ("resnet50_2017", False): {"published": (3.22, 6.21), "counter": (3.30, 6.40)},
    ("alexnet2017", False): {"counter": (1.20, 28.8)},
    ("resnet18_2017", False): {"counter": (1.55, 3.64)},
    ("resnet18_2017", True): {"counter": (4.36, 10.9)},
    ("resnet34_2017", False): {"counter": (1.84, 3.88)},
    ("resnet34_2017", True): {"counter": (5.05, 11.6)},
    ("resnet50_2017", True): {"counter": (8.56, 18.1)},
    ("astro", False): {"counter": (0.24, 0.46)},
    ("astro", True): {"counter": (1.22, 2.7)},
    ("vgg11_2017", False): {},
    ("vgg11_2017", True): {},
}

#: The counter's detail of AlexNet training: layer pass -> cumulative millions of nodes and edges.
DETAIL: dict[tuple[str, str], tuple[float, float]] = {
    ("conv1", "forward"): (0.135, 1.00),
    ("conv1", "weight update"): (0.610, 2.38),
    ("conv2", "forward"): (0.766, 2.91),
    ("conv2", "backward"): (1.032, 3.66),
    ("conv2", "weight update"): (1.182, 4.48),
    ("conv3", "forward"): (1.331, 4.88),
    ("conv3", "backward"): (1.504, 5.26),
    ("conv3", "weight update"): (1.648, 5.73),
    ("conv4", "forward"): (1.792, 6.19),
    ("conv4", "backward"): (1.941, 6.60),
    ("conv4", "weight update"): (2.083, 7.04),
    ("conv5", "forward"): (2.199, 7.32),
    ("conv5", "weight update"): (2.362, 7.81),
}

#: The counter's vertex types of AlexNet training: thousands of vertices, millions of edges.
TYPES: dict[str, tuple[float, float]] = {
    "FullyConnectedPartial": (251.9, 38.16),
    "FullyConnectedWeightUpdate": (251.9, 38.16),
    "FullyConnectedBwd": (182.1, 30.07),
    "ConvPartialnx1": (9.2, 2.24),
    "ConvWeightGradAop": (29.0, 1.83),
    "ConvReduce": (111.7, 1.52),
    "Zero": (91.9, 0.92),
    "FullyConnectedBwdReduce": (17.4, 0.74),
    "FullyConnectedReduce": (9.2, 0.27),
    "MaxPoolingBwd": (32.3, 0.26),
    "ConvComplete": (30.9, 0.20),
    "ConvWeightUpdate": (33.1, 0.19),
    "NonLinearityFwd": (39.9, 0.15),
    "NonLinearityBwd": (40.4, 0.14),
    "MaxPooling": (8.4, 0.13),
    "ConvBiasReduce2": (36.2, 0.11),
    "ConvBiasReduce1": (5.3, 0.09),
    "Cast": (7.3, 0.04),
    "ConvBiasUpdate": (1.2, 0.04),
    "FullyConnectedBiasUpdate": (9.2, 0.02),
    "CalcLoss": (0.001, 0.002),
}

#: Ours -> the counter's name of the same vertex.
SAME = {
    "ConvPartialnx1InOut": "ConvPartialnx1",
    "ConvPartial1x1OutRows": "ConvPartial1x1Out",
    "MaxPoolingPlaces": "MaxPooling",
    "ReduceAdd": "ConvReduce",
}

#: Layers whose vertices are added where a convolution's last line stands: the counter's total has
#: them, and does not say at which line.
BESIDE = {
    "conv1": {"relu1", "pool1"},
    "conv2": {"relu2", "pool2"},
    "conv3": {"relu3"},
    "conv4": {"relu4"},
    "conv5": {"relu5", "pool5"},
}


def compiled(name: str, folder: Path, *, train: bool) -> tuple[Program, float]:
    """Compile a model with the options of the preset 2017; also the seconds that took."""
    path = zoo.write(name, folder / f"{name}.onnx")
    start = time.perf_counter()
    program = compile_model(
        path,
        target=parse_target("gc2"),
        precision=parse_precision("mixed"),
        granularity="worker",
        outline=True,
        training=Training() if train else None,
    )
    return program, time.perf_counter() - start


def only(program: Program, layers: set[tuple[str, str]]) -> Program:
    """A program of those families that some of these (layer, pass) pairs run first."""
    about = {layer.name: (layer.layer, layer.layer_pass) for layer in program.layers}
    kept = [
        family
        for family in program.families()
        if family.origins and about.get(family.origins[0].layer) in layers
    ]
    return replace(
        program, main=Sequence((Execute(ComputeSet("kept", tuple(kept))),)), functions={}
    )


def detail(program: Program) -> list[dict[str, Any]]:
    """Cumulative nodes and edges, in millions, after each pass of each convolution."""
    order = list(dict.fromkeys((layer.layer, layer.layer_pass) for layer in program.layers))
    rows: list[dict[str, Any]] = []
    taken: set[tuple[str, str]] = set()
    for (layer, layer_pass), (nodes, edges) in DETAIL.items():
        if (layer, layer_pass) not in order:
            continue
        taken.add((layer, layer_pass))
        if layer_pass == "weight update":
            taken |= {pair for pair in order if pair[0] in BESIDE[layer]}
        graph = VertexGraph(only(program, taken))
        rows.append(
            {
                "layer": layer,
                "pass": layer_pass,
                "nodes": graph.nodes / 1e6,
                "edges": graph.edges() / 1e6,
                "counter_nodes": nodes,
                "counter_edges": edges,
            }
        )
    return rows


def types(graph: VertexGraph) -> list[dict[str, Any]]:
    """Vertices (thousands) and distinct edges (millions) by vertex type."""
    vertices: Counter[str] = Counter()
    edges: Counter[str] = Counter()
    for block in graph.blocks():
        name = SAME.get(block.codelet.name, block.codelet.name)
        vertices[name] += len(block.tile)
        edges[name] += len(block.regions)
    names = sorted(
        {*vertices, *TYPES}, key=lambda name: -max(edges[name], TYPES.get(name, (0, 0))[1] * 1e6)
    )
    return [
        {
            "type": name,
            "vertices": vertices[name] / 1e3,
            "edges": edges[name] / 1e6,
            "counter_vertices": TYPES.get(name, (None, None))[0],
            "counter_edges": TYPES.get(name, (None, None))[1],
        }
        for name in names
    ]


def _line(name: str, train: bool, row: dict[str, Any]) -> None:
    word = "training" if train else "inference"
    parts = [f"{name:14} {word:9} {row['nodes']:7.3f} M nodes {row['edges']:8.3f} M edges"]
    parts += [
        f"{who}: nodes {row[who]['nodes_off']:+.1%}, edges {row[who]['edges_off']:+.1%}"
        for who in ("published", "counter")
        if who in row
    ]
    click.echo("; ".join(parts))


@click.command(help=__doc__)
@click.argument("models", nargs=-1)
@click.option("--detail", "wants_detail", is_flag=True, help="AlexNet by layer and vertex type.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(models: tuple[str, ...], wants_detail: bool, path: Path | None) -> None:
    """Compile, count, print."""
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for (name, train), figures in FIGURES.items():
            if models and name not in models:
                continue
            program, seconds = compiled(name, Path(folder), train=train)
            start = time.perf_counter()
            graph = VertexGraph(program)
            edges = graph.edges()
            row: dict[str, Any] = {
                "nodes": graph.nodes / 1e6,
                "edges": edges / 1e6,
                "compile_seconds": seconds,
                "peak_bytes": peak_bytes(),
            }
            for who, (wanted_nodes, wanted_edges) in figures.items():
                row[who] = {
                    "nodes_off": row["nodes"] / wanted_nodes - 1,
                    "edges_off": row["edges"] / wanted_edges - 1,
                }
            if name == "alexnet2017" and train:
                row["types"] = types(graph)
                row["count_and_enumerate_seconds"] = time.perf_counter() - start
            _line(name, train, row)
            click.echo(
                f"    compiled in {seconds:.1f} s, peak {row['peak_bytes'] / 1e9:.2f} GB"
                + (
                    f"; counted and enumerated in {row['count_and_enumerate_seconds']:.1f} s"
                    if "types" in row
                    else ""
                )
            )
            if wants_detail and "types" in row:
                row["detail"] = detail(program)
                for one in row["detail"]:
                    click.echo(
                        f"    {one['layer']:6} {one['pass']:13} {one['nodes']:7.3f} / "
                        f"{one['counter_nodes']:6.3f} M nodes, {one['edges']:6.2f} / "
                        f"{one['counter_edges']:5.2f} M edges, cumulative"
                    )
                for one in row["types"]:
                    known = one["counter_vertices"]
                    beside = (
                        f"counter {known:7.1f} k, {one['counter_edges']:6.2f} M" if known else ""
                    )
                    click.echo(
                        f"    {one['type']:28} {one['vertices']:8.1f} k vertices "
                        f"{one['edges']:7.3f} M edges  {beside}"
                    )
            record[f"{name} {'training' if train else 'inference'}"] = row
            del program, graph
    finish(record, path)


if __name__ == "__main__":
    main()
