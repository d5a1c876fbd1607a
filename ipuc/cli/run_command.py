"""`ipuc run`: a program on the emulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ipuc.cli.arrays import describe_array, read_inputs, summary, top_classes
from ipuc.cli.class_names import class_lines
from ipuc.cli.modelled import refuse_if_too_large
from ipuc.cli.options import (
    CompileOptions,
    compile_options,
    debug_option,
    json_option,
    out_option,
)
from ipuc.cli.output import (
    next_step,
    note,
    print_json,
    progress,
    say,
    shell_word,
    timed,
    warn,
)
from ipuc.cli.paths import settle_output
from ipuc.cli.source import open_program
from ipuc.cli.training_text import (
    is_training,
    not_finite,
    not_finite_text,
    print_step,
    skipped,
)
from ipuc.npz import write_arrays
from ipuc.pipeline import run_program
from ipuc.program.program import Program

#: Layers that are named when values overflow.
_LAYERS = 4

_HELP = """Run a program on the emulator.

PROGRAM is a .ipu file, or a model (.onnx) that is compiled first. Without it the newest .ipu of
the current folder is run. Without --input every input is random:0.

\b
Examples:
  ipuc run
  ipuc run alexnet.ipu --input photo.jpg
  ipuc run model.ipu --input tokens=tokens.npy --input mask=random:7 -o out.npz
  ipuc run model.onnx --batch 1 --input arrays.npz
  ipuc run models/digits --input models/seven.png

\b
--input takes
  FILE.npz          arrays by input name
  NAME=FILE         .npy, .npz, .pb (an ONNX tensor) or an image
  NAME=random:SEED  normal floats, small integers; the same for the same seed
  FILE, random:SEED where the name is clear
Images are resized, cropped and normalised as ImageNet models expect.

A program of --train takes one step from its initial weights: inputs and `labels` go in, the loss
and every changed weight come out. If the loss is no finite number, a warning names the layer and
the pass that lost it; outputs are written and the exit code is 0, as the chip would do the same.
"""


@click.command("run", help=_HELP)
@click.argument("program", required=False, type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]WHAT", help="See above.")
@out_option("Write all outputs into this .npz, by name.")
@click.option("--allow-oom", is_flag=True, help="Run a program that does not fit the chip, too.")
@compile_options
@json_option
@debug_option
def command(
    program: Path | None,
    inputs: tuple[str, ...],
    out: Path | None,
    allow_oom: bool,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Read the inputs, run, print and save the outputs."""
    target = None if out is None else settle_output(out, "outputs.npz", source=program)
    with progress() as bar:
        opened = open_program(program, options, bar, warns=False)
    refuse_if_too_large(opened.program, allowed=allow_oom)
    given = read_inputs(opened.program, inputs, options.max_bytes)
    if not inputs and given.arrays:
        names = ", ".join(given.arrays)
        note(f"no --input: random:0 for {names}")
    with timed() as seconds:
        overflows: dict[str, int] = {}
        outputs = run_program(opened.program, given.arrays, overflows=overflows)
    if target is not None:
        write_arrays(target, outputs)
    lost = not_finite(opened.program, given.arrays, outputs)
    if as_json:
        print_json(
            {
                "program": str(opened.path),
                "model": opened.program.metadata.get("model"),
                "precision": opened.program.metadata.get("precision"),
                "seconds": seconds[0],
                "inputs": {
                    name: {
                        "dtype": array.dtype.name,
                        "shape": list(array.shape),
                        "source": given.sources[name],
                    }
                    for name, array in given.arrays.items()
                },
                "outputs": {
                    name: {
                        "dtype": array.dtype.name,
                        "shape": list(array.shape),
                        **summary(array),
                        "top": [] if is_training(opened.program) else _classes(array),
                    }
                    for name, array in outputs.items()
                },
                "overflows": overflows,
                "not_finite": lost,
                "remark": _remark(opened.program) or None,
                "out": None if target is None else str(target),
            }
        )
        return
    _print_outputs(opened.program, outputs)
    if target is not None:
        say(f"outputs written: {target}")
    # A loss scale that looks for its size lets gradients overflow.
    if overflows and not skipped(opened.program, outputs):
        warn(overflow_text(overflows, saturate=bool(opened.program.metadata.get("saturate"))))
    if lost is not None:
        warn(not_finite_text(lost, saved=target is not None))
    note(f"emulated in {seconds[0]:.2f} s on this machine")
    word = shell_word(str(opened.path))
    if target is None:
        next_step(f"ipuc verify {word}   or   ipuc render {word} --out graph.png")
    else:
        next_step(f"ipuc verify {word}")


def _print_outputs(program: Program, outputs: Mapping[str, Any]) -> None:
    if is_training(program):
        print_step(program, outputs)
        return
    for name, array in outputs.items():
        for line in class_lines(program, array) or describe_array(name, array):
            say(line)
    remark = _remark(program)
    if remark and any(top_classes(array) for array in outputs.values()):
        say(f"  {remark}")


def overflow_text(overflows: Mapping[str, int], *, saturate: bool) -> str:
    """Say in which layers how many values were too large for float16."""
    most = sorted(overflows.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{layer} {count:,}" for layer, count in most[:_LAYERS])
    more = len(most) - _LAYERS
    rest = f" and {more} more layers" if more > 0 else ""
    became = "were held at 65504" if saturate else "became infinite"
    return (
        f"{sum(overflows.values()):,} values were too large for float16 and {became}: "
        f"{listed}{rest}; keep those layers in float32: --precision mixed,LAYER=float32"
    )


def _classes(array: Any) -> list[list[list[float]]]:
    return [[list(pair) for pair in row] for row in top_classes(array)]


def _remark(program: Program) -> str:
    """What the model says about its class numbers."""
    return str(program.metadata.get("model_metadata", {}).get("ipuc.labels", ""))
