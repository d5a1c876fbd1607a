"""What the model tests share: onnxruntime as the engine that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def _every_value(model: onnx.ModelProto, data: str, x: NDArray[np.float32]) -> Arrays:
    names = [node.output[0] for node in model.graph.node]
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, {data: x}), strict=True))


@pytest.fixture
def every_value() -> Callable[[onnx.ModelProto, str, NDArray[np.float32]], Arrays]:
    """Run a model in onnxruntime and return the first output of every node."""
    return _every_value


@pytest.fixture
def photo() -> NDArray[np.float32]:
    """A photograph as an ImageNet model's input, [1, 3, 224, 224]."""
    datasets = pytest.importorskip("sklearn.datasets")
    pixels = datasets.load_sample_image("china.jpg")[100:324, 200:424].astype(np.float32) / 255
    pixels = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.asarray(pixels.transpose(2, 0, 1)[np.newaxis], np.float32)
