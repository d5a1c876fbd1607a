"""One training step: our emulator beside onnxruntime, which runs the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from small_models import mlp, normed, shared

from ipuc.emulator.run import Emulator
from ipuc.pipeline import compile_model, initial_graph, random_inputs, run_program
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training.export import as_model
from ipuc.training.options import Training, parse_optimizer

Arrays = dict[str, NDArray[Any]]

#: Both add the same float32 numbers in another order: some hundred roundings of 6e-8.
TOLERANCE = 2e-5


def session(program: Program) -> onnxruntime.InferenceSession:
    """The exported training graph in onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # weights that are inputs are what we want
    model = as_model(initial_graph(program))
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def step(judge: onnxruntime.InferenceSession, inputs: Arrays) -> Arrays:
    names = [output.name for output in judge.get_outputs()]
    return dict(zip(names, judge.run(None, inputs), strict=True))


def compiled(model: onnx.ModelProto, optimizer: str, loss: str, **options: Any) -> Program:
    training = Training(loss=loss, optimizer=parse_optimizer(optimizer))
    target = parse_target(options.pop("target", "tiny"))
    return compile_model(model, target=target, training=training, **options)


MODELS = {
    "mlp": (mlp(), "cross-entropy"),
    "scores": (mlp(softmax=False), "cross-entropy"),
    "values": (mlp(softmax=False), "mse"),
    "shared": (shared(), "mse"),
    "normed": (normed(), "cross-entropy"),
}


def same(found: Arrays, wanted: Arrays, tolerance: float = TOLERANCE) -> None:
    for name, array in found.items():
        right = wanted.get(f"new/{name}", wanted.get(name))
        assert right is not None, name
        scale = max(1.0, float(np.abs(right).max()))
        assert np.abs(array - right).max() <= tolerance * scale, name


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("optimizer", ["sgd:lr=0.5", "sgd:lr=0.1,weight-decay=0.1", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_what_onnxruntime_makes_of_it(
    name: str, optimizer: str, granularity: str
) -> None:
    model, loss = MODELS[name]
    program = compiled(model, optimizer, loss, granularity=granularity)
    inputs = random_inputs(program, 1)
    same(run_program(program, inputs), step(session(program), inputs))


def test_the_loss_scale_changes_nothing_but_rounding() -> None:
    plain = compiled(mlp(), "sgd:lr=0.5", "cross-entropy")
    training = Training(optimizer=parse_optimizer("sgd:lr=0.5"), loss_scale=256.0)
    scaled = compile_model(mlp(), target=parse_target("tiny"), training=training)
    inputs = random_inputs(plain, 1)
    same(run_program(scaled, inputs), run_program(plain, inputs))


def test_state_stays_on_the_chip_from_step_to_step() -> None:
    """Three steps of one emulator, and three of onnxruntime that is fed what it gave."""
    program = compiled(normed(), "sgd:lr=0.5", "cross-entropy")
    judge, emulator = session(program), Emulator(program)
    fed: Arrays = {}
    for seed in range(3):
        inputs = random_inputs(program, seed)
        made = step(judge, {**inputs, **fed})
        fed = {name: made[f"new/{name}"] for name in program.state}
        emulator.run(inputs)
    same(emulator.state(), fed)


def test_layers_know_their_pass_and_their_forward_layer() -> None:
    program = compiled(normed(), "sgd:lr=0.5", "cross-entropy")
    passes = {layer.layer_pass for layer in program.layers}
    assert passes == {"forward", "backward", "weight update", "loss"}
    of_conv = {layer.layer_pass: layer for layer in program.layers if layer.layer == "conv"}
    assert set(of_conv) == {"forward", "weight update"}  # nobody needs the input's gradient
    assert of_conv["weight update"].label == "Conv 1 - 3x3"
    assert of_conv["weight update"].sizes == "[2 in, 4 out]"
    known = {(layer.name, layer.layer_pass) for layer in program.layers}
    for family in program.families():
        assert {(one.layer, one.layer_pass) for one in family.origins} <= known
