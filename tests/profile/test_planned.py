"""What the planner expects of a layer is what the profile finds in the program.

The planner's formulas know neither the mapping nor the vertices, so the profile is a check on
them: compute agrees exactly, exchange within 10 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ipuc.pipeline import compile_model
from ipuc.profile.cycles import supersteps
from ipuc.target import CATALOGUE


def model(op: str, x: tuple[int, ...], weights: tuple[int, ...], **attributes: Any) -> ModelProto:
    """One Relu, then the layer: its input lies where the Relu made it."""
    made = numpy_helper.from_array(np.zeros(weights, np.float32), "w")
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node(op, ["a", "w"], ["y"], name="layer", **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [made],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CONV3 = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}


@pytest.mark.parametrize(
    "layer",
    [
        model("Conv", (1, 3, 224, 224), (64, 3, 11, 11), strides=[4, 4], pads=[2, 2, 2, 2]),
        model("Conv", (1, 64, 27, 27), (192, 64, 5, 5), pads=[2, 2, 2, 2]),
        model("Conv", (1, 384, 13, 13), (256, 384, 3, 3), **CONV3),
        model("Conv", (1, 64, 56, 56), (64, 64, 3, 3), **CONV3),
        model("Conv", (1, 128, 28, 28), (256, 128, 3, 3), strides=[2, 2], **CONV3),
        model("Conv", (1, 256, 14, 14), (512, 256, 1, 1), strides=[2, 2]),
        model("MatMul", (1, 2048), (2048, 4096)),
        model("MatMul", (64, 512), (512, 512)),
    ],
    ids=["conv1", "conv2", "conv4", "layer1", "layer3.0", "downsample", "fc", "batch"],
)
@pytest.mark.parametrize("target", ["gc2", "gc200"])
def test_planned_is_profiled(layer: ModelProto, target: str) -> None:
    program = compile_model(layer, target=CATALOGUE[target])
    chosen = program.layers[-1].plan["chosen"]
    planned = chosen["costs"]
    steps = [step for step in supersteps(program) if step.layer == "layer"]
    # What changes a layout is a copy, which no vertex does.
    copies = [step for step in steps if step.kind != "compute"]
    assert len(copies) <= 3 * bool(chosen["expand"] or chosen["rearrange"])
    steps = [step for step in steps if step.kind == "compute"]
    compute = sum(cost for item, cost in planned.items() if item in ("compute", "reduce", "cast"))
    assert compute == sum(int(step.compute.max()) for step in steps)
    exchange = sum(cost for item, cost in planned.items() if "exchange" in item)
    assert exchange == pytest.approx(sum(step.exchange for step in steps), rel=0.1)


@pytest.mark.parametrize("target", ["gc2", "gc200"])
@pytest.mark.parametrize(
    ("op", "shape", "axes"),
    [
        ("ReduceSum", (1, 384, 768), [2]),
        ("ReduceMax", (1, 12, 200, 200), [3]),
        ("ReduceSum", (8, 64, 56, 56), [0, 2, 3]),
        ("ReduceSumSquare", (1, 64, 112, 112), [2, 3]),
    ],
)
def test_a_reduction_is_planned_where_its_operand_lies(
    op: str, shape: tuple[int, ...], axes: list[int], target: str
) -> None:
    """What a Relu made is combined on its tiles, without exchange, before anything is sent."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node(op, ["a", "axes"], ["y"], name="layer"),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes, np.int64), "axes")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    program = compile_model(made, target=CATALOGUE[target])
    costs = program.layers[-1].plan["chosen"]["costs"]
    steps = [step for step in supersteps(program) if step.layer == "layer"]
    assert steps[0].exchange == 0 < max(step.exchange for step in steps)
    planned = {kind: sum(n for item, n in costs.items() if kind in item) for kind in _COSTS}
    assert planned["compute"] == sum(int(step.compute.max()) for step in steps)
    assert planned["sync"] == sum(step.sync for step in steps)
    assert planned["exchange"] == pytest.approx(sum(step.exchange for step in steps), rel=0.1)


_COSTS = ("compute", "exchange", "sync")
