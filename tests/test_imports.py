"""Who may import what: the contracts in pyproject.toml hold, and can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ipuc

ROOT = Path(ipuc.__file__).parents[1]

_LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(no_cache=True))
"""


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _LINT],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_goes_down() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("emulator/run.py", "import ipuc.ops.relu\n", "Floors"),
        ("render/paint.py", "import ipuc.importer.load\n", "Floors"),
        ("emulator/run.py", "import onnx\n", "onnx only"),
        ("pipeline.py", "import click\n", "click only"),
        ("check/compare.py", "import PIL.Image\n", "Pillow only"),
        ("cli/facts.py", "import networkx\n", "networkx only"),
        ("newcomer.py", "import math\n", "Floors"),
        ("program/newcomer.py", "import onnx\n", "onnx only"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, line: str, broken: str) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "ipuc", tmp_path / "ipuc", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / "ipuc" / file
    with changed.open("a", encoding="utf-8") as stream:
        stream.write(line)
    done = _lint(tmp_path)
    assert done.returncode != 0
    verdicts = [row for row in done.stdout.splitlines() if " BROKEN" in row]
    assert [row.startswith(broken) for row in verdicts] == [True]
