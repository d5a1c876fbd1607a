"""`ipuc export`: parts of a program as files for others."""

from __future__ import annotations

from pathlib import Path

import click

from ipuc.cli.options import debug_option, json_option
from ipuc.cli.output import next_step, print_json, say
from ipuc.cli.paths import settle_output
from ipuc.errors import OptionError
from ipuc.graph.export import write_model
from ipuc.importer.limits import readable
from ipuc.pipeline import initial_graph
from ipuc.program.save import load
from ipuc.training.export import as_model

_HELP = """Write the training graph of a program as plain ONNX.

PROGRAM is a .ipu file that `ipuc compile --train` made. Its graph is written as standard ONNX of
operator set 18 or later, with operators of ipuc as functions of the model, so that any engine
runs it: inputs, labels, weights and the optimizer's state go in (weights and state have their
initial contents as defaults); the loss, new weights (new/NAME) and new state come out.

\b
Examples:
  ipuc compile model.onnx --train --optimizer adam
  ipuc export model.ipu --training-graph step.onnx
"""


@click.command("export", help=_HELP)
@click.argument("program", type=click.Path(path_type=Path))
@click.option(
    "--training-graph",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT.onnx",
    help="Write one training step.",
)
@json_option
@debug_option
def command(program: Path, training_graph: Path, as_json: bool) -> None:
    """Read, write, and say what came out."""
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
