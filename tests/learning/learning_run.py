"""A small training run as a process of its own, so that it can be killed.

Usage: python learning_run.py FOLDER OUT.npz [--slow]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.lib import format as npy
from onnx import TensorProto, helper, numpy_helper

from ipuc.learning.checkpoint import Progress
from ipuc.learning.data import DataSet, read_data
from ipuc.learning.train import Course, Watch, learn
from ipuc.npz import write_arrays
from ipuc.pipeline import compile_model
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer

BATCH, CLASSES, INS = 8, 3, 5


def small_model() -> onnx.ModelProto:
    """Two layers with dropout between them."""
    draw = np.random.default_rng(5)
    shapes = {"w1": (7, INS), "b1": (7,), "w2": (CLASSES, 7), "b2": (CLASSES,)}
    weights = {name: draw.normal(size=shape) / 2 for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], "first", transB=1),
        helper.make_node("Relu", ["h"], ["a"], "relu"),
        helper.make_node("Dropout", ["a"], ["d"], "dropout"),
        helper.make_node("Gemm", ["d", "w2", "b2"], ["y"], "second", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)


def samples() -> dict[str, np.ndarray[Any, Any]]:
    """Points about three centres."""
    draw = np.random.default_rng(6)
    labels = draw.integers(0, CLASSES, 70)
    centres = draw.normal(size=(CLASSES, INS)) * 2
    return {
        "x": (centres[labels] + draw.normal(size=(70, INS))).astype(np.float32),
        "labels": labels,
    }


def small_program(**options: Any) -> Program:
    """One step of Adam in halves, rounded at random."""
    training = Training(optimizer=parse_optimizer(options.pop("optimizer", "adam:lr=0.01")))
    target = parse_target("tiny")
    return compile_model(small_model(), target=target, training=training, batch=BATCH, **options)


def small_data(folder: Path, program: Program) -> DataSet:
    """The samples, by way of a file."""
    path = folder / "data.npz"
    write_arrays(path, samples())
    return read_data(path, program.inputs, CLASSES, 0.2, 1 << 30)


def _slowly() -> None:
    """Writing an array takes a while, so that a kill can come in between."""
    plain = npy.write_array

    def write(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.01)
        plain(*args, **kwargs)

    npy.write_array = write


def _tell(done: Progress, steps: int) -> None:
    sys.stdout.write(f"begun at {done.steps} of {steps}\n")
    sys.stdout.flush()


def main(folder: Path, out: Path, *, slow: bool) -> None:
    """Train with a checkpoint after every third step, resumed if there is one."""
    if slow:
        _slowly()
    program = small_program(precision="mixed")
    program.metadata["stochastic_rounding"] = 3
    folder.mkdir(exist_ok=True)
    data = small_data(out.parent, program)
    course = Course(epochs=12, shuffle=1, checkpoints=folder, every=3, resume=True)
    watch = Watch(begun=_tell)
    done, _ = learn(program, data, course, {"name": "small"}, None, watch)
    write_arrays(out, {**done.state, "losses": np.asarray(done.losses)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), slow="--slow" in sys.argv)
