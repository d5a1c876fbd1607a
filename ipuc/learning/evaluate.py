"""How good weights are: loss and accuracy over the validation samples, on the emulator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.emulator.run import Emulator
from ipuc.graph.record import from_json
from ipuc.importer.weights import with_open_weights
from ipuc.learning.data import DataSet
from ipuc.pipeline import compile_model
from ipuc.training.loss import LABELS, over_classes
from ipuc.training.options import CROSS_ENTROPY

Array = NDArray[Any]


class Evaluator:
    """An inference program that takes the weights as inputs, so that it is compiled once.

    Args:
        model: the ONNX file.
        weights: names of the weights that change.
        data: the samples; those after `data.training` are looked at.
        loss: "cross-entropy", "mse", or the name of an output that is the loss.
        batch: samples in a run.
        options: what `compile_model` takes: target, granularity, precision, arithmetic.
    """

    def __init__(
        self,
        model: str | Path,
        weights: frozenset[str],
        data: DataSet,
        loss: str,
        batch: int,
        options: Mapping[str, Any],
    ) -> None:
        self._data, self._loss, self._batch = data, loss, batch
        self._names = weights
        inputs = {name: array for name, array in data.arrays.items() if name != LABELS}
        shapes = {name: (batch, *array.shape[1:]) for name, array in inputs.items()}
        opened = with_open_weights(model, weights, shapes, options["max_bytes"])
        program = compile_model(opened, **options)
        self._inputs = [name for name in program.inputs if name not in weights]
        self._emulator = Emulator(program, keep=False)
        self._output = loss if loss in program.outputs else next(iter(program.outputs))
        graph = from_json(program.graph_text)
        last = graph.producer(self._output)
        self._last = last.op if last is not None and over_classes(last, graph) else ""

    def __call__(self, state: Mapping[str, Array]) -> dict[str, float]:
        """Look at all validation samples.

        Args:
            state: of the training program; the weights are among it.

        Returns:
            "loss", the mean over the samples, and "accuracy" from 0 to 1 where labels are classes.
        """
        data, batch = self._data, self._batch
        weights = {n: a for n, a in state.items() if n in self._emulator.program.inputs}
        total, right = 0.0, 0
        labels = data.arrays.get(LABELS, np.empty(0))
        for begin in range(data.training, data.samples, batch):
            count = min(batch, data.samples - begin)
            # The last run is filled up with its last sample, which does not count again.
            numbers = np.minimum(begin + np.arange(batch), data.samples - 1)
            given = data.batch(numbers)
            inputs = {name: given[name] for name in self._inputs}
            made = self._emulator.run(inputs | weights)[self._output]
            total += self._sum(made, given.get(LABELS, labels), count)
            if self._loss == CROSS_ENTROPY:
                found = made[:count].argmax(axis=1) == given[LABELS][:count]
                right += int(found.sum())
        looked = data.validation * math.prod(labels.shape[1:])
        result = {
            "loss": total / max(looked if self._loss == CROSS_ENTROPY else data.validation, 1)
        }
        if self._loss == CROSS_ENTROPY:
            result["accuracy"] = right / max(looked, 1)
        return result

    def _sum(self, made: Array, labels: Array, count: int) -> float:
        """The loss of the first samples of a batch, summed, in float64."""
        values = made.astype(np.float64)
        if self._loss == CROSS_ENTROPY:
            scores = values[:count]
            if self._last == "Softmax":
                with np.errstate(divide="ignore"):
                    scores = np.log(scores)
            elif not self._last:
                scores = scores - scores.max(axis=1, keepdims=True)
                scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
            picked = np.take_along_axis(scores, labels[:count, None], axis=1)
            return float(-picked.sum())
        if self._loss == "mse":
            off = values[:count] - labels[:count]
            return float((off * off).reshape(count, -1).mean(axis=1).sum())
        return float(values.reshape(-1)[0]) * count
