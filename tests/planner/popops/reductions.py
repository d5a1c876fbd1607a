"""One reduction of a plain tensor, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ipuc.pipeline import compile_model
from ipuc.program.program import Program
from ipuc.target import parse_target

KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int32": TensorProto.INT32,
}


def compiled(
    op: str, shape: tuple[int, ...], axes: list[int], dtype: str = "float32", target: str = "gc2"
) -> Program:
    """A program of one operator of the Reduce family."""
    given: list[Any] = [numpy_helper.from_array(np.array(axes, np.int64), "axes")]
    node = helper.make_node(op, ["x", "axes"], ["y"], name="layer", keepdims=0)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", KINDS[dtype], shape)],
        [helper.make_tensor_value_info("y", KINDS[dtype], None)],
        given,
    )
    opset = helper.make_opsetid("", 18)
    return compile_model(
        helper.make_model(graph, opset_imports=[opset], ir_version=8), target=parse_target(target)
    )


def numbers(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Values whose sums stay exact enough to compare: small whole numbers for integers."""
    random = np.random.default_rng(len(shape))
    if dtype == "int32":
        return random.integers(-9, 9, shape).astype(dtype)
    return random.uniform(-1, 1, shape).astype(dtype)
