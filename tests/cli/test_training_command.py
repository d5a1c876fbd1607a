"""Training on the command line: what is said, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, save_model
from onnx import helper


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
