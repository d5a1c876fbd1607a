"""What inference would take on the chip, beside onnxruntime's measured time on this machine.

AlexNet, ResNet-34 and ResNet-50, batch 1, mixed precision, on GC2 and GC200, and on 1, 2 and 4
IPUs of each: cycles, time and memory are modelled; onnxruntime runs the same file in float32 with
two threads, and is measured. Prints Markdown.

With --train, one training step instead (gradient descent on cross-entropy), on one IPU: all of it
is modelled, and no other engine is timed.

Usage: python benchmarks/chips.py [MODEL...] [--train] [--json FILE]
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from measure import finish, seconds_of

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.record import Profile, profile
from ipuc.target import parse_target
from ipuc.training.options import Training

TARGETS = ("gc2", "gc200")
IPUS = (1, 2, 4)
MODELS = {"alexnet": "AlexNet", "resnet34": "ResNet-34", "light_resnet50": "ResNet-50"}


@dataclass(frozen=True)
class Run:
    """One model on one machine, as the profile has it."""

    model: str
    target: str
    ipus: int
    cycles: int
    seconds: float
    tflops: float
    tile_bytes: int
    limit_bytes: int
    total_bytes: int
    fits: bool
    tiles_used: int
    tiles: int
    error: str


def modelled(
    model: str, path: Path, target: str, ipus: int, training: Training | None = None
) -> Run:
    """Compile and profile."""
    program = compile_model(
        path, target=parse_target(target), precision="mixed", ipus=ipus, training=training
    )
    found = profile(program)
    summary, memory = found.summary(), found.memory_summary()
    return Run(
        model,
        target,
        ipus,
        summary["cycles"]["total"],
        summary["seconds"],
        summary["tflops"],
        memory["max_tile_bytes"],
        memory["limit_bytes"],
        memory["total_bytes"],
        memory["fits"],
        used(found),
        summary["tile_count"],
        summary["error"]["text"],
    )


def training_steps(names: tuple[str, ...]) -> list[Run]:
    """One training step of every model on every chip."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = zoo.write(name, Path(folder) / f"{name}.onnx")
            runs += [modelled(name, path, chip, 1, Training()) for chip in TARGETS]
    return runs


def used(found: Profile) -> int:
    """Tiles on which a vertex runs."""
    tiles = [family.tile.dense().reshape(-1) for family in found.program.families()]
    return len(np.unique(np.concatenate(tiles)))


def measured(path: Path) -> float:
    """Seconds that onnxruntime takes for an image: the least of ten runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    kinds = {one.name: one.shape for one in session.get_inputs() if one.type == "tensor(float)"}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in kinds.items()}
    return seconds_of(lambda: session.run(None, feeds), 10)


def rows(runs: list[Run], cpu: dict[str, float]) -> list[list[str]]:
    """One row for each model and chip; the last cell only where another engine was timed."""
    return [
        [
            MODELS.get(run.model, run.model),
            run.target,
            f"{run.cycles:,}",
            f"{1e6 * run.seconds:,.0f} us",
            f"{run.tflops:.1f}",
            f"{run.tile_bytes:,} of {run.limit_bytes:,}",
            f"{run.total_bytes / 1e6:,.0f} MB",
            "yes" if run.fits else "no",
            f"{run.tiles_used:,} of {run.tiles:,}",
            *([f"{1e6 * cpu[run.model]:,.0f} us"] if cpu else []),
        ]
        for run in runs
        if run.ipus == 1
    ]


_HEAD = [
    "model",
    "chip",
    "cycles (modelled)",
    "time (modelled)",
    "TFLOP/s (modelled)",
    "fullest tile, bytes (modelled)",
    "all tiles (modelled)",
    "fits",
    "tiles used",
    "onnxruntime, 2 threads of a CPU, float32 (measured)",
]


def several(runs: list[Run]) -> list[list[str]]:
    """One row for each model and chip, with 1, 2 and 4 of it."""
    made = []
    for model, target in dict.fromkeys((run.model, run.target) for run in runs):
        mine = {run.ipus: run for run in runs if (run.model, run.target) == (model, target)}
        cells = [
            f"{1e6 * run.seconds:,.0f} us, {run.tile_bytes / run.limit_bytes:.0%}"
            f"{'' if run.fits else ' (does not fit)'}"
            for run in (mine[ipus] for ipus in IPUS)
        ]
        made.append([MODELS.get(model, model), target, *cells])
    return made


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--train", is_flag=True, help="One training step, modelled.")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], train: bool, target: Path | None) -> None:
    """Model, measure, print."""
    if train:
        steps = training_steps(names or tuple(MODELS))
        print(markdown(_HEAD[:-1], rows(steps, {})))
        finish({"training_steps": [vars(step) for step in steps]}, target)
        return
    runs: list[Run] = []
    cpu: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or tuple(MODELS):
            path = zoo.write(name, Path(folder) / f"{name}.onnx")
            cpu[name] = measured(path)
            runs += [modelled(name, path, chip, ipus) for chip in TARGETS for ipus in IPUS]
    print(markdown(_HEAD, rows(runs, cpu)))
    print("\nTime and the fullest tile's share of its memory, modelled, on several IPUs")
    print("(layers run one after another; each IPU holds some of them):\n")
    print(markdown(["model", "chip", *(f"{n} IPU{'s' * (n > 1)}" for n in IPUS)], several(runs)))
    print("\nError of the modelled cycles:\n")
    for run in runs:
        if run.ipus == 1:
            print(f"- {MODELS.get(run.model, run.model)}, {run.target}: {run.error}")
    found: dict[str, Any] = {
        "modelled": [vars(run) for run in runs],
        "onnxruntime_seconds": cpu,
    }
    finish({"chips": found}, target)


if __name__ == "__main__":
    main()
