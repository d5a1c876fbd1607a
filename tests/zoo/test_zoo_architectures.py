"""The models are the published ones: sizes counted by others, shapes inferred by onnx."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest

from ipuc import zoo
from ipuc.zoo.draft import Draft
from ipuc.zoo.relight import light_draft

#: Parameters as published: torchvision's model pages (alexnet, resnet34, densenet121, resnet50,
#: squeezenet1_1, vgg19), Caffe's model zoo (bvlc_alexnet).
PUBLISHED = {
    "alexnet": 61_100_840,
    "resnet34": 21_797_672,
    "light_bvlc_alexnet": 60_965_224,
    "light_resnet50": 25_557_032,
    "light_squeezenet": 1_235_496,
    "light_vgg19": 143_667_240,
}

#: Shapes as the papers and the 2017 benchmarks give them; onnx infers ours independently.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "alexnet": {"conv1": (64, 55, 55), "pool2": (192, 13, 13), "flatten": (9216,)},
    "alexnet2017": {"conv2": (192, 27, 27), "pool5": (256, 6, 6), "relu8": (1000,)},
    "resnet34": {"maxpool": (64, 56, 56), "layer4.2.add": (512, 7, 7), "flatten": (512,)},
    "resnet34_2017": {"layer2.0.shortcut.pad": (128, 28, 28), "maxpool2": (512, 1, 1)},
    "resnet50_2017": {"layer1.0.shortcut.pad": (256, 56, 56), "maxpool2": (2048, 1, 1)},
    "resnet18_2017": {"layer4.1.add": (512, 7, 7), "maxpool2": (512, 1, 1)},
    "vgg11_2017": {"pool2": (128, 56, 56), "flatten": (25088,), "relu11": (1000,)},
    "astro": {"conv1": (16, 8177), "pool1": (16, 2045), "pool3": (64, 125), "fc5": (2,)},
    "digits": {"pool2": (32, 2, 2), "output": (10,)},
}

OPS = {
    "alexnet": {"Conv": 5, "Relu": 7, "MaxPool": 3, "Gemm": 3, "Dropout": 2, "Flatten": 1},
    "alexnet2017": {"Conv": 5, "Relu": 8, "MaxPool": 3, "Gemm": 3, "Flatten": 1, "Softmax": 1},
    "resnet34": {"Conv": 36, "BatchNormalization": 36, "Relu": 33, "Add": 16, "MaxPool": 1}
    | {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1},
    "resnet34_2017": {"Conv": 33, "Relu": 34, "Add": 16, "Slice": 3, "Pad": 3, "MaxPool": 2}
    | {"Flatten": 1, "Gemm": 1, "Softmax": 1},
    "resnet18_2017": {"Conv": 17, "Relu": 18, "Add": 8, "Slice": 3, "Pad": 3, "MaxPool": 2}
    | {"Flatten": 1, "Gemm": 1, "Softmax": 1},
    "vgg11_2017": {"Conv": 8, "Relu": 11, "MaxPool": 5, "Gemm": 3, "Flatten": 1, "Softmax": 1},
    "resnet50_2017": {"Conv": 49, "Relu": 50, "Add": 16, "Slice": 3, "Pad": 4, "MaxPool": 2}
    | {"Flatten": 1, "Gemm": 1, "Softmax": 1},
}


def draft(name: str, batch: int | None = 1) -> Draft:
    return light_draft(name) if name.startswith("light_") else zoo._draft(name, batch)


def inferred(model: Draft) -> dict[str, tuple[int | str, ...]]:
    """Shapes by onnx's own inference; weights are declared as inputs of known shape."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.skeleton)
    for name, shape in model.shapes.items():
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, 1, shape))
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    values: list[onnx.ValueInfoProto] = [*graph.value_info, *graph.output]
    return {
        value.name: tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in values
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_as_many_parameters_as_published(name: str) -> None:
    assert draft(name).parameters() == PUBLISHED[name]


@pytest.mark.parametrize("name", SHAPES)
def test_layer_shapes(name: str) -> None:
    shapes = inferred(draft(name))
    assert {key: shapes[key][1:] for key in SHAPES[name]} == SHAPES[name]


@pytest.mark.parametrize("name", SHAPES)
def test_an_open_batch_stays_open_at_every_layer(name: str) -> None:
    assert {shape[0] for shape in inferred(draft(name, None)).values()} == {"batch"}


@pytest.mark.parametrize("name", OPS)
def test_operators(name: str) -> None:
    assert Counter(n.op_type for n in draft(name).skeleton.graph.node) == OPS[name]


def test_the_2017_nets_read_four_channels_and_have_biases_everywhere() -> None:
    for name in (name for name in zoo.names() if name.endswith("2017")):
        graph = draft(name).skeleton.graph
        assert graph.input[0].type.tensor_type.shape.dim[1].dim_value == 4
        assert all(len(n.input) == 3 for n in graph.node if n.op_type in ("Conv", "Gemm"))


def test_a_2017_bottleneck_strides_in_its_first_convolution() -> None:
    strides = {
        node.name: list(onnx.helper.get_node_attr_value(node, "strides"))
        for node in draft("resnet50_2017").skeleton.graph.node
        if node.op_type == "Conv"
    }
    assert {name for name, s in strides.items() if s == [2, 2]} == {
        "conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1"
    }  # fmt: skip


@pytest.mark.parametrize("name", zoo.names())
def test_every_node_has_a_name_of_its_own_and_the_operator_set_is_in_range(name: str) -> None:
    skeleton = draft(name).skeleton
    names = [node.name for node in skeleton.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert [entry.domain for entry in skeleton.opset_import] == [""]
    assert 7 <= skeleton.opset_import[0].version <= onnx.defs.onnx_opset_version()


def test_all_nine_light_models_are_found() -> None:
    assert sum(name.startswith("light_") for name in zoo.names()) == 9
