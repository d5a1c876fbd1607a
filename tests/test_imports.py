"""Who may import what: the contracts in pyproject.toml hold, cover everything, and can fail."""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ipuc

ROOT = Path(ipuc.__file__).parents[1]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = {one["id"]: one for one in SETTINGS["tool"]["importlinter"]["contracts"]}

#: Libraries with few doors, and the modules that are doors.
DOORS = {
    "onnx": {"importer", "graph", "zoo", "backend", "check"},
    "click": {"cli", "__main__"},
    "pillow": {"render", "image"},
    "networkx": {"render"},
}


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
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, line: str, broken: str) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "ipuc", tmp_path / "ipuc", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / "ipuc" / file
    changed.write_text(changed.read_text("utf-8") + line, "utf-8")
    done = _lint(tmp_path)
    assert done.returncode != 0
    verdicts = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert [row.startswith(broken) for row in verdicts] == [True]


def test_every_module_is_either_a_door_or_kept_away() -> None:
    modules = {one.name for one in pkgutil.iter_modules(ipuc.__path__)}
    for library, doors in DOORS.items():
        kept_away = {name.removeprefix("ipuc.") for name in CONTRACTS[library]["source_modules"]}
        assert kept_away == modules - doors
