"""Seeded weights under which a net's activations stay near one, layer after layer.

A weight w with n inputs is drawn from He's normal distribution, variance 2 / n, which keeps the
second moment of a chain of ReLU layers (He et al. 2015, arXiv 1502.01852, equation 10). Pools,
concatenations and residual sums are outside that theory and would let activations drift, at
worst out of float16's range, so one seeded input is sent through the net, and

- a layer that no batch norm follows is scaled by one factor, the power of two nearest to
  1 / (root mean square of what it is fed);
- a batch norm takes the mean and variance of each channel as it finds them, to eleven bits.

Powers of two and eleven bits, and float64 up to the dense layers, so that the order in which a
machine adds does not show: the same seed makes the same weights whatever the number of threads.

Biases are small but not zero: a missing bias must show.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ipuc.errors import UnsupportedOp
from ipuc.types import Shape
from ipuc.zoo.draft import Array, Draft, Weights, attributes
from ipuc.zoo.forward import OPS

#: Standard deviation of biases, and of batch norm scales around one.
SPREAD = 0.1

#: A channel whose variance is below this part of its layer's mean variance is taken to vary
#: that much; the few pixels of one image must not turn a quiet channel into a loud one.
QUIET = 0.1

#: Nodes that only show a weight in another shape.
_VIEWS = frozenset({"Unsqueeze", "Reshape"})
_WEIGHT_SLOTS = frozenset({("Conv", 1), ("Gemm", 1)})
_BIAS_SLOTS = frozenset({("Conv", 2), ("Gemm", 2), ("BatchNormalization", 2), ("Add", 1)})
_SCALE_SLOTS = frozenset({("BatchNormalization", 1), ("Mul", 1)})


def generator(seed: int, name: str) -> np.random.Generator:
    """Make the random stream of one tensor, which depends on nothing but seed and name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def sample_input(shape: Shape, seed: int, name: str = "input") -> NDArray[np.float32]:
    """Make an input with the long-range correlation of pictures: noise at many scales, summed.

    Args:
        shape: [batch, channels, *space].
        seed: the model's seed.
        name: name of the graph input.

    Returns:
        float32 of mean near 0 and standard deviation 1.
    """
    rng = generator(seed, name)
    total = np.zeros(shape)
    step = 1
    while step <= max(shape[2:]):
        coarse = [-(-n // step) for n in shape[2:]]
        noise = rng.standard_normal((*shape[:2], *coarse))
        for axis, size in enumerate(shape[2:], start=2):
            noise = noise.repeat(step, axis).take(np.arange(size), axis)
        total += noise
        step *= 4
    return np.asarray(total / total.std(), np.float32)


def fill(draft: Draft, seed: int) -> Weights:
    """Draw every weight of a model, each scaled by what reaches its layer.

    Args:
        draft: the model; a symbolic batch is taken as one image.
        seed: chooses the weights.

    Returns:
        The weights by name, float32, in the order of `draft.shapes`.

    Raises:
        UnsupportedOp: a node is none of the operators that this can evaluate, or takes a
            weight in a place where its role is unknown.
    """
    graph = draft.skeleton.graph
    walk = _Walk(draft.shapes, seed, _followed_by_batch_norm(graph))
    for tensor in graph.initializer:
        walk.values[tensor.name] = numpy_helper.to_array(tensor)
    for value in graph.input:
        shape = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
        walk.values[value.name] = sample_input(shape, seed, value.name).astype(np.float64)
    readers = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        walk.step(node)
        for name in node.input:
            readers[name] -= 1
            if not readers[name]:
                walk.values.pop(name, None)
    return {name: walk.weights.pop(name) for name in draft.shapes}


class _Walk:
    """One pass over the nodes, drawing weights as they are met.

    Attributes:
        values: what has been computed and is still to be read.
        weights: weights drawn so far.
    """

    def __init__(self, shapes: Mapping[str, Shape], seed: int, normed: frozenset[str]) -> None:
        self.values: dict[str, Array] = {}
        self.weights: Weights = {}
        self._shapes = shapes
        self._seed = seed
        self._normed = normed
        self._unsettled: set[str] = set()

    def step(self, node: onnx.NodeProto) -> None:
        """Settle the weights that this node reads, then compute its output."""
        attrs = attributes(node)
        derived = attrs.get("auto_pad", b"NOTSET") != b"NOTSET" or attrs.get("ceil_mode", 0)
        if node.op_type not in OPS or derived:
            raise UnsupportedOp(
                f"weights cannot be seeded through this {node.op_type}",
                where=f'{node.op_type} node "{node.name}"',
                fix=f"allowed, with pads given as numbers: {', '.join(sorted(OPS))}",
            )
        for name in node.input:
            if name in self._shapes and name not in self.weights:
                self._draw(name)
        if node.op_type in _VIEWS and node.input[0] in self._unsettled:
            self._unsettled.add(node.output[0])  # its memory is the weight's own
        else:
            for slot, name in enumerate(node.input):
                if name in self._unsettled:
                    self._settle(node, slot, name)
        # Absent optional inputs are last for every operator here, so they can be dropped.
        inputs = [self.values[name] for name in node.input if name]
        self.values[node.output[0]] = OPS[node.op_type](attrs, *inputs)

    def _draw(self, name: str) -> None:
        rng = generator(self._seed, name)
        self.weights[name] = rng.standard_normal(self._shapes[name], np.float32)
        self.values[name] = self.weights[name]
        self._unsettled.add(name)

    def _settle(self, node: onnx.NodeProto, slot: int, name: str) -> None:
        """Turn a standard normal weight, in place, into what its role asks for."""
        weight, x = self.values[name], self.values[node.input[0]]
        role = (node.op_type, slot)
        if role in _WEIGHT_SLOTS:
            inputs = math.prod(weight.shape[1:]) if node.op_type == "Conv" else x.shape[-1]
            weight *= np.float32(math.sqrt(2 / inputs))
            if node.output[0] not in self._normed:
                weight *= np.float32(_gain(x))
        elif role in _BIAS_SLOTS:
            weight *= np.float32(SPREAD)
        elif role in _SCALE_SLOTS:
            weight *= np.float32(SPREAD)
            weight += np.float32(1)
        elif role == ("BatchNormalization", 3):
            weight[:] = _rounded(x.mean((0, *range(2, x.ndim))))
        elif role == ("BatchNormalization", 4):
            variance = x.var((0, *range(2, x.ndim)))
            weight[:] = _rounded(np.maximum(variance, QUIET * variance.mean()))
        else:
            raise UnsupportedOp(
                f'the role of weight "{name}" as input {slot} is unknown',
                where=f'{node.op_type} node "{node.name}"',
                fix="give this tensor as a graph input or an integer",
            )
        self._unsettled.discard(name)


def _gain(x: Array) -> float:
    """Find the power of two nearest to 1 / (root mean square of x)."""
    power = float(np.mean(np.square(x, dtype=np.float64)))
    return 2.0 ** -round(math.log2(power) / 2) if power else 1.0


def _rounded(statistic: Array) -> Array:
    """Keep eleven bits."""
    return statistic.astype(np.float16).astype(np.float32)


def _followed_by_batch_norm(graph: onnx.GraphProto) -> frozenset[str]:
    return frozenset(node.input[0] for node in graph.node if node.op_type == "BatchNormalization")
