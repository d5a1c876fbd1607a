"""Batch-1 inference and compilation, beside onnxruntime and onnx.reference in the same run.

Emulation is timed without loading: the program is in memory and `run(program, inputs)` is
called. onnxruntime has two threads and its default optimisations; onnx.reference is NumPy.
Compilation (load, plan, lower, save) and a whole run (load, emulate) are each measured in a
process of their own, with that process's peak memory.

Usage: python benchmarks/inference.py [MODEL...] [--json FILE]
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from measure import finish, in_process, seconds_of
from onnx.reference import ReferenceEvaluator

from ipuc import zoo
from ipuc.emulator.run import Emulator, run
from ipuc.pipeline import random_inputs
from ipuc.program.save import load

#: Goals of the first release: emulation against onnxruntime, seconds of a compilation.
RATIO, COMPILE_SECONDS = 10.0, {"alexnet": 15.0, "resnet34": 20.0}

_COMPILE = """
import json, sys, time
from pathlib import Path
from ipuc.pipeline import compile_model
from ipuc.program.save import save
from ipuc.target import parse_target
start = time.perf_counter()
program = compile_model(Path(sys.argv[1]), target=parse_target("gc200"))
compiled = time.perf_counter()
save(program, sys.argv[2])
saved = time.perf_counter()
stages = {**program.metadata["seconds"], "save": saved - compiled}
print(json.dumps({"seconds": saved - start, "stages": stages}))
"""

_RUN = """
import json, sys, time
from ipuc.pipeline import random_inputs, run_program
from ipuc.program.save import load
start = time.perf_counter()
program = load(sys.argv[1])
loaded = time.perf_counter()
run_program(program, random_inputs(program, 0))
print(json.dumps({"load_seconds": loaded - start, "run_seconds": time.perf_counter() - loaded}))
"""


#: onnxruntime's threads spin for a moment after a run; what is timed next waits for that to end.
SETTLE_SECONDS = 0.5


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Measure one built-in model."""
    model, program_path = folder / f"{name}.onnx", folder / f"{name}.ipu"
    zoo.write(name, model)
    weights = sum(one.ByteSize() for one in onnx.load(model).graph.initializer)
    compiled = in_process(_COMPILE, model, program_path)
    ran = in_process(_RUN, program_path)

    program = load(program_path)
    inputs = random_inputs(program, 0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    reference = ReferenceEvaluator(str(model))
    # One that is made before has worked out what lies together; the goals are for a new one.
    emulator = Emulator(program, keep=False)
    (found,), (wanted,) = emulator.run(inputs).values(), session.run(None, inputs)
    difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    engines: dict[str, tuple[Callable[[], Any], int]] = {
        "emulator_seconds": (lambda: run(program, inputs), 5),
        "again_seconds": (lambda: emulator.run(inputs), 5),
        "onnxruntime_seconds": (lambda: session.run(None, inputs), 10),
        "onnx_reference_seconds": (lambda: reference.run(None, inputs), 2),
    }
    seconds = dict.fromkeys(engines, math.inf)
    # Twice around, so that a busy minute of the machine does not fall on one engine alone.
    for _ in range(2):
        for key, (action, times) in engines.items():
            time.sleep(SETTLE_SECONDS)
            seconds[key] = min(seconds[key], seconds_of(action, times))
    emulated = seconds["emulator_seconds"]
    return {
        "weights_bytes": weights,
        "difference": difference,
        **seconds,
        "times_onnxruntime": emulated / seconds["onnxruntime_seconds"],
        "times_onnx_reference": emulated / seconds["onnx_reference_seconds"],
        "compile": compiled,
        "run": ran,
    }


def report(name: str, found: dict[str, Any]) -> None:
    """Print one model's numbers beside the goals."""
    print(f"{name}, batch 1, {found['weights_bytes'] / 1e6:.1f} MB of weights")
    for title, key in (
        ("emulator", "emulator_seconds"),
        ("emulator, made before", "again_seconds"),
        ("onnxruntime, 2 threads", "onnxruntime_seconds"),
        ("onnx.reference", "onnx_reference_seconds"),
    ):
        print(f"  {title:<24}{1e3 * found[key]:10.1f} ms")
    print(
        f"  emulator / onnxruntime    {found['times_onnxruntime']:8.2f}     goal: under {RATIO:g}"
    )
    print(f"  emulator / onnx.reference {found['times_onnx_reference']:8.2f}     goal: under 1")
    print(f"  largest difference        {found['difference']:8.1e} of the largest value")
    compiled, limit = found["compile"], 5 * found["weights_bytes"] + 500e6
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in compiled["stages"].items())
    within = COMPILE_SECONDS.get(name)
    told = f"  goal: under {within:g}" if within else ""
    print(f"  compile {compiled['seconds']:.2f} s ({stages}){told}")
    for title in ("compile", "run"):
        peak = found[title]["peak_bytes"]
        print(f"  peak memory of {title:<8} {peak / 1e6:8.0f} MB  goal: under {limit / 1e6:.0f} MB")


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], target: Path | None) -> None:
    """Measure and print."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or ("alexnet", "resnet34"):
            results[name] = measure(name, Path(folder))
            report(name, results[name])
    finish({"inference": results}, target)


if __name__ == "__main__":
    main()
