"""What the tests of the command line share: a folder of one's own, and small models in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, run, save_model
from onnx import helper


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ipuc() -> Run:
    """Run `ipuc` with these words."""
    return run


@pytest.fixture
def relu(folder: Path) -> Path:
    """y = max(x, 0) on float32[2, 3]."""
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    return save_model(folder / "relu.onnx", [node], {"x": [2, 3]}, {"y": [2, 3]})


@pytest.fixture
def classes(folder: Path) -> Path:
    """A class vector: y = x @ w, float32[1, 4] to float32[1, 12]; its weights are "random"."""
    weight = np.arange(48, dtype=np.float32).reshape(4, 12) / 8
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    notes = {"ipuc.labels": "class numbers mean nothing: the weights are random"}
    return save_model(
        folder / "classes.onnx", [node], {"x": [1, 4]}, {"y": [1, 12]}, {"w": weight}, notes
    )


@pytest.fixture
def open_batch(folder: Path) -> Path:
    """y = max(x, 0) on float32[N, 3]."""
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    return save_model(folder / "open.onnx", [node], {"x": ["N", 3]}, {"y": ["N", 3]})


@pytest.fixture
def program(ipuc: Run, relu: Path, folder: Path) -> Path:
    """relu.ipu in the current folder."""
    done = ipuc("compile", relu, "--target", "tiny")
    assert done.code == 0, done.err
    return folder / "relu.ipu"
