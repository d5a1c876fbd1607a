"""A model whose weights are still to come: nodes, types, and the shape of every weight."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ipuc.types import Shape

Array = NDArray[Any]
Weights = dict[str, NDArray[np.float32]]

#: Newest file format and operator set that engines of several years read without complaint.
IR_VERSION = 8
OPSET = 17

#: The inputs of BatchNormalization that are statistics, not trained parameters.
_STATISTICS = (3, 4)


@dataclass(slots=True)
class Draft:
    """An ONNX model that lacks only its weights.

    Weights are kept out of the protobuf message because the largest models hold 0.6 GB of
    them, and every message that passes them on is one more copy.

    Attributes:
        skeleton: the model; its initializers are integers only (shapes, slices, pads).
        shapes: shape of every float32 weight, in the order in which nodes read them.
    """

    skeleton: onnx.ModelProto
    shapes: dict[str, Shape] = field(default_factory=dict)

    def parameters(self) -> int:
        """Count the trained numbers; running means and variances are not among them."""
        statistics = {
            node.input[slot]
            for node in self.skeleton.graph.node
            if node.op_type == "BatchNormalization"
            for slot in _STATISTICS
        }
        return sum(math.prod(s) for name, s in self.shapes.items() if name not in statistics)

    def weight_bytes(self) -> int:
        """Count the bytes of all weights in float32."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())

    def set_metadata(self, key: str, value: str) -> None:
        """Add or replace one entry of the model's metadata_props."""
        for entry in self.skeleton.metadata_props:
            if entry.key == key:
                entry.value = value
                return
        self.skeleton.metadata_props.add(key=key, value=value)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Read a node's attributes as Python values (text as `bytes`)."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
