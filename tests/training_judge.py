"""onnxruntime as judge of training steps, and how near two results are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from ipuc.graph.ir import Graph
from ipuc.importer.load import load
from ipuc.pipeline import compile_model, initial_graph, supported
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training.build import training_graph
from ipuc.training.export import as_model
from ipuc.training.options import Training, parse_optimizer

Array = NDArray[Any]
Arrays = dict[str, Array]


def compiled(
    model: onnx.ModelProto, optimizer: str, loss: str = "cross-entropy", **options: Any
) -> Program:
    """A program of one training step; on four tiles, unless told otherwise."""
    training = Training(loss=loss, optimizer=parse_optimizer(optimizer))
    target = parse_target(options.pop("target", "tiny"))
    return compile_model(model, target=target, training=training, **options)


class Judge:
    """The training graph of a model, exported, in onnxruntime.

    Args:
        graph: of one training step.
        threads: that onnxruntime uses.
    """

    def __init__(self, graph: Graph, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # weights that are inputs are what we want
        options.intra_op_num_threads = threads
        model = as_model(graph)
        onnx.checker.check_model(model, full_check=True)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        self._names = [output.name for output in self._session.get_outputs()]
        self._state = tuple(graph.state)
        self._fed: Arrays = {}

    @classmethod
    def of(cls, program: Program) -> Judge:
        """Of the graph that a program carries."""
        return cls(initial_graph(program))

    @classmethod
    def of_model(
        cls, model: onnx.ModelProto, optimizer: str, loss: str = "cross-entropy", **options: Any
    ) -> Judge:
        """Of a model, without compiling it."""
        graph = load(model, supported=supported, rebatch=True, **options)
        training = Training(loss=loss, optimizer=parse_optimizer(optimizer))
        return cls(training_graph(graph, training).graph)

    def step(self, inputs: Mapping[str, Array]) -> Arrays:
        """One step from where the last one ended.

        Returns:
            What our programs call it: outputs, and new state under the names of the old.
        """
        made = dict(zip(self._names, self._session.run(None, {**inputs, **self._fed}), strict=True))
        self._fed = {name: made.pop(f"new/{name}") for name in self._state}
        return made | self._fed


def same(found: Mapping[str, Array], wanted: Mapping[str, Array], tolerance: float) -> None:
    """Hold every array to be near its counterpart.

    Args:
        found: ours.
        wanted: has all of its names.
        tolerance: of the largest value of each array, or of 1 if that is more.
    """
    for name, array in found.items():
        right = wanted[name]
        assert array.shape == right.shape, name
        scale = max(1.0, float(np.abs(right).max()))
        assert np.abs(array - right).max() <= tolerance * scale, name


def undropped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a dropout ratio of 0: masks of two engines have nothing in common."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    ratio = numpy_helper.from_array(np.array(0, np.float32), "no dropout")
    dropping = [node for node in made.graph.node if node.op_type == "Dropout"]
    if dropping:
        made.graph.initializer.append(ratio)
    for node in dropping:
        node.input[1:] = [ratio.name]
    return made


@dataclass(frozen=True)
class Nearness:
    """How near an array is to another.

    Attributes:
        norm: of the difference, by the norm of the other.
        median: over all elements that are not 0 in both: difference by size.
        cosine: of the angle between them.
    """

    norm: float
    median: float
    cosine: float


def nearness(found: Array, wanted: Array) -> Nearness:
    """Compare two arrays of one shape; all of it in float64."""
    assert found.shape == wanted.shape
    a, b = (one.astype(np.float64).reshape(-1) for one in (found, wanted))
    off, size = np.abs(a - b), np.maximum(np.abs(a), np.abs(b))
    used = size > 0
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return Nearness(
        norm=float(np.linalg.norm(off) / max(np.linalg.norm(b), np.finfo(np.float64).tiny)),
        median=float(np.median(off[used] / size[used])) if used.any() else 0.0,
        cosine=float(a @ b) / lengths if lengths else float(np.array_equal(a, b)),
    )
