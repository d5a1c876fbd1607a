"""Constants whose kernel is cut lie part by part; whoever else reads them finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.pipeline import compile_model
from ipuc.target.catalogue import parse_target


def shared(order: list[str]) -> ModelProto:
    """Weights that a convolution and an addition read."""
    w = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3, 3)).astype(np.float32)
    nodes = {
        "conv": helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1]),
        "again": helper.make_node("Conv", ["x", "w"], ["v"], name="again", dilations=[2, 2]),
        "add": helper.make_node("Mul", ["w", "s"], ["z"], name="add"),
    }
    made = {"conv": ("y", [1, 64, 5, 5]), "again": ("v", [1, 64, 1, 1]), "add": ("z", w.shape)}
    return helper.make_model(
        helper.make_graph(
            [nodes[name] for name in order],
            "shared",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 5, 5]),
                helper.make_tensor_value_info("s", TensorProto.FLOAT, [1]),
            ],
            [
                helper.make_tensor_value_info(made[n][0], TensorProto.FLOAT, made[n][1])
                for n in order
            ],
            [numpy_helper.from_array(w, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_shared_weights() -> None:
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {
        "x": rng.uniform(-1, 1, (1, 64, 5, 5)).astype(np.float32),
        "s": np.array([1.5], np.float32),
    }
    laid = []
    for order in (["conv", "again", "add"], ["add", "again", "conv"], ["conv"]):
        model = shared(order)
        program = compile_model(model, target=parse_target("gc200,tiles=400"))
        weights = next(v for v in program.variables if v.name == "w")
        laid.append(weights.shape != (64, 64, 3, 3))
        session = onnxruntime.InferenceSession(model.SerializeToString())
        feeds = {info.name: given[info.name] for info in session.get_inputs()}
        for run in (Emulator(program).run, StrictEmulator(program).run):
            found = run(given)
            for info, wanted in zip(session.get_outputs(), session.run(None, feeds), strict=True):
                # Sums of 576 products of numbers below 1, in float32.
                np.testing.assert_allclose(found[info.name], wanted, rtol=1e-5, atol=5e-5)
    # Laid out for its first reader only, and not once something else has read it.
    assert laid == [True, False, True]
