"""A digits network learns in three number formats; steps beside PyTorch's, losses and time.

Three runs of `ipuc train`'s loop on the digits (fixed split, four fifths to learn from): float32;
mixed precision with a loss scale that adjusts itself and stochastic rounding; float16 with
neither. Goals: the first two reach 97 % in under two minutes each.

Then the first 90 losses in float32 beside PyTorch's, from the same weights and batches (goal:
relative 1e-4), and the time of a step beside PyTorch's on one thread, measured in turns (goal:
within 10 times).

Usage: python benchmarks/learning.py [--json FILE] [--curves FILE.png]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from measure import finish
from numpy.typing import NDArray
from onnx import numpy_helper

from ipuc import zoo
from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.learning.data import DataSet, order, read_data
from ipuc.learning.evaluate import Evaluator
from ipuc.learning.train import Course, learn
from ipuc.npz import write_arrays
from ipuc.pipeline import compile_model
from ipuc.program.program import Program
from ipuc.render.curve import Curve, draw_curves
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer

BATCH, EPOCHS, SHUFFLE = 32, 20, 0
OPTIMIZER, RATE, MOMENTUM = "momentum:lr=0.01,momentum=0.9", 0.01, 0.9
#: Name, precision, loss scale (None adjusts itself), seed of stochastic rounding.
RUNS: list[tuple[str, str, float | None, int | None]] = [
    ("float32", "float32", 1.0, None),
    ("mixed, at random", "mixed", None, 0),
    ("float16 alone", "float16", 1.0, None),
]
#: Turns in which steps are timed.
TURNS, STEPS = 5, 20


def compiled(model: Path, precision: str, scale: float | None, seed: int | None) -> Program:
    """One training step."""
    return compile_model(
        model,
        target=parse_target("gc200"),
        precision=precision,
        arithmetic=Arithmetic(seed),
        batch=BATCH,
        training=Training(optimizer=parse_optimizer(OPTIMIZER), loss_scale=scale),
    )


class Torch:
    """The same network and optimizer in PyTorch."""

    def __init__(self, model: Path) -> None:
        import onnx  # noqa: PLC0415

        held = {t.name: numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer}
        self.weights = {
            name: torch.tensor(array, requires_grad=True)
            for name, array in held.items()
            if array.dtype == np.float32
        }
        self.optimizer = torch.optim.SGD(self.weights.values(), lr=RATE, momentum=MOMENTUM)

    def step(self, inputs: dict[str, NDArray[Any]]) -> float:
        """Forward, backward, update."""
        f, w = torch.nn.functional, self.weights
        x = torch.from_numpy(inputs["input"])
        for name in ("conv1", "conv2"):
            x = f.relu(f.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1))
            x = f.max_pool2d(x, 2, 2)
        x = f.relu(f.linear(x.flatten(1), w["fc3.weight"], w["fc3.bias"]))
        x = f.linear(x, w["fc4.weight"], w["fc4.bias"])
        loss = f.cross_entropy(x, torch.from_numpy(inputs["labels"]))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())


def batches(data: DataSet, count: int) -> list[dict[str, NDArray[Any]]]:
    """The first batches of a run."""
    each = data.training // BATCH
    found = []
    for step in range(count):
        epoch, at = divmod(step, each)
        numbers = order(data.training, epoch, SHUFFLE)[at * BATCH : (at + 1) * BATCH]
        found.append(data.batch(numbers))
    return found


def compared(program: Program, model: Path, data: DataSet) -> dict[str, Any]:
    """Losses of 90 steps, and seconds of a step, ours and PyTorch's."""
    torch.set_num_threads(1)
    emulator, theirs = Emulator(program, keep=False), Torch(model)
    off = 0.0
    for inputs in batches(data, 90):
        ours, wanted = float(emulator.run(inputs)["loss"]), theirs.step(inputs)
        off = max(off, abs(ours - wanted) / wanted)
    given = batches(data, STEPS)
    times: dict[str, list[float]] = {"emulator": [], "torch": []}
    for _ in range(TURNS):
        for name, step in (("emulator", emulator.run), ("torch", theirs.step)):
            start = time.perf_counter()
            for inputs in given:
                step(inputs)
            times[name].append((time.perf_counter() - start) / STEPS)
    best = {name: min(seconds) for name, seconds in times.items()}
    return {
        "loss_difference": off,
        "step_seconds": best,
        "ratio": best["emulator"] / best["torch"],
    }


@click.command(help=__doc__)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--curves", type=click.Path(path_type=Path), help="Draw the losses here.")
def main(path: Path | None, curves: Path | None) -> None:
    """Learn, compare, print."""
    from ipuc.cli.data_command import digits  # noqa: PLC0415

    record: dict[str, Any] = {}
    drawn: list[Curve] = []
    with tempfile.TemporaryDirectory() as folder:
        model = zoo.write("digits", Path(folder) / "digits.onnx")
        file = Path(folder) / "digits.npz"
        write_arrays(file, digits())
        for name, precision, scale, seed in RUNS:
            program = compiled(model, precision, scale, seed)
            facts = program.metadata["training"]
            data = read_data(file, program.inputs, facts["classes"], 0.2, 1 << 30)
            options = {"target": program.target, "precision": precision, "max_bytes": 1 << 30}
            evaluate = Evaluator(
                model, frozenset(facts["trained"]), data, "cross-entropy", BATCH, options
            )
            start = time.perf_counter()
            done, _ = learn(program, data, Course(EPOCHS, SHUFFLE), {}, evaluate)
            seconds = time.perf_counter() - start
            accuracy = done.epochs[-1]["accuracy"]
            best = max(one["accuracy"] for one in done.epochs)
            record[name] = {"accuracy": accuracy, "best": best, "seconds": seconds}
            click.echo(f"{name}: {accuracy:.2%} after {EPOCHS} epochs, {seconds:.0f} s")
            steps = np.arange(1, done.steps + 1, dtype=np.float64)
            drawn.append(
                Curve(name, steps, np.asarray(done.losses), f"{accuracy:.1%}", smooth=True)
            )
            if precision == "float32":
                found = record["torch"] = compared(program, model, data)
        click.echo(
            f"largest relative difference of 90 losses from torch's: {found['loss_difference']:.1e}"
        )
        ours, theirs = (found["step_seconds"][name] * 1e3 for name in ("emulator", "torch"))
        click.echo(
            f"a step: {ours:.2f} ms, torch on one thread {theirs:.2f} ms: {found['ratio']:.1f} x"
        )
    if curves is not None:
        about = f"{OPTIMIZER}, batch {BATCH}, {EPOCHS} epochs; accuracy on the validation samples"
        draw_curves(drawn, "Digits: three number formats", [about]).save(curves)
    finish(record, path)


if __name__ == "__main__":
    main()
