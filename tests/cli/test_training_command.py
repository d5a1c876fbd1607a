"""Training on the command line: what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.npz import write_arrays
from ipuc.ops.define import Op
from ipuc.ops.relu import Relu


@pytest.fixture
def network(folder: Path) -> Path:
    """Two layers with a ReLU between them, float32[N, 4] to scores float32[N, 3]."""
    draw = np.random.default_rng(0)
    weights = {
        "hidden.weight": draw.standard_normal((4, 6)).astype(np.float32),
        "hidden.bias": np.zeros(6, np.float32),
        "head.weight": draw.standard_normal((6, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "hidden.weight", "hidden.bias"], ["h"], name="hidden"),
        helper.make_node("Relu", ["h"], ["a"], name="relu"),
        helper.make_node("MatMul", ["a", "head.weight"], ["y"], name="head"),
    ]
    path = folder / "network.onnx"
    return save_model(path, nodes, {"x": ["N", 4]}, {"y": ["N", 3]}, weights)


def train(ipuc: Run, network: Path, *words: object) -> str:
    done = ipuc("compile", network, "--batch", 5, "--target", "tiny", "--train", *words)
    assert done.code == 0, done.err
    return done.out


def test_compile_says_what_is_recomputed(ipuc: Run, network: Path) -> None:
    said = train(ipuc, network, "--recompute", "hid*", "--recompute", "relu")
    assert "recomputed: 2 layers: hidden, relu; 120 bytes of their results need not be kept" in said
    assert "recomputed: nothing" in train(ipuc, network, "--recompute", "head")
    assert "recomputed" not in train(ipuc, network)


def test_a_layer_to_recompute_must_exist(ipuc: Run, network: Path) -> None:
    words = ("--train", "--batch", 5, "--recompute", "rleu")
    done = ipuc("compile", network, *words)
    assert done.code == 1
    assert 'no layer is called "rleu"' in done.err
    assert "where: --recompute" in done.err
    assert "did you mean relu?" in done.err


def arrays(path: Path, size: float = 1.0, **changed: np.ndarray) -> Path:
    """Inputs for `network`."""
    draw = np.random.default_rng(1)
    x = np.clip(draw.standard_normal((5, 4)), -1, 1).astype(np.float32) * np.float32(size)
    write_arrays(path, {"x": x, "labels": np.arange(5, dtype=np.int64) % 3, **changed})
    return path


def test_a_loss_that_overflows_is_reported_with_its_first_layer(
    ipuc: Run, network: Path, folder: Path
) -> None:
    """The outputs are written, so that one can look; the exit code is that of a run that ran."""
    train(ipuc, network)
    words = ("--input", arrays(folder / "in.npz", 3e38), "-o", "out.npz")
    done = ipuc("run", "network.ipu", *words)
    assert done.code == 0
    assert 'the loss is not finite; the first NaN or infinity is "h"' in done.err
    assert 'made by Gemm of layer "hidden", Fully connected 1 (forward)' in done.err
    assert "Lower the learning rate" in done.err
    assert "the outputs are written all the same" in done.err
    assert not np.isfinite(np.load("out.npz")["loss"])
    found = ipuc("run", "network.ipu", *words, "--json").json()["not_finite"]
    assert (found["output"], found["value"], found["layer"]) == ("loss", "h", "hidden")
    assert (found["layer_pass"], found["op"]) == ("forward", "Gemm")


def test_gradients_that_overflow_are_reported_with_their_pass(
    ipuc: Run, network: Path, folder: Path
) -> None:
    train(ipuc, network, "--loss-scale", 1e38, "--loss", "mse")
    given = arrays(folder / "in.npz", 1e3, labels=np.zeros((5, 3), np.float32))
    done = ipuc("run", "network.ipu", "--input", given)
    assert done.code == 0
    assert '"head.weight" is not finite' in done.err or '"hidden.weight" is not' in done.err
    assert "(loss)" in done.err or "(backward)" in done.err
    assert "the outputs are written" not in done.err


def test_inputs_that_are_not_finite_are_named(ipuc: Run, network: Path, folder: Path) -> None:
    train(ipuc, network)
    given = arrays(folder / "in.npz", np.nan)
    done = ipuc("run", "network.ipu", "--input", given)
    assert 'the loss is not finite: input "x" holds NaN or infinity' in done.err


def test_a_finite_step_says_nothing_of_it(ipuc: Run, network: Path, folder: Path) -> None:
    train(ipuc, network)
    given = arrays(folder / "in.npz")
    assert "finite" not in ipuc("run", "network.ipu", "--input", given).err
    assert ipuc("run", "network.ipu", "--input", given, "--json").json()["not_finite"] is None


def test_a_step_that_is_skipped_is_said(ipuc: Run, network: Path, folder: Path) -> None:
    train(ipuc, network, "--loss-scale", "auto", "--precision", "float16")
    given = arrays(folder / "in.npz", 1e3)
    done = ipuc("run", "network.ipu", "--input", given)
    assert done.code == 0
    assert "the step was not taken, as gradients overflow at loss scale 65536" in done.out
    assert "the next step has 32768" in done.out
    assert "too large for float16" not in done.err


# -- what is wrong, where, and what to do -----------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told", "fix"),
    [
        ({"labels": np.arange(5)}, "label 3 is no class: the model has 3, 0 to 2", "from 0"),
        ({"labels": np.arange(5) - 1}, "label -1 is no class", "from 0"),
        ({"labels": np.arange(4) % 3}, "expected int64[5], found int64[4]", "int64[5]"),
        ({"labels": np.eye(5, 3)}, "labels are class numbers, int64[5]", "argmax(axis=1)"),
        ({"labels": np.zeros(5)}, "these are float64[5]", 'astype("int64")'),
        ({"x": np.zeros((6, 4), np.float32)}, "expected float32[5x4]", "float32[5x4]"),
        ({"target": np.zeros(5)}, 'no input "target"', "labels, x"),
    ],
)
def test_wrong_labels_and_inputs(
    ipuc: Run, network: Path, folder: Path, changed: dict[str, Any], told: str, fix: str
) -> None:
    train(ipuc, network)
    done = ipuc("run", "network.ipu", "--input", arrays(folder / "in.npz", **changed))
    assert done.code == 1
    assert done.out == ""
    assert told in done.err
    assert "where: " in done.err
    assert fix in done.err.partition("fix: ")[2]


def test_labels_may_be_integers_of_any_length(ipuc: Run, network: Path, folder: Path) -> None:
    train(ipuc, network)
    said = set()
    for kind in (np.uint8, np.int32, np.int64):
        given = arrays(folder / "in.npz", labels=np.array([0, 1, 2, 1, 0], kind))
        done = ipuc("run", "network.ipu", "--input", given)
        assert done.code == 0, done.err
        said.add(done.out)
    assert len(said) == 1


def test_random_labels_are_classes_of_the_model(ipuc: Run, network: Path) -> None:
    train(ipuc, network)
    for words in (
        (),
        ("--input", "random:3"),
        ("--input", "x=random:0", "--input", "labels=random:1"),
    ):
        done = ipuc("run", "network.ipu", *words)
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("words", "told", "where", "fix"),
    [
        (("--loss", "y"), "a loss is one floating point number", 'output "y"', "or mse"),
        (("--loss", "crossentropy"), "no loss is called", "--loss", "did you mean cross-entropy?"),
        (("--freeze", "hiden*"), 'no weight is called "hiden*"', "--freeze", "hidden.bias"),
        (("--train-only", "foo"), 'no weight is called "foo"', "--train-only", "head.weight"),
        (("--freeze", "*"), "nothing is trainable: 3 weights", "--train", "freeze fewer"),
        (("--optimizer", "sdg"), 'no optimizer is called "sdg"', "--optimizer", "mean sgd"),
        (("--optimizer", "sgd:0.1"), 'sgd takes no "0.1"', "--optimizer", "sgd:lr=0.1"),
        (("--optimizer", "sgd:lr=x"), '"lr=x" gives no finite', "--optimizer", "sgd:lr=0.01"),
        (("--optimizer", "adam:beta=1"), 'no "beta"', "--optimizer", "adam takes lr, beta1"),
        (("--optimizer", "adam:beta1=1"), "is below 1", "--optimizer", "adam:beta1=0.9"),
        (("--optimizer", "none:lr=1"), 'none takes no "lr"', "--optimizer", "none alone"),
        (("--loss-scale", "big"), '"big" gives no finite', "--loss-scale", "--loss-scale 256"),
        (("--loss-scale", "0"), "a loss scale is above 0", "--loss-scale", "or auto"),
    ],
)
def test_wrong_options(
    ipuc: Run, network: Path, words: tuple[str, str], told: str, where: str, fix: str
) -> None:
    done = ipuc("compile", network, "--batch", 5, "--target", "tiny", "--train", *words)
    assert done.code == 1
    assert done.out == ""
    assert told in done.err
    assert f"where: {where}" in done.err
    assert fix in done.err.partition("fix: ")[2]
    assert not network.with_suffix(".ipu").exists()


def test_training_options_without_train(ipuc: Run, network: Path) -> None:
    done = ipuc("compile", network, "--batch", 5, "--optimizer", "sgd")
    assert done.code == 1
    assert "fix: add --train" in done.err


def small(
    folder: Path, *nodes: tuple[str, list[str], str], out: dict[str, list[int] | None]
) -> Path:
    """A model of nodes (operator, inputs, output) that are named after their output."""
    made = [helper.make_node(op, names, [out], name=f"the {out}") for op, names, out in nodes]
    weights = {
        "w": np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32),
        "one": np.ones((4, 1), np.float32),
    }
    read = {name for _, names, _ in nodes for name in names}
    held = {name: array for name, array in weights.items() if name in read}
    return save_model(folder / "small.onnx", made, {"x": [5, 3]}, out, held)


def refused(ipuc: Run, path: Path, *words: object) -> str:
    done = ipuc("compile", path, "--target", "tiny", "--train", *words)
    assert done.code == 1
    assert done.out == ""
    return done.err


def test_a_model_without_weights(ipuc: Run, folder: Path) -> None:
    said = refused(ipuc, small(folder, ("Relu", ["x"], "y"), out={"y": [5, 3]}))
    assert "nothing is trainable: the model has no weights" in said


def test_an_operator_without_a_gradient_on_the_way_is_named(
    ipuc: Run, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operator may lack one; here it is Relu. What lies behind it can still be trained."""
    monkeypatch.setattr(Relu, "gradient", Op.gradient)
    said = refused(ipuc, network, "--batch", 5)
    assert "1 node on the way of the gradients has none" in said
    assert 'Relu node "relu", on the way to "h": its gradient is not known' in said
    assert "--freeze PATTERN" in said
    assert "trained: 1 weight" in train(ipuc, network, "--freeze", "hidden.*")


