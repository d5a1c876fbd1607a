"""A training step of AlexNet beside torch in the same run: seconds, memory, loss and gradients.

Float32, stochastic gradient descent, cross-entropy, 224x224; the file's dropout has ratio 0, since
masks of two engines have nothing in common. torch has one thread; the emulator uses all cores.
A step is timed without loading, with the weights where the step before left them. Compilation
and a first step are each measured in a process of their own, with that process's peak memory.

Gradients are what a step with a rate of 1024 takes off the weights: a power of two, so that the
rate itself rounds nothing, and so large that little is rounded off with the weights.

Needs torch (`make bench` installs it).

Usage: python benchmarks/training.py [--case GRANULARITY:BATCH]... [--json FILE]
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from measure import ROOT, finish, in_process, seconds_of
from onnx import numpy_helper

from ipuc import zoo
from ipuc.emulator.run import Emulator
from ipuc.pipeline import compile_model, random_inputs
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer

sys.path.append(str(ROOT / "tests"))

#: Granularity and batch.
CASES = ("tile:1", "tile:16", "worker:1")
#: Goals: times torch's seconds, by granularity.
RATIO = {"tile": 5.0, "worker": 25.0}
#: Goals of a compilation at `worker`.
COMPILE_SECONDS, COMPILE_BYTES = 90.0, 6e9
#: Of the loss; both add the same float32 numbers in another order.
LOSS_TOLERANCE = 1e-4
#: Of gradients: median over elements of the difference by the size, and 1 - the least cosine. A
#: ReLU or a largest element that falls on the other side in float32 changes all that lies before
#: it. So where torch in float32 is farther than this from torch in float64, we may be as far.
MEDIAN_TOLERANCE, COSINE_TOLERANCE = 1e-4, 1e-4
#: Learning rates: of the steps that are timed, and of the one that shows the gradients.
TIMED, SHOWN = 1e-3, 1024.0
TIMES = 5

_COMPILE = "import json, sys, training; print(json.dumps(training.compiled(*sys.argv[1:])))"
_STEP = "import json, sys, training; print(json.dumps(training.first_step(*sys.argv[1:])))"
_COMPARE = "import json, sys, training; print(json.dumps(training.compared(*sys.argv[1:])))"


def without_dropout(path: Path) -> None:
    """Write AlexNet with a dropout ratio of 0."""
    model = zoo.build("alexnet", batch=None)
    ratio = numpy_helper.from_array(np.array(0, np.float32), "no dropout")
    model.graph.initializer.append(ratio)
    for node in model.graph.node:
        if node.op_type == "Dropout":
            node.input[1:] = [ratio.name]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def step_program(model: str, granularity: str, batch: str, rate: float) -> Program:
    """Compile one training step."""
    return compile_model(
        Path(model),
        target=parse_target("gc200"),
        granularity="worker" if granularity == "worker" else "tile",
        batch=int(batch),
        training=Training(optimizer=parse_optimizer(f"sgd:lr={rate}")),
    )


def compiled(model: str, granularity: str, batch: str, out: str) -> dict[str, Any]:
    """Compile and save; seconds of both."""
    start = time.perf_counter()
    program = step_program(model, granularity, batch, TIMED)
    made = time.perf_counter()
    save(program, out)
    return {
        "seconds": made - start,
        "save_seconds": time.perf_counter() - made,
        "stages": program.metadata["seconds"],
    }


def first_step(path: str) -> dict[str, Any]:
    """Load a program and take two steps; the first works out what lies together."""
    start = time.perf_counter()
    program = load(path)
    marks = [time.perf_counter()]
    inputs, emulator = random_inputs(program, 0), Emulator(program, keep=False)
    for _ in range(2):
        emulator.run(inputs)
        marks.append(time.perf_counter())
    return {
        "load_seconds": marks[0] - start,
        "first_seconds": marks[1] - marks[0],
        "second_seconds": marks[2] - marks[1],
    }


def compared(model: str, granularity: str, batch: str, path: str) -> dict[str, Any]:
    """Take steps by the emulator and by torch."""
    import torch  # noqa: PLC0415  # not every process of this benchmark needs it
    from torch_step import TorchModel  # noqa: PLC0415

    torch.set_num_threads(1)
    source, program = onnx.load(model), load(path)
    inputs = random_inputs(program, 0)
    found = _gradients(source, step_program(model, granularity, batch, SHOWN), inputs)
    emulator = Emulator(program, keep=False)
    judge = TorchModel(source, list(program.state), optimizer="sgd", numbers={"lr": TIMED})
    engines: dict[str, Callable[[], Any]] = {
        "emulator_seconds": lambda: emulator.run(inputs),
        "torch_seconds": lambda: judge.advance(inputs),
    }
    seconds = dict.fromkeys(engines, math.inf)
    # Twice around, so that a busy minute of the machine does not fall on one engine alone.
    for _ in range(2):
        for key, action in engines.items():
            seconds[key] = min(seconds[key], seconds_of(action, TIMES))
    return {**found, **seconds}


def _gradients(source: onnx.ModelProto, program: Program, inputs: Any) -> dict[str, Any]:
    """Loss and gradients of one step by the emulator, by torch, and by torch in float64."""
    from torch_step import TorchModel  # noqa: PLC0415
    from training_judge import nearness  # noqa: PLC0415

    before = {one.name: numpy_helper.to_array(one) for one in source.graph.initializer}
    names = list(program.state)
    torchs = TorchModel(source, names).step(inputs)
    exact = TorchModel(source, names, exact=True).step(inputs)
    emulator = Emulator(program, keep=False)
    loss = float(emulator.run(inputs)["loss"])
    medians, cosines, right = [], [], True
    for name, new in emulator.state().items():
        gradient = (before[name] - new) / np.float32(SHOWN)
        near = nearness(gradient, torchs.gradients[name])
        ours = nearness(gradient, exact.gradients[name])
        theirs = nearness(torchs.gradients[name], exact.gradients[name])
        medians.append((near.median, ours.median, theirs.median))
        cosines.append((1 - near.cosine, 1 - ours.cosine, 1 - theirs.cosine))
        right &= near.median <= MEDIAN_TOLERANCE or ours.median <= theirs.median
        right &= near.cosine >= 1 - COSINE_TOLERANCE or ours.cosine >= theirs.cosine
    off = abs(loss - torchs.loss) / abs(torchs.loss)
    keys = ("from_torch", "from_float64", "torch_from_float64")
    return {
        "weights": len(medians),
        "loss": loss,
        "loss_difference": off,
        "medians": dict(zip(keys, map(max, zip(*medians, strict=True)), strict=True)),
        "cosines": dict(zip(keys, map(max, zip(*cosines, strict=True)), strict=True)),
        "right": bool(right and off <= LOSS_TOLERANCE),
    }


def measure(case: str, folder: Path) -> dict[str, Any]:
    """Measure one granularity and batch."""
    model = folder / "alexnet.onnx"
    if not model.exists():
        without_dropout(model)
    granularity, batch = case.split(":")
    path = folder / f"{granularity}-{batch}.ipu"
    made = in_process(_COMPILE, model, granularity, batch, path)
    first = in_process(_STEP, path)
    found = in_process(_COMPARE, model, granularity, batch, path)
    path.unlink()
    ratio = found["emulator_seconds"] / found["torch_seconds"]
    return {**found, "times_torch": ratio, "compile": made, "run": first}


def report(case: str, found: dict[str, Any]) -> None:
    """Print one case beside the goals."""
    granularity, batch = case.split(":")
    print(f"alexnet, one training step, granularity {granularity}, batch {batch}")
    print(f"  emulator                  {1e3 * found['emulator_seconds']:10.1f} ms")
    print(f"  torch, 1 thread           {1e3 * found['torch_seconds']:10.1f} ms")
    goal = RATIO[granularity]
    print(f"  emulator / torch          {found['times_torch']:10.2f}     goal: under {goal:g}")
    print(
        f"  loss {found['loss']:.6f}, {found['loss_difference']:.1e} from torch's; "
        f"gradients of {found['weights']} weights: {'right' if found['right'] else 'WRONG'}"
    )
    for title, key in (("median difference", "medians"), ("1 - least cosine", "cosines")):
        far = found[key]
        print(
            f"  {title:<18} from torch {far['from_torch']:.1e}, from float64 "
            f"{far['from_float64']:.1e}; torch from float64 {far['torch_from_float64']:.1e}"
        )
    made, first = found["compile"], found["run"]
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in made["stages"].items())
    told = f"  goal: under {COMPILE_SECONDS:g}" if granularity == "worker" else ""
    print(f"  compile {made['seconds']:.1f} s ({stages}), save {made['save_seconds']:.1f} s{told}")
    told = f"  goal: under {COMPILE_BYTES / 1e6:.0f} MB" if granularity == "worker" else ""
    print(f"  peak memory of compile    {made['peak_bytes'] / 1e6:10.0f} MB{told}")
    print(
        f"  peak memory of two steps  {first['peak_bytes'] / 1e6:10.0f} MB  "
        f"(load {first['load_seconds']:.2f} s, steps {first['first_seconds']:.2f} s and "
        f"{first['second_seconds']:.2f} s)"
    )


@click.command(help=__doc__)
@click.option("--case", "cases", multiple=True, help=f"of {', '.join(CASES)}; all by default")
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(cases: tuple[str, ...], target: Path | None) -> None:
    """Measure and print; a step that is wrong ends with exit code 1."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases or CASES:
            results[case] = measure(case, Path(folder))
            report(case, results[case])
    finish({"training": results}, target)
    sys.exit(not all(one["right"] for one in results.values()))


if __name__ == "__main__":
    main()
