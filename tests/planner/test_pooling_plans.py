"""What a pooling's plan record says."""

from __future__ import annotations

from onnx import TensorProto, helper

from ipuc.pipeline import compile_model
from ipuc.target import parse_target


def test_the_plan_of_the_indices_does_not_replace_that_of_the_maximum() -> None:
    def plan(outputs: list[str]) -> dict[str, object]:
        graph = helper.make_graph(
            [helper.make_node("MaxPool", ["x"], outputs, kernel_shape=[2, 2])],
            "pooling",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 9, 9])],
            [
                helper.make_tensor_value_info(name, kind, None)
                for name, kind in zip(outputs, (TensorProto.FLOAT, TensorProto.INT64), strict=False)
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 10
        return compile_model(model, target=parse_target("gc200,tiles=8")).layers[0].plan

    alone, both = plan(["y"]), plan(["y", "i"])
    indices = both.pop("indices")
    assert both == alone
    assert isinstance(indices, dict)
    assert indices["chosen"]["costs"] != alone["chosen"]["costs"]  # type: ignore[index]
