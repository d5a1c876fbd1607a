"""`ipuc export`: parts of a program as files for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ipuc.cli.options import debug_option, json_option
from ipuc.cli.output import next_step, print_json, progress, say, shell_word, warn
from ipuc.cli.paths import settle_output
from ipuc.cli.picture_options import max_nodes_option
from ipuc.errors import OptionError
from ipuc.graph.export import write_model
from ipuc.importer.limits import readable
from ipuc.pipeline import initial_graph
from ipuc.program.save import load
from ipuc.render.drawn import DEFAULT_MAX_NODES, scene_and_layout
from ipuc.render.files import write_columns, write_op_graph
from ipuc.training.export import as_model

_HELP = """Write parts of a program for other tools.

PROGRAM is a .ipu file.

\b
  --graph OUT.graphml, OUT.dot   the operators, for networkx, Gephi, yEd or Graphviz
  --graph OUT.npz                every compute vertex, region and edge with its position in the
                                 picture, as columns; docs/pictures.md says what they are
  --training-graph OUT.onnx      one training step (of a program made with `compile --train`) as
                                 standard ONNX of operator set 18 or later, with operators of ipuc
                                 as functions of the model, so that any engine runs it: inputs,
                                 labels, weights and the optimizer's state go in (weights and
                                 state have their initial contents as defaults); the loss, new
                                 weights (new/NAME) and new state come out

\b
Examples:
  ipuc export model.ipu --graph model.graphml
  ipuc compile model.onnx --train --optimizer adam
  ipuc export model.ipu --training-graph step.onnx
"""


@click.command("export", help=_HELP)
@click.argument("program", type=click.Path(path_type=Path))
@click.option(
    "--training-graph",
    type=click.Path(path_type=Path),
    metavar="OUT.onnx",
    help="Write one training step.",
)
@click.option(
    "--graph",
    "graph_file",
    type=click.Path(path_type=Path),
    metavar="OUT.graphml|OUT.dot|OUT.npz",
    help="Write the operators, or all vertices with their positions.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the positions: the same as that of a picture.",
)
@max_nodes_option
@json_option
@debug_option
def command(
    program: Path,
    training_graph: Path | None,
    graph_file: Path | None,
    seed: int,
    max_nodes: int | None,
    as_json: bool,
) -> None:
    """Read, write, and say what came out."""
    if (training_graph is None) == (graph_file is None):
        raise OptionError(
            "nothing says what to write" if graph_file is None else "one file at a time",
            fix="give --graph OUT.graphml, --graph OUT.npz or --training-graph OUT.onnx",
        )
    if graph_file is not None:
        _graph(program, graph_file, seed, max_nodes or DEFAULT_MAX_NODES, as_json)
    elif training_graph is not None:
        _training(program, training_graph, as_json)


def _graph(program: Path, out: Path, seed: int, max_nodes: int, as_json: bool) -> None:
    """Write operators, or vertices and regions."""
    opened = load(program)
    columns = out.suffix.lower() == ".npz"
    path = settle_output(out, f"{program.stem}.graphml", source=program)
    facts: dict[str, Any] = {"program": str(program), "graph": str(path)}
    if columns:
        with progress() as bar:
            scene, layout = scene_and_layout(
                opened, seed=seed, max_nodes=max_nodes, cache=program, progress=bar, warned=warn
            )
        write_columns(scene, layout, path)
        facts |= {"nodes": scene.nodes, "edges": scene.edges, "seed": seed}
        what = f"{scene.nodes:,} vertices and regions, {scene.edges:,} edges"
    else:
        made = write_op_graph(opened, path)
        facts |= {"nodes": made.number_of_nodes(), "edges": made.number_of_edges()}
        what = f"{made.number_of_nodes():,} operators and inputs, {made.number_of_edges():,} edges"
    if as_json:
        print_json(facts)
        return
    say(f"{path} ({readable(path.stat().st_size)}): {what}")
    next_step(f"ipuc render {shell_word(str(program))} --out graph.png")


def _training(program: Path, training_graph: Path, as_json: bool) -> None:
    """Write one training step as ONNX."""
    opened = load(program)
    if not isinstance(opened.metadata.get("training"), dict):
        raise OptionError(
            "this program is for inference and has no training graph",
            where=str(program),
            fix="compile it with --train",
        )
    path = settle_output(training_graph, f"{program.stem}-training.onnx", source=program)
    graph = initial_graph(opened)
    write_model(as_model(graph), path)
    if as_json:
        print_json(
            {
                "program": str(program),
                "training_graph": str(path),
                "opset": graph.opset,
                "nodes": len(graph.nodes),
                "inputs": [*graph.inputs, *graph.state],
                "outputs": list(dict.fromkeys(graph.roots())),
            }
        )
        return
    size = readable(path.stat().st_size)
    say(f"{path} ({size}): {len(graph.nodes)} nodes of operator set {graph.opset}")
    say(f"  in: {', '.join(graph.inputs)}; {len(graph.state)} weights and states with defaults")
    say(f"  out: {', '.join(graph.outputs)}; new/NAME of each weight and state")
    next_step(f"ipuc run {program}")
