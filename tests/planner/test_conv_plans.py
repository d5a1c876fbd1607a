"""Plans of convolutions and products as they run: serial steps, half sums, pins, batches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import OptionError
from ipuc.pipeline import compile_model
from ipuc.planner.choices import Choices
from ipuc.planner.precision import parse_precision
from ipuc.program.program import Program
from ipuc.target.catalogue import parse_target


def model(op: str, *shapes: tuple[int, ...], **attributes: Any) -> ModelProto:
    """One node whose operands are inputs."""
    names = ["a", "b"]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(op, names, ["y"], name="layer", **attributes)
    return helper.make_model(
        helper.make_graph([node], "one", infos, [out]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def arrays(one: ModelProto, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        info.name: rng.uniform(
            -1, 1, [d.dim_value for d in info.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for info in one.graph.input
    }


def compiled(one: ModelProto, target: str, precision: str = "float32", **choices: Any) -> Program:
    return compile_model(
        one,
        target=parse_target(target),
        precision=parse_precision(precision),
        choices=Choices(**choices),
    )


def steps(program: Program) -> int:
    return int(program.layers[-1].plan["chosen"]["serial"])


PRODUCT = model("MatMul", (96, 64), (64, 640))
CONV = model("Conv", (2, 16, 9, 9), (192, 16, 3, 3), pads=[1, 1, 1, 1])
GROUPED = model("Conv", (1, 32, 8, 8), (128, 16, 3, 3), group=2)


@pytest.mark.parametrize("one", [PRODUCT, CONV, GROUPED], ids=["product", "conv", "grouped"])
def test_little_memory_makes_steps(one: ModelProto) -> None:
    """Fewer output channels at a time: the same numbers, in more steps and fewer bytes."""
    target = "tiny,tile_memory_bytes=262144"
    free = compiled(one, target, default=1.0)
    tight = compiled(one, target, default=0.005)
    assert steps(free) == 1
    assert steps(tight) > 1
    chosen, other = (p.layers[-1].plan["chosen"] for p in (tight, free))
    assert chosen["temp_bytes"] < other["temp_bytes"]
    assert chosen["cycles"] > other["cycles"]
    given = arrays(one)
    session = onnxruntime.InferenceSession(one.SerializeToString())
    (wanted,) = session.run(None, given)
    # Sums of at most 144 products of numbers below 1, in float32.
    for run in (Emulator(tight).run, StrictEmulator(tight).run):
        np.testing.assert_allclose(run(given)["y"], wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("precision", ["float32", "mixed"])
@pytest.mark.parametrize("one", [PRODUCT, CONV], ids=["product", "conv"])
def test_a_pinned_plan_is_taken(one: ModelProto, precision: str) -> None:
    """The third best plan, as a file would have it, gives that plan and the same numbers."""
    free = compiled(one, "gc2,tiles=64", precision)
    third = json.loads(json.dumps(free.layers[-1].plan["next"][1]))
    pinned = compiled(one, "gc2,tiles=64", precision, pins={"layer": third})
    assert pinned.layers[-1].plan["chosen"] == third
    given = arrays(one)
    made, wanted = (Emulator(p).run(given)["y"] for p in (pinned, free))
    # Halves: the order of additions shows in the last bit.
    tolerance = 1e-5 if precision == "float32" else 2e-2
    np.testing.assert_allclose(made, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "change",
    [{"splits": {"outs": 7}}, {"method": "SLIC"}, {"in group": 5}, {"swap": None, "expand": 3}],
)
def test_a_pin_that_does_not_fit(change: dict[str, Any]) -> None:
    chosen = compiled(CONV, "gc2,tiles=64").layers[-1].plan["chosen"]
    with pytest.raises(OptionError, match="the pinned plan does not fit"):
        compiled(CONV, "gc2,tiles=64", pins={"layer": {**chosen, **change}})


def test_every_method_runs() -> None:
    """Depthwise layers of halves, rows of dot products, an outer product: each has its vertex."""
    cases = {
        "SLIC": model("Conv", (1, 64, 20, 20), (64, 1, 3, 3), group=64, pads=[1, 1, 1, 1]),
        "HMAC": model("MatMul", (1, 512), (512, 256)),
        "AMP": model("MatMul", (64, 256), (256, 256)),
        "OUTER_PRODUCT": model("MatMul", (64, 1), (1, 16)),
    }
    for method, one in cases.items():
        program = compiled(one, "gc2,tiles=64", "mixed")
        assert program.layers[-1].plan["chosen"]["method"] == method
        given = arrays(one)
        (wanted,) = onnxruntime.InferenceSession(one.SerializeToString()).run(None, given)
        # Operands and results are rounded to halves: 2^-11 of each, over sums of 512 products.
        np.testing.assert_allclose(Emulator(program).run(given)["y"], wanted, rtol=1e-2, atol=2e-2)