def test_a_loss_that_depends_on_nothing_that_is_trained(ipuc: Run, network: Path) -> None:
    path = small(
        network.parent,
        ("MatMul", ["x", "w"], "h"),
        ("MatMul", ["h", "one"], "z"),
        out={"h": [5, 4], "z": [5, 1]},
    )
    assert "the loss depends on no weight that is trained" in refused(ipuc, path, "--freeze", "w")


def test_cross_entropy_wants_classes_along_axis_1(ipuc: Run, folder: Path) -> None:
    product = ("MatMul", ["x", "w"], "h")
    one = small(folder, product, ("MatMul", ["h", "one"], "y"), out={"y": [5, 1]})
    said = refused(ipuc, one)
    assert "cross-entropy chooses between classes along axis 1, and float32[5x1] has 1" in said
    assert "--loss mse" in said
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Softmax", ["h"], ["y"], name="over rows", axis=0),
    ]
    weight = {"w": np.ones((3, 4), np.float32)}
    path = save_model(folder / "rows.onnx", nodes, {"x": [5, 3]}, {"y": [5, 4]}, weight)
    said = refused(ipuc, path)
    assert "it is not along axis 1 of float32[5x4]" in said
    assert 'where: Softmax node "over rows"' in said


# -- what is said -----------------------------------------------------------------------------


