"""Training on the command line: what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper

from ipuc.npz import write_arrays


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
