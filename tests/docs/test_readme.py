"""README.md: what it tells a reader to type exists, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from ipuc.cli.group import COMMANDS
from ipuc.pipeline import random_inputs
from ipuc.target import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text("utf-8")


def test_the_python_gives_what_onnxruntime_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten layers of float32: 1e-5 of the largest value is far above rounding, far below a slip."""
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    inputs = random_inputs(names["program"], 0)
    (wanted,) = onnxruntime.InferenceSession("models/digits.onnx").run(None, inputs)
    (found,) = names["outputs"].values()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_every_command_and_target_is_listed() -> None:
    told = set(re.findall(r"^\| `ipuc (\w+)", PAGE, re.MULTILINE))
    assert told == set(COMMANDS)
    for name in CATALOGUE:
        assert f"`{name}`" in PAGE


def test_every_make_word_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in (PAGE, (ROOT / "CONTRIBUTING.md").read_text("utf-8")):
        words = set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE))
        assert words
        assert words <= targets


def test_every_folder_and_page_that_is_named_exists() -> None:
    for path in re.findall(r"`(ipuc/[\w/]+)`", PAGE) + re.findall(
        r"\]\(([\w./]+\.md|LICENSE)\)", PAGE
    ):
        assert (ROOT / path).exists(), path
