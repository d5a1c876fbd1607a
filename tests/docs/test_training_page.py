"""docs/training.md: its commands run, its code runs and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipuc.cli import main
from ipuc.training.options import LOSSES, OPTIMIZERS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "training.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(PAGE.read_text(encoding="utf-8"))


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (text,) = (text for kind, text in BLOCKS if kind == "sh")
    for line in text.splitlines():
        command, *words = line.split()
        assert command == "ipuc"
        done = CliRunner().invoke(main, words, prog_name="ipuc")
        assert done.exit_code == 0, f"{line}\n{done.stderr}"
    assert (tmp_path / "step.onnx").exists()
    assert (tmp_path / "step.npz").exists()


def test_the_code_prints_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    printed = ""
    for kind, text in BLOCKS:
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as caught:
                exec(compile(text, str(PAGE), "exec"), names)
            printed = caught.getvalue()
        elif kind == "text":
            assert printed == text


def test_every_loss_and_optimizer_is_told() -> None:
    page = PAGE.read_text("utf-8")
    assert all(f"`{name}`" in page or f"{name}`" in page for name in (*LOSSES, *OPTIMIZERS))
