"""`ipuc train`: a model learns on the emulated chip."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from ipuc.cli.arguments import compile_arguments
from ipuc.cli.learning_text import Display, print_report, report
from ipuc.cli.modelled import noted_memory, warn_if_too_large
from ipuc.cli.options import CompileOptions, compile_options, debug_option, json_option, out_option
from ipuc.cli.output import next_step, note, print_json, progress, say, shell_word
from ipuc.cli.paths import settle_output
from ipuc.cli.presets import settle_preset
from ipuc.cli.source import compile_from, is_program
from ipuc.errors import OptionError
from ipuc.files import whole
from ipuc.graph.export import write_model
from ipuc.graph.record import from_json
from ipuc.importer.weights import with_weights
from ipuc.learning.checkpoint import Progress
from ipuc.learning.data import DataSet, read_data
from ipuc.learning.evaluate import Evaluator
from ipuc.learning.train import Course, Stopped, Watch, batch_of, learn
from ipuc.program.program import Program
from ipuc.render.curve import Curve, draw_curves
from ipuc.version import __version__

#: Samples of a batch, if nothing else is said.
BATCH = 32

_HELP = """Train a model on the emulated chip.

MODEL is an .onnx file. --data is a .npz file with an array for every input of the model, by its
name, and `labels`; `ipuc data digits` writes one to begin with. The last part of the samples
(--validation) is only looked at, after every epoch. The result is an ordinary .onnx file.

\b
Examples:
  ipuc train digits.onnx --data digits.npz
  ipuc train digits.onnx --data digits.npz --epochs 20 --optimizer adam:lr=0.003 --curve curve.png
  ipuc train digits.onnx --data digits.npz --precision mixed --loss-scale auto --stochastic-rounding 0
  ipuc train digits.onnx --data digits.npz --checkpoint saved --every 50
  ipuc train digits.onnx --data digits.npz --checkpoint saved --every 50 --resume

With --checkpoint a run that was stopped, by Ctrl-C or killed, goes on with --resume, to the
same bits. The same command that began it is needed, with more --epochs if you like.
"""  # noqa: E501  # a command line is not broken


@click.command("train", help=_HELP)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="FILE.npz", help="Samples."
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Times through."
)
@click.option(
    "--shuffle",
    default="0",
    show_default=True,
    metavar="SEED|none",
    help="Order of the samples in every epoch, or as they stand in the file.",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the samples, from the end of the file, that is only looked at.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write checkpoints into this folder; the newest two are kept.",
)  # fmt: skip
@click.option(
    "--every", type=click.IntRange(min=1), default=100, show_default=True,
    help="Steps between checkpoints.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of --checkpoint.")
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), metavar="FILE",
    help="Write step, epoch, loss and learning rate.",
)  # fmt: skip
@click.option(
    "--curve", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw the losses."
)
@out_option("The trained model.  [default: MODEL-trained.onnx in the current folder]")
@compile_options
@json_option
@debug_option
def command(
    model: Path,
    data: Path,
    epochs: int,
    shuffle: str,
    validation: float,
    checkpoint: Path | None,
    every: int,
    resume: bool,
    table: Path | None,
    curve: Path | None,
    out: Path | None,
    options: CompileOptions,
    as_json: bool,
) -> None:
    """Compile, learn, write."""
    if is_program(model):
        raise OptionError("this is a compiled program", where=str(model), fix="give the .onnx file")
    if not data.is_file():
        raise OptionError(
            "there is no such file", where=str(data), fix="ipuc data digits writes one"
        )
    if resume and checkpoint is None:
        raise OptionError("--resume needs --checkpoint DIR", fix="say where the checkpoints are")
    path = settle_output(out, f"{model.stem}-trained.onnx", source=model)
    csv_path = table and settle_output(table, f"{model.stem}.csv", source=model)
    curve_path = curve and settle_output(curve, f"{model.stem}-curve.png", source=model)
    options = _settled(options, model)
    course = Course(epochs, _seed(shuffle), checkpoint, every, resume, options.max_bytes)
    with progress() as bar:
        program = compile_from(model, options, bar)
    warn_if_too_large(noted_memory(program))
    facts: dict[str, Any] = program.metadata["training"]
    samples = read_data(data, program.inputs, facts["classes"], validation, options.max_bytes)
    batch = batch_of(program)
    rest = samples.training % batch
    if rest:
        note(
            f"the last batch of an epoch is left out: it has {rest} of {batch} samples "
            f"({samples.training:,} in all)"
        )
    weights = frozenset(facts["trained"]) | _statistics(program)
    evaluate = None
    if samples.validation:
        evaluate = Evaluator(model, weights, samples, facts["loss"], batch, _inference(options))
    display = Display(quiet=as_json, epochs=epochs, each=samples.training // batch)
    run = _run_facts(program, samples, course, batch)
    try:
        with display:
            watch = Watch(display.begun, display.step, display.epoch, _passed)
            done, seconds = learn(program, samples, course, run, evaluate, watch)
    except Stopped as stopped:
        saved = stopped.saved
        note(
            f"stopped after step {stopped.progress.steps:,}; "
            + (
                f"saved: {saved}; go on with --resume"
                if saved
                else "nothing saved: no --checkpoint"
            )
        )
        _write_curves(csv_path, curve_path, stopped.progress, program, samples, model)
        raise KeyboardInterrupt from stopped
    kept = {name: done.state[name] for name in weights if name in done.state}
    trained = with_weights(model, kept, _metadata(samples, done), options.max_bytes)
    write_model(trained, path)  # first: it is what the time was spent for
    _write_curves(csv_path, curve_path, done, program, samples, model)
    found = report(program, done, seconds, display.steps_here, samples.training // batch)
    if as_json:
        print_json({"model": str(model), "trained": str(path), **found})
        return
    print_report(found)
    say(f"trained model: {path}")
    for written in (csv_path, curve_path):
        if written is not None:
            say(f"written: {written}")
    next_step(f"ipuc run {shell_word(str(path))}")


def _settled(options: CompileOptions, model: Path) -> CompileOptions:
    """The options of one training step."""
    options = settle_preset(options, model)
    training = replace(options.training, train=True)
    if options.training.optimizer.partition(":")[0] == "none":
        raise OptionError(
            "with optimizer none nothing is learnt", where="--optimizer", fix="use sgd or adam"
        )
    return replace(options, training=training, batch=options.batch or BATCH)


def _inference(options: CompileOptions) -> dict[str, Any]:
    """How the program that evaluates is compiled."""
    arguments = compile_arguments(options)
    kept = ("target", "granularity", "precision", "arithmetic", "constants", "max_bytes")
    return {name: arguments[name] for name in kept}


def _seed(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise OptionError(f'"{text}" is no seed', where="--shuffle", fix="write 0 or none")
    return int(text)


def _statistics(program: Program) -> frozenset[str]:
    """Running means and variances: state that is neither trained nor the optimizer's."""
    graph = from_json(program.graph_text)
    read = {
        name
        for node in graph.nodes
        if node.op == "BatchNormalization" and not node.domain
        for name in node.inputs[3:5]
    }
    return frozenset(read & program.state.keys())


