"""The whole chip works: every convolution of AlexNet and ResNet-34 on a GC200."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from ipuc.importer.load import load
from ipuc.lowering.driver import lower
from ipuc.program.program import Program
from ipuc.target.catalogue import parse_target
from ipuc.types import Ints
from ipuc.zoo.alexnet import alexnet
from ipuc.zoo.draft import Draft
from ipuc.zoo.resnet import resnet34

GC200 = parse_target("gc200")
#: Wanted: over 85 % of the tiles, none with over 1.25 times the mean work over all tiles.
WIDE, EVEN = 0.85, 1.25


def convolutions(draft: Draft) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Every convolution of a model that differs from those before it, as a model of its own.

    The input is batch 1; the weights are an input, which the planner does not mind.
    """
    graph = onnx.shape_inference.infer_shapes(with_weights_as_inputs(draft)).graph
    shapes = {
        info.name: [d.dim_value for d in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
    }
    seen: set[str] = set()
    for node in graph.node:
        key = str((node.attribute, [shapes[name] for name in node.input[:2]]))
        if node.op_type != "Conv" or key in seen:
            continue
        seen.add(key)
        names = list(node.input[:2])
        alone = helper.make_node("Conv", names, node.output, node.name)
        alone.attribute.extend(node.attribute)
        infos = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shapes[n]) for n in names]
        out = helper.make_tensor_value_info(
            node.output[0], onnx.TensorProto.FLOAT, shapes[node.output[0]]
        )
        yield (
            node.name,
            helper.make_model(
                helper.make_graph([alone], node.name, infos, [out]),
                opset_imports=[helper.make_opsetid("", 17)],
            ),
        )


def with_weights_as_inputs(draft: Draft) -> onnx.ModelProto:
    """The model without its weights' values."""
    model = onnx.ModelProto()
    model.CopyFrom(draft.skeleton)
    for name, shape in draft.shapes.items():
        model.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return model


def work_by_tile(program: Program) -> Ints:
    """Multiply-adds of every tile, read off the vertices: int64[tiles]."""
    work = np.zeros(GC200.tiles, np.int64)
    for family in program.families():
        if family.codelet.name.startswith("ConvPartial"):
            windows = family.windows()
            each = math.prod(windows["out"]) * math.prod(windows["weights"][2:])
            np.add.at(work, family.tile.dense().ravel(), each)
    return work


PROBLEMS = [
    pytest.param(model, id=f"{draft.skeleton.graph.name} {name}")
    for draft in (alexnet(1), resnet34(1))
    for name, model in convolutions(draft)
]


def test_all_convolutions_are_here() -> None:
    """AlexNet has five; the 36 of ResNet-34 are of eleven kinds."""
    assert len(PROBLEMS) == 5 + 11


@pytest.mark.parametrize("model", PROBLEMS)
def test_use_of_the_chip(model: onnx.ModelProto) -> None:
    """Wide and even, or cheaper than the cheapest plan that is, which the record shows."""
    program = lower(load(model), GC200)
    plan: dict[str, Any] = program.layers[0].plan
    chosen = plan["chosen"]
    work = work_by_tile(program)
    used, balance = int((work > 0).sum()), float(work.max() / work.mean())
    assert work.sum() == macs(model)
    assert (used, round(balance, 4)) == (chosen["tiles"], chosen["balance"])
    if used <= WIDE * GC200.tiles or balance > EVEN:
        wide = plan["cheapest wide and even"]
        assert wide["tiles"] > WIDE * GC200.tiles
        assert wide["balance"] <= EVEN
        assert chosen["tiles"] < wide["tiles"]
        assert chosen["planned"] < wide["planned"]


def macs(model: onnx.ModelProto) -> int:
    """Multiply-adds of the convolution, from the model: outputs times a filter's weights."""
    outputs: list[int]
    weights: list[int]
    _, weights = ([d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input)
    outputs = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    return math.prod(outputs) * math.prod(weights[1:])
