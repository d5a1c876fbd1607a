"""Write a feed-forward net down layer by layer, as a paper's table does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ipuc.types import Shape
from ipuc.zoo.draft import IR_VERSION, OPSET, Draft

Attribute = int | float | Sequence[int]

#: Name of the dimension that stands for any number of images.
BATCH = "batch"


class Net:
    """A net in the making; every method adds one layer and returns its output's name.

    A layer's node, output and weights carry the layer's name: node "conv1" makes the value
    "conv1" from the initializers "conv1.weight" and "conv1.bias".

    Attributes:
        shapes: shape of every value so far, without the batch dimension.
    """

    def __init__(self, name: str, shape: Shape, batch: int | None) -> None:
        """Begin a net.

        Args:
            name: the graph's name.
            shape: channels and spatial sizes of the data input, which is called "input".
            batch: number of images, or None to leave it open as the dimension "batch".
        """
        self.name = name
        self.batch: int | str = BATCH if batch is None else batch
        self.shapes: dict[str, Shape] = {"input": shape}
        self._weights: dict[str, Shape] = {}
        self._constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def conv(
        self,
        name: str,
        x: str,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        bias: bool = True,
    ) -> str:
        """Convolve with a kernel of equal sides over all spatial axes."""
        rank = len(self.shapes[x]) - 1
        weights = [self._weight(f"{name}.weight", (channels, self.shapes[x][0], *[kernel] * rank))]
        if bias:
            weights.append(self._weight(f"{name}.bias", (channels,)))
        window = _window(rank, kernel, stride, pad)
        shape = (channels, *self._slide(x, kernel, stride, pad))
        return self._add("Conv", name, [x, *weights], shape, **window)

    def max_pool(self, name: str, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Take the largest value of every window; a window never starts in the last padding."""
        window = _window(len(self.shapes[x]) - 1, kernel, stride, pad)
        shape = (self.shapes[x][0], *self._slide(x, kernel, stride, pad))
        return self._add("MaxPool", name, [x], shape, **window)

    def batch_norm(self, name: str, x: str) -> str:
        """Normalise every channel by running statistics, then scale and shift it."""
        channels = (self.shapes[x][0],)
        parts = ("weight", "bias", "running_mean", "running_var")
        weights = [self._weight(f"{name}.{part}", channels) for part in parts]
        return self._add("BatchNormalization", name, [x, *weights], self.shapes[x])

    def dense(self, name: str, x: str, outputs: int) -> str:
        """Multiply by a weight matrix of [outputs, inputs] and add a bias."""
        (inputs,) = self.shapes[x]
        weights = [
            self._weight(f"{name}.weight", (outputs, inputs)),
            self._weight(f"{name}.bias", (outputs,)),
        ]
        return self._add("Gemm", name, [x, *weights], (outputs,), transB=1)

    def relu(self, name: str, x: str) -> str:
        """Cut off what is below zero."""
        return self._add("Relu", name, [x], self.shapes[x])

    def softmax(self, name: str, x: str) -> str:
        """Turn the last axis into probabilities."""
        return self._add("Softmax", name, [x], self.shapes[x], axis=-1)

    def add(self, name: str, x: str, y: str) -> str:
        """Add two values of one shape."""
        return self._add("Add", name, [x, y], self.shapes[x])

    def dropout(self, name: str, x: str) -> str:
        """Mark where training drops values; the identity at inference, as PyTorch exports it."""
        return self._add("Dropout", name, [x], self.shapes[x])

    def flatten(self, name: str, x: str) -> str:
        """Lay out all of an image's values in one row."""
        return self._add("Flatten", name, [x], (math.prod(self.shapes[x]),), axis=1)

    def global_average_pool(self, name: str, x: str) -> str:
        """Average every channel over all its pixels."""
        channels, *space = self.shapes[x]
        return self._add("GlobalAveragePool", name, [x], (channels, *[1] * len(space)))

    def subsample(self, name: str, x: str, step: int) -> str:
        """Keep every step-th pixel along each spatial axis, beginning with the first."""
        channels, *space = self.shapes[x]
        axes = range(2, 2 + len(space))
        controls = [
            self._constant(f"{name}.starts", [0] * len(space)),
            self._constant(f"{name}.ends", space),
            self._constant(f"{name}.axes", axes),
            self._constant(f"{name}.steps", [step] * len(space)),
        ]
        shape = (channels, *(-(-n // step) for n in space))
        return self._add("Slice", name, [x, *controls], shape)

    def pad_channels(self, name: str, x: str, channels: int) -> str:
        """Append channels of zeros until there are as many as asked for."""
        have, *space = self.shapes[x]
        ends = [0, channels - have, *[0] * len(space)]
        pads = self._constant(f"{name}.pads", [0] * len(ends) + ends)
        return self._add("Pad", name, [x, pads], (channels, *space))

    def finish(self, y: str, *, source: str, image: str = "") -> Draft:
        """Close the net; its last value becomes the output "output".

        Args:
            y: name of the value made by the last layer.
            source: where the architecture is published.
            image: how a picture becomes the input; empty if the input is no picture.

        Returns:
            The model without weights.
        """
        self._nodes[-1].output[0] = "output"
        graph = helper.make_graph(
            self._nodes,
            self.name,
            [self._value("input", self.shapes["input"])],
            [self._value("output", self.shapes[y])],
            self._constants,
        )
        skeleton = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="ipuc",
        )
        draft = Draft(skeleton, self._weights)
        draft.set_metadata("ipuc.source", source)
        if image:
            draft.set_metadata("ipuc.image", image)
        return draft

    def _add(self, op: str, name: str, inputs: list[str], shape: Shape, **attrs: Attribute) -> str:
        node = helper.make_node(op, inputs, [name], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attrs.items())
        self._nodes.append(node)
        self.shapes[name] = shape
        return name

    def _weight(self, name: str, shape: Shape) -> str:
        self._weights[name] = shape
        return name

    def _constant(self, name: str, values: Sequence[int]) -> str:
        self._constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _value(self, name: str, shape: Shape) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch, *shape])

    def _slide(self, x: str, kernel: int, stride: int, pad: int) -> Shape:
        """Count the whole windows along each spatial axis."""
        return tuple((n + 2 * pad - kernel) // stride + 1 for n in self.shapes[x][1:])


def _window(rank: int, kernel: int, stride: int, pad: int) -> dict[str, Attribute]:
    """Write a window of equal sides as ONNX attributes."""
    return {
        "kernel_shape": [kernel] * rank,
        "strides": [stride] * rank,
        "pads": [pad] * (2 * rank),
    }
