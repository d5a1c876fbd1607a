"""A training step gives the same on every machine and in every cut; onnxruntime says what."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import mlp
from training_judge import Arrays, Judge, compiled, nearness, undropped

from ipuc import zoo
from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.pipeline import random_inputs
from ipuc.program.program import Program

#: Norm of the difference by the norm, for every array: sums of some hundred float32 numbers in
#: another order. ReLUs of these small nets and seeds do not flip.
TOLERANCE = 1e-5
MODELS = {
    "digits": undropped(zoo.build("digits", batch=None)),
    "astro": undropped(zoo.build("astro", batch=None)),
    "mlp": mlp(),
}
#: A few tiles and some more, of both generations of the chip.
MACHINES = ("tiny", "gc2,tiles=32", "gc200,tiles=64")


def stepped(program: Program, inputs: Arrays) -> Arrays:
    """Everything that one step makes."""
    emulator = Emulator(program)
    made = emulator.run(inputs)
    return made | emulator.state()


def near(found: Arrays, wanted: Arrays) -> None:
    for name, array in found.items():
        off = nearness(np.asarray(array), np.asarray(wanted[name]))
        assert off.norm <= TOLERANCE, f"{name}: {off}"


@pytest.mark.parametrize("optimizer", ["sgd:lr=0.5", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_a_real_network(name: str, optimizer: str) -> None:
    program = compiled(MODELS[name], optimizer, batch=None if name == "mlp" else 3)
    inputs = random_inputs(program, 1)
    near(stepped(program, inputs), Judge.of(program).step(inputs))


@pytest.fixture(scope="module")
def wanted() -> tuple[Arrays, Arrays]:
    """Inputs, and a step of the digits network by onnxruntime."""
    program = compiled(MODELS["digits"], "momentum:lr=0.5", batch=4)
    inputs = random_inputs(program, 2)
    return inputs, Judge.of(program).step(inputs)


@pytest.mark.parametrize(
    ("target", "how"),
    [
        ("tiny", "tile"),
        ("tiny", "fine"),
        ("tiny", "outlined"),
        ("gc2,tiles=32", "tile"),
        ("gc2,tiles=32", "worker"),
        ("gc200,tiles=64", "worker"),
        ("gc200,tiles=64", "outlined"),
    ],
)
def test_machine_and_cut_do_not_matter(
    target: str, how: str, wanted: tuple[Arrays, Arrays]
) -> None:
    options: dict[str, Any] = {"outline": True} if how == "outlined" else {"granularity": how}
    program = compiled(MODELS["digits"], "momentum:lr=0.5", batch=4, target=target, **options)
    inputs, right = wanted
    near(stepped(program, inputs), right)


def scaled_and_shifted() -> onnx.ModelProto:
    """Y = tanh(x * w + b) * v: gradients of the weights are products, with no sum among them.

    Every element has weights of its own, and the batch is one.
    """
    random = np.random.default_rng(3)
    shape = [1, 40, 30]
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name in ("w", "b", "v")
    ]
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["s"], "scale"),
        helper.make_node("Add", ["s", "b"], ["t"], "shift"),
        helper.make_node("Tanh", ["t"], ["u"], "bend"),
        helper.make_node("Mul", ["u", "v"], ["y"], "again"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def randomly_rounded(target: str, granularity: str, seed: int, optimizer: str) -> Arrays:
    """State after three steps in halves."""
    program = compiled(
        scaled_and_shifted(),
        optimizer,
        "mse",
        target=target,
        granularity=granularity,
        precision="float16",
        arithmetic=Arithmetic(seed=seed),
    )
    emulator = Emulator(program)
    for step in range(3):
        emulator.run(random_inputs(program, step))
    return emulator.state()


@pytest.mark.parametrize("optimizer", ["sgd:lr=64", "momentum:lr=64", "adam:lr=0.01"])
def test_random_rounding_is_the_same_bits_on_any_machine(optimizer: str) -> None:
    """Random bits are a hash of seed, step, tensor and element; no sum is cut differently.

    The loss is a sum over all elements, and may be cut; no gradient reads it.
    """
    first = randomly_rounded("tiny", "tile", 7, optimizer)
    other = randomly_rounded("tiny", "tile", 8, optimizer)
    assert any(not np.array_equal(array, other[name]) for name, array in first.items())
    for target in (*MACHINES, "gc200"):
        for granularity in ("tile", "worker"):
            for name, array in randomly_rounded(target, granularity, 7, optimizer).items():
                np.testing.assert_array_equal(array, first[name], err_msg=name, strict=True)