def test_compile_says_what_is_trained_and_on_what(ipuc: Run, network: Path) -> None:
    said = train(ipuc, network, "--freeze", "hidden.*")
    assert 'training step: loss cross-entropy of "y", optimizer sgd:lr=0.01' in said
    assert "labels: int64[5], classes 0 to 2" in said
    assert "trained: 1 weight: head.weight" in said
    assert "frozen: 2 weights: hidden.weight, hidden.bias" in said


def test_other_outputs_are_told_and_left_out(ipuc: Run, folder: Path) -> None:
    path = small(
        folder,
        ("MatMul", ["x", "w"], "h"),
        ("Softmax", ["h"], "y"),
        ("MatMul", ["h", "one"], "z"),
        out={"y": [5, 4], "z": [5, 1]},
    )
    said = train(ipuc, path)
    assert 'loss cross-entropy of "h"' in said
    assert "outputs of the model that a step does not give: z" in said
    assert "not trained, as no gradient reaches them: 1 weight: one" in said
    said = train(ipuc, path, "--loss", "mse")
    assert 'loss mse of "y"' in said
    assert "labels: float32[5x4]" in said


def test_a_loss_of_the_model_needs_no_labels(ipuc: Run, folder: Path) -> None:
    path = small(
        folder,
        ("MatMul", ["x", "w"], "h"),
        ("ReduceSumSquare", ["h"], "loss"),
        out={"h": [5, 4], "loss": [1, 1]},
    )
    said = train(ipuc, path, "--loss", "loss")
    assert "training step: loss loss, optimizer" in said
    assert "labels" not in said
    assert ipuc("run", "small.ipu").code == 0
    assert "use --loss loss" in refused(ipuc, path)
