"""Optimizers over several steps: onnxruntime on the exported graph, and torch's own, as judges."""

from __future__ import annotations

import pytest
from small_models import mlp, normed
from training_judge import Arrays, Judge, compiled, same

from ipuc.emulator.run import Emulator
from ipuc.pipeline import random_inputs
from ipuc.program.program import Program
from ipuc.training.options import parse_optimizer

#: Both add the same float32 numbers in another order: some hundred roundings of 6e-8.
TOLERANCE = 2e-5
STEPS = 4
OPTIMIZERS = (
    "sgd:lr=0.5",
    "sgd:lr=0.1,weight-decay=0.1",
    "momentum:lr=0.1",
    "momentum:lr=0.1,momentum=0.5,weight-decay=0.1",
    "adam:lr=0.01",
    "adam:lr=0.01,beta1=0.8,beta2=0.9,eps=1e-4,weight-decay=0.1",
    "adamw:lr=0.01,weight-decay=0.1",
)
MODELS = {"mlp": (mlp(), "cross-entropy"), "normed": (normed(), "mse")}


def ours(program: Program, steps: int) -> tuple[list[float], Arrays]:
    """Losses of some steps on the emulator, and the state after them."""
    emulator = Emulator(program)
    losses = [float(emulator.run(random_inputs(program, seed))["loss"]) for seed in range(steps)]
    return losses, emulator.state()


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_onnxruntime(name: str, optimizer: str, granularity: str) -> None:
    model, loss = MODELS[name]
    program = compiled(model, optimizer, loss, granularity=granularity)
    losses, state = ours(program, STEPS)
    judge = Judge.of(program)
    made = [judge.step(random_inputs(program, seed)) for seed in range(STEPS)]
    assert losses == pytest.approx([float(one["loss"]) for one in made], rel=1e-4)
    same(state, made[-1], TOLERANCE)
    assert set(state) == set(program.state)


@pytest.mark.full
@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_those_of_torch(name: str, optimizer: str, granularity: str) -> None:
    """Float64 in torch, so that all of the difference is ours."""
    pytest.importorskip("torch")
    from torch_step import TorchModel, torch_numbers  # noqa: PLC0415  # it imports torch

    model, loss = MODELS[name]
    program = compiled(model, optimizer, loss, granularity=granularity)
    losses, state = ours(program, STEPS)
    given = parse_optimizer(optimizer)
    trained = program.metadata["training"]["trained"]
    numbers = torch_numbers(given.name, given.numbers)
    judge = TorchModel(model, trained, loss, given.name, numbers, exact=True)
    made = [judge.step(random_inputs(program, seed)) for seed in range(STEPS)]
    assert losses == pytest.approx([one.loss for one in made], rel=1e-4)
    weights = made[-1].weights
    # Adam divides gradients by their own size: where one is nearly 0, its rounding is not.
    same({name: state[name] for name in weights}, weights, 10 * TOLERANCE)
