"""docs/programming.md: its code runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import ipuc

PAGE = Path(__file__).parents[2] / "docs" / "programming.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# file: (\S+)\n")


def _blocks() -> list[tuple[str, str]]:
    return FENCE.findall(PAGE.read_text(encoding="utf-8"))


def test_the_code_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {"__name__": "__main__"}
    printed, compared, files = "", 0, []
    for kind, text in _blocks():
        if kind == "text":
            assert printed == text
            printed, compared = "", compared + 1
            continue
        assert kind == "python"
        assert printed == "", "the page hides what the code prints"
        if file := FILE.match(text):
            (tmp_path / file[1]).write_text(text, encoding="utf-8")
            files.append(file[1].removesuffix(".py"))
            continue
        with contextlib.redirect_stdout(io.StringIO()) as caught:
            exec(compile(text, str(PAGE), "exec"), names)
        printed = caught.getvalue()
    for name in files:
        sys.modules.pop(name)
    assert printed == ""
    assert compared == 3
    assert files == ["axpy"]


def test_the_program_is_about_thirty_lines() -> None:
    programs = [text for kind, text in _blocks() if kind == "python" and "graph.build" in text]
    lines = [line for line in programs[0].splitlines() if line.strip()]
    assert 20 <= len(lines) <= 35


def test_every_public_name_exists() -> None:
    for name in ipuc.__all__:
        assert getattr(ipuc, name) is not None
