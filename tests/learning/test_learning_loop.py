"""The loop: losses beside onnxruntime's, evaluation beside onnxruntime's, numbers that are lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from learning_run import BATCH, CLASSES, small_data, small_model, small_program
from onnx import helper
from training_judge import Judge

from ipuc.errors import ValueRangeError
from ipuc.importer.weights import with_weights
from ipuc.learning.data import order
from ipuc.learning.evaluate import Evaluator
from ipuc.learning.train import Course, Watch, learn
from ipuc.pipeline import compile_model
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer


def undropped() -> onnx.ModelProto:
    """The small model without dropout, which two engines draw differently."""
    model = small_model()
    kept = [node for node in model.graph.node if node.op_type != "Dropout"]
    kept[-1].input[0] = "a"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def test_losses_are_those_of_onnxruntime(tmp_path: Path) -> None:
    """Twenty steps of Adam; each adds a few roundings of 6e-8, which Adam may carry on."""
    training = Training(optimizer=parse_optimizer("adam:lr=0.01"))
    program = compile_model(
        undropped(), target=parse_target("tiny"), training=training, batch=BATCH
    )
    data = small_data(tmp_path, program)
    done, _ = learn(program, data, Course(epochs=3, shuffle=4), {})
    judge = Judge.of(program)
    wanted = []
    for step in range(done.steps):
        epoch, at = divmod(step, data.training // BATCH)
        numbers = order(data.training, epoch, 4)[at * BATCH : (at + 1) * BATCH]
        wanted.append(float(judge.step(data.batch(numbers))["loss"]))
    assert done.steps == 21
    np.testing.assert_allclose(done.losses, wanted, rtol=1e-4)
    assert done.losses[-1] < done.losses[0]


@pytest.mark.parametrize("last", ["", "Softmax", "LogSoftmax"])
def test_evaluation_is_that_of_onnxruntime(tmp_path: Path, last: str) -> None:
    """Loss and accuracy over 14 samples, in two runs of 8; from the file with those weights."""
    model = undropped()
    if last:
        model.graph.node[-1].output[0] = "scores"
        model.graph.node.append(helper.make_node(last, ["scores"], ["y"], "end", axis=1))
    program = small_program()
    data = small_data(tmp_path, program)
    done, _ = learn(program, data, Course(epochs=4, shuffle=None), {})
    weights = frozenset({"w1", "b1", "w2", "b2"})
    options = {"target": parse_target("tiny"), "max_bytes": 1 << 30}
    found = Evaluator(model, weights, data, "cross-entropy", BATCH, options)(done.state)
    trained = with_weights(model, {n: done.state[n] for n in weights}, {"ipuc.weights": "new"})
    onnx.checker.check_model(trained, full_check=True)
    assert [(one.key, one.value) for one in trained.metadata_props] == [("ipuc.weights", "new")]
    session = onnxruntime.InferenceSession(trained.SerializeToString())
    (y,) = session.run(None, {"x": data.arrays["x"][data.training :]})
    labels = data.arrays["labels"][data.training :]
    y = y.astype(np.float64)
    if last == "LogSoftmax":
        logs = y
    else:
        powers = y if last else np.exp(y)
        logs = np.log(powers / powers.sum(axis=1, keepdims=True))
    wanted = -logs[np.arange(14), labels].mean()
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)
    assert found["accuracy"] == (y.argmax(axis=1) == labels).mean()
    assert y.shape[1] == CLASSES


def test_numbers_that_are_lost(tmp_path: Path) -> None:
    """Nothing is written over: the error names the step and the weight or layer."""
    program = small_program(optimizer="sgd:lr=1e30")
    data = small_data(tmp_path, program)
    with pytest.raises(ValueRangeError) as caught:
        learn(program, data, Course(epochs=3, shuffle=0), {})
    assert "the loss of step" in caught.value.what
    assert "layer" in caught.value.where or "lost in the update" in caught.value.where
    assert "learning rate" in caught.value.fix


def test_what_is_told(tmp_path: Path) -> None:
    program = small_program()
    data = small_data(tmp_path, program)
    told: list[str] = []
    watch = Watch(
        begun=lambda done, steps: told.append(f"{done.steps} of {steps}"),
        step=lambda done: told.append(str(done.steps)),
        epoch=lambda done: told.append(f"epoch {len(done.epochs)}"),
    )
    learn(program, data, Course(epochs=1, shuffle=0), {}, lambda _: {"loss": 1.0}, watch)
    assert told == ["0 of 7", *map(str, range(1, 8)), "epoch 1"]


def test_the_place_is_found_between_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps taken again from an older copy of the weights come to the same place."""
    program = small_program(optimizer="sgd:lr=40")
    data = small_data(tmp_path, program)
    told = []
    for often in (1, 16):
        monkeypatch.setattr("ipuc.learning.train._OFTEN", often)
        with pytest.raises(ValueRangeError) as caught:
            learn(program, data, Course(epochs=60, shuffle=0), {})
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "the loss of step 11 " in told[0], "neither at the beginning nor after an epoch of 7"
