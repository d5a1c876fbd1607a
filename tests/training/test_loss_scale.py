"""The loss scale: it changes rounding alone; one that adjusts itself skips what is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from small_models import mlp, normed
from training_judge import Arrays, Judge, nearness, same

from ipuc.emulator.run import Emulator
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training import scaling
from ipuc.training.options import Training, parse_optimizer

#: Both add the same float32 numbers in another order: some hundred roundings of 6e-8.
TOLERANCE = 2e-5
SCALE, GOOD = scaling.LOSS_SCALE, scaling.GOOD_STEPS


def compiled(
    model: Any,
    optimizer: str,
    scale: float | None,
    granularity: Granularity = "tile",
    precision: str = "float32",
    loss: str = "cross-entropy",
) -> Program:
    training = Training(loss=loss, optimizer=parse_optimizer(optimizer), loss_scale=scale)
    return compile_model(
        model,
        target=parse_target("tiny"),
        training=training,
        granularity=granularity,
        precision=precision,
    )


def endless(program: Program) -> Arrays:
    """Inputs that let every gradient overflow."""
    inputs = random_inputs(program, 0)
    inputs["x"][...] = 3e38
    return inputs


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("scale", [256.0, None])
@pytest.mark.parametrize("optimizer", ["none", "sgd:lr=0.5", "momentum:lr=0.1", "adam:lr=0.01"])
def test_the_exported_graph_runs_in_onnxruntime(
    optimizer: str, scale: float | None, granularity: Granularity
) -> None:
    program = compiled(normed(), optimizer, scale, granularity)
    judge, emulator = Judge.of(program), Emulator(program)
    for seed in range(3):
        inputs = random_inputs(program, seed)
        made = judge.step(inputs)
        same(emulator.run(inputs) | emulator.state(), made, TOLERANCE)
    if scale is None:
        assert emulator.state()[SCALE] == scaling.FIRST
        assert emulator.state()[GOOD] == 3


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("optimizer", ["sgd:lr=0.5", "momentum:lr=0.1", "adam:lr=0.01"])
def test_a_step_that_is_not_finite_is_skipped(optimizer: str, granularity: Granularity) -> None:
    """Weights and moments keep their bits, and the count of steps stays: only the scale halves."""
    program = compiled(mlp(), optimizer, None, granularity, loss="mse")
    emulator, judge = Emulator(program), Judge.of(program)
    judge.step(random_inputs(program, 1))
    emulator.run(random_inputs(program, 1))
    before = emulator.state()
    emulator.run(endless(program))
    after = emulator.state()
    assert after.pop(SCALE) == before.pop(SCALE) / 2
    assert [float(state.pop(GOOD)) for state in (before, after)] == [1, 0]
    assert before
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    judge.step(endless(program))
    emulator.run(random_inputs(program, 2))
    same(emulator.state(), judge.step(random_inputs(program, 2)), TOLERANCE)


def test_the_scale_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "LEAST", scaling.FIRST / 4)
    monkeypatch.setattr(scaling, "GREATEST", scaling.FIRST * 2)
    monkeypatch.setattr(scaling, "PATIENCE", 1)
    program = compiled(mlp(), "sgd", None)
    emulator = Emulator(program)
    good, bad = random_inputs(program, 1), endless(program)
    scales = []
    for inputs in (good, good, bad, bad, bad, bad, good):
        emulator.run(inputs)
        scales.append(float(emulator.state()[SCALE]) / scaling.FIRST)
    assert scales == [2, 2, 1, 0.5, 0.25, 0.25, 0.5]


#: Which of a run of steps are good.
STEPS = (True, True, True, True, False, True, False, False, True, True, True, True, True, True)


@pytest.mark.full
def test_the_scale_moves_as_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(scaling, "PATIENCE", 3)
    judge = torch.amp.GradScaler(device="cpu", init_scale=scaling.FIRST, growth_interval=3)
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    program = compiled(mlp(), "sgd", None)
    emulator = Emulator(program)
    good, bad = random_inputs(program, 1), endless(program)
    for fine in STEPS:
        emulator.run(good if fine else bad)
        optimizer.zero_grad()
        judge.scale((weight * (1.0 if fine else torch.inf)).sum()).backward()
        judge.step(optimizer)
        judge.update()
        assert emulator.state()[SCALE] == judge.get_scale()


@pytest.mark.parametrize("precision", ["mixed", "float16"])
@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_in_halves_a_scale_saves_small_gradients(precision: str, granularity: Granularity) -> None:
    """Small inputs and weights: their product, a gradient, is below the least normal half."""
    model = mlp(softmax=False)
    for one in model.graph.initializer:
        if one.name == "w2":
            one.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(one) * np.float32(1e-4), "w2")
            )
    plain, scaled = (
        compiled(model, "none", scale, granularity, precision, "mse") for scale in (1.0, 4096.0)
    )
    inputs = random_inputs(plain, 1)
    inputs["x"] = inputs["x"] * np.float32(1e-3)
    judge = Judge.of(scaled).step(inputs)
    exact = {name: judge[name] for name in judge if name.startswith("grad/")}
    raw, saved = (Emulator(program).run(inputs) for program in (plain, scaled))
    assert set(exact) == {"grad/w1", "grad/b1", "grad/w2", "grad/b2"}
    # a half has 11 bits, and a gradient is rounded at each of five layers
    assert all(nearness(saved[name], exact[name]).norm < 1e-2 for name in exact)
    assert nearness(raw["grad/w1"], exact["grad/w1"]).norm > 0.1


@pytest.mark.parametrize("precision", ["mixed", "float16"])
@pytest.mark.parametrize("optimizer", ["sgd:lr=0.1", "adam:lr=0.01"])
def test_in_halves_the_scale_falls_until_gradients_fit(precision: str, optimizer: str) -> None:
    """Scores of some hundreds overflow a half at scale 65536; then steps are taken."""
    program = compiled(mlp(), optimizer, None, "tile", precision)
    emulator = Emulator(program)
    begin = emulator.state()
    inputs = random_inputs(program, 1)
    inputs["x"] = inputs["x"] * np.float32(30)
    losses = [float(emulator.run(inputs)["loss"]) for _ in range(30)]
    end = emulator.state()
    assert end[SCALE] < scaling.FIRST
    assert all(np.isfinite(array).all() for array in end.values())
    assert not np.array_equal(end["w1"], begin["w1"])
    assert losses[-1] < losses[0] / 4
