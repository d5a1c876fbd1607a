"""Give the light models of the `onnx` package weights worth computing with.

They are well-known nets that nobody of this project wrote, stored without their weights: a
ConstantOfShape node stands for each large tensor, and all its elements are 0.02. With equal
weights a compiler may mix up channels and still give the right numbers. Here every weight is
seeded instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ipuc.errors import ImportFailure
from ipuc.types import Shape
from ipuc.zoo.draft import IR_VERSION, Draft, attributes
from ipuc.zoo.files import assemble
from ipuc.zoo.weights import fill

#: Where the installed onnx package keeps the light models; all nine carry operator set 9.
FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

#: What each net is called, and its paper.
TITLES = {
    "light_bvlc_alexnet": "AlexNet of Caffe (LRN, groups)",
    "light_densenet121": "DenseNet-121, arXiv 1608.06993",
    "light_inception_v1": "GoogLeNet, arXiv 1409.4842",
    "light_inception_v2": "Inception v2, arXiv 1502.03167",
    "light_resnet50": "ResNet-50, arXiv 1512.03385",
    "light_shufflenet": "ShuffleNet, arXiv 1707.01083",
    "light_squeezenet": "SqueezeNet 1.1, arXiv 1602.07360",
    "light_vgg19": "VGG-19, arXiv 1409.1556",
    "light_zfnet512": "ZFNet-512, arXiv 1311.2901",
}


def light_names() -> list[str]:
    """List the light models that the installed onnx package carries."""
    return [name for name in sorted(TITLES) if (FOLDER / f"{name}.onnx").is_file()]


def light_draft(name: str) -> Draft:
    """Read one of the light models and take its weights away.

    Args:
        name: one of `light_names()`.
    """
    draft = unweight(onnx.load(FOLDER / f"{name}.onnx"))
    draft.skeleton.graph.name = name
    draft.set_metadata("ipuc.source", f"{TITLES[name]}; the onnx package's {name}.onnx")
    draft.set_metadata("ipuc.image", "imagenet")
    return draft


def relight(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """Replace the weights of a model by seeded ones under which activations stay near one.

    Replaced are the output of every ConstantOfShape node of floats, and every float
    initializer of at least one dimension: the light models keep some small tensors, and
    statistics measured for other weights would not fit the new ones. An initializer that
    nothing reads is dropped; a node without a name is named after its first output.

    Args:
        model: any model made of the operators in `forward`; it is left as it is.
        seed: chooses the weights.

    Returns:
        The same graph with weights as initializers.

    Raises:
        ImportFailure: a ConstantOfShape node's shape is no initializer.
        UnsupportedOp: weights cannot be seeded through one of the nodes.
    """
    draft = unweight(model)
    weights = fill(draft, seed)
    draft.set_metadata("ipuc.weights", weights_note(seed))
    return assemble(draft, weights)


def weights_note(seed: int) -> str:
    """Say in a model's metadata what its weights are."""
    return f"random, seeded He-normal, seed {seed}"


def unweight(model: onnx.ModelProto) -> Draft:
    """Take the weights out of a model; see `relight` for which those are.

    Raises:
        ImportFailure: a ConstantOfShape node's shape is no initializer.
    """
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    graph = skeleton.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    shapes: dict[str, Shape] = {}
    nodes = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and _makes_floats(node):
            shapes[node.output[0]] = _constant_shape(node, stored)
        else:
            node.name = node.name or node.output[0]
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    for name, tensor in stored.items():
        if tensor.data_type == TensorProto.FLOAT and tensor.dims and name in read:
            shapes[name] = tuple(tensor.dims)
    constants = [t for name, t in stored.items() if name in read and name not in shapes]
    inputs = [value for value in graph.input if value.name not in stored]
    for kept, entries in (
        (graph.node, nodes),
        (graph.initializer, constants),
        (graph.input, inputs),
    ):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
        del kept[:]
        kept.extend(copies)
    skeleton.ir_version = max(skeleton.ir_version, IR_VERSION)  # older ones list weights as inputs
    order = [name for node in graph.node for name in node.input if name in shapes]
    return Draft(skeleton, {name: shapes[name] for name in order})


def _makes_floats(node: onnx.NodeProto) -> bool:
    """A ConstantOfShape node without a value makes float zeros."""
    value = attributes(node).get("value")
    return value is None or value.data_type == TensorProto.FLOAT


def _constant_shape(node: onnx.NodeProto, stored: dict[str, TensorProto]) -> Shape:
    if node.input[0] not in stored:
        raise ImportFailure(
            "the shape of a weight is not known before the model runs",
            where=f'ConstantOfShape node "{node.name or node.output[0]}"',
            fix="fold the shape into an initializer first",
        )
    return tuple(int(n) for n in np.atleast_1d(numpy_helper.to_array(stored[node.input[0]])))
