"""Planning of ResNet-50 and the profile of AlexNet at granularity `worker`, beside their peers.

Planning (load, graph passes, plans and lowering, at mixed precision) starts in a process of its
own, so nothing is known from before. Its peer is what onnxruntime does with the same file until it
has a result: a session and a first run. The profile has as its peer NumPy's sort of as many
numbers as the program has source intervals, which is what counting the exchange comes down to.

Usage: python benchmarks/planning.py [--json FILE]
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
from measure import finish, in_process

from ipuc import zoo

#: Goals: seconds of planning, seconds and bytes of the profile.
PLAN_SECONDS, PROFILE_SECONDS, PROFILE_BYTES = 30.0, 60.0, 4e9

_PLAN = """
import json, sys, time
from pathlib import Path
from ipuc.pipeline import compile_model
from ipuc.target import parse_target
start = time.perf_counter()
program = compile_model(Path(sys.argv[1]), target=parse_target("gc200"), precision="mixed")
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "stages": program.metadata["seconds"]}))
"""

_SESSION = """
import json, sys, time
import numpy as np
import onnxruntime
start = time.perf_counter()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {one.name: np.zeros(one.shape, np.float32) for one in session.get_inputs()
         if one.type == "tensor(float)"}
session.run(None, feeds)
print(json.dumps({"seconds": time.perf_counter() - start}))
"""

_PROFILE = """
import json, sys, time
import numpy as np
from pathlib import Path
from ipuc.pipeline import compile_model
from ipuc.profile.record import profile
from ipuc.program.count import count_program
from ipuc.target import parse_target
target = parse_target("gc200")
program = compile_model(Path(sys.argv[1]), target=target, granularity="worker")
start = time.perf_counter()
found = profile(program)
seconds = time.perf_counter() - start
counts = count_program(program)
numbers = np.random.default_rng(0).integers(0, 1 << 40, counts.messages)
start = time.perf_counter()
numbers.sort()
sort = time.perf_counter() - start
print(json.dumps({
    "seconds": seconds, "sort_seconds": sort, "vertices": counts.vertices,
    "messages": counts.messages, "cycles": found.cycles["total"],
}))
"""


def within(value: float, goal: float) -> str:
    """Whether a goal is met, in words."""
    return "met" if value < goal else "MISSED"


def plan(folder: Path) -> dict[str, Any]:
    """Plan ResNet-50, cold."""
    model = zoo.write("light_resnet50", folder / "resnet50.onnx")
    peer, made = in_process(_SESSION, model), in_process(_PLAN, model)
    seconds = made["seconds"]
    stages = ", ".join(f"{stage} {value:.2f}" for stage, value in made["stages"].items())
    print(f"planning ResNet-50, mixed, gc200, cold: {seconds:.1f} s ({stages})")
    print(f"  goal: under {PLAN_SECONDS:g} s, {within(seconds, PLAN_SECONDS)}")
    print(f"  onnxruntime, session and first run: {peer['seconds']:.2f} s")
    print(f"  ratio {seconds / peer['seconds']:.1f}; peak memory {made['peak_bytes'] / 1e6:.0f} MB")
    return {**made, "onnxruntime_seconds": peer["seconds"]}


def profile(folder: Path) -> dict[str, Any]:
    """Profile AlexNet at the finest granularity that it is used at."""
    made = in_process(_PROFILE, zoo.write("alexnet", folder / "alexnet.onnx"))
    seconds, sort, peak = made["seconds"], made["sort_seconds"], made["peak_bytes"]
    print(f"profile of AlexNet, float32, gc200, granularity worker: {seconds:.1f} s")
    print(f"  {made['vertices']:,} vertices, {made['messages']:,} source intervals")
    print(f"  goal: under {PROFILE_SECONDS:g} s, {within(seconds, PROFILE_SECONDS)}")
    print(f"  numpy sort of {made['messages']:,} numbers: {sort:.3f} s; ratio {seconds / sort:.1f}")
    print(f"  peak memory with the compile before it: {peak / 1e6:.0f} MB")
    print(f"  goal: under {PROFILE_BYTES / 1e9:g} GB, {within(peak, PROFILE_BYTES)}")
    return made


@click.command(help=__doc__)
@click.option("--json", "target", type=click.Path(path_type=Path))
def main(target: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        results = {"plan": plan(Path(folder)), "profile": profile(Path(folder))}
    finish({"planning": results}, target)


if __name__ == "__main__":
    main()