def _run_facts(program: Program, samples: DataSet, course: Course, batch: int) -> dict[str, Any]:
    """What makes a run what it is; a checkpoint of another one is refused."""
    known, facts = program.metadata, program.metadata["training"]
    return {
        "ipuc": __version__,
        "model": known["sha256"],
        "data": samples.digest,
        "training samples": samples.training,
        "batch": batch,
        "shuffle": course.shuffle,
        "loss": facts["loss"],
        "optimizer": facts["optimizer"],
        "loss scale": facts["loss_scale"],
        "trained": facts["trained"],
        "precision": known["precision"],
        "stochastic rounding": known["stochastic_rounding"],
        "saturate": known["saturate"],
        "target": known["target"],
        "granularity": known["granularity"],
    }


def _passed(damaged: Path) -> None:
    note(f"{damaged} is damaged: going on from the one before")


def _metadata(samples: DataSet, done: Progress) -> dict[str, str]:
    """What the trained model says of itself."""
    made = {
        "ipuc.weights": f"trained with ipuc {__version__} for {done.steps} steps",
        "ipuc.labels": "",
    }
    if samples.classes:
        made["ipuc.classes"] = json.dumps(samples.classes)
    return made


def _write_curves(
    table: Path | None,
    picture: Path | None,
    done: Progress,
    program: Program,
    samples: DataSet,
    model: Path,
) -> None:
    """Write what the run has seen so far."""
    facts = program.metadata["training"]
    each = samples.training // batch_of(program)
    if table is not None:
        text = io.StringIO(newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["step", "epoch", "loss", "lr"])
        rate = _rate(str(facts["optimizer"]))
        rows.writerows(
            [step + 1, step // each + 1, repr(loss), rate] for step, loss in enumerate(done.losses)
        )
        with whole(table, "the table of losses") as stream:
            stream.write(text.getvalue().encode())
    if picture is not None:
        steps = np.arange(1, len(done.losses) + 1, dtype=np.float64)
        curves = [Curve("training", steps, np.asarray(done.losses), smooth=True)]
        if done.epochs:
            last = done.epochs[-1]
            figure = f"{last['accuracy']:.1%}" if "accuracy" in last else f"{last['loss']:.4g}"
            at = each * np.arange(1, len(done.epochs) + 1, dtype=np.float64)
            losses = np.array([one["loss"] for one in done.epochs])
            curves.append(Curve("validation", at, losses, figure))
        about = (
            f"{facts['optimizer']}, loss {facts['loss']}, {program.metadata['precision']}, "
            f"batch {batch_of(program)}, {len(done.losses):,} steps"
        )
        with whole(picture, "the curve") as stream:
            draw_curves(curves, f"{model.stem}: learning", [about]).save(stream, "PNG")


def _rate(optimizer: str) -> str:
    numbers = dict(part.partition("=")[::2] for part in optimizer.partition(":")[2].split(","))
    return numbers.get("lr", "")
