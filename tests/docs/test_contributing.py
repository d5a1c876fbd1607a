"""CONTRIBUTING.md: its diffs apply, its checks pass, and without the diffs they fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SECTIONS: dict[str, str] = dict(
    re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORKED = ("A codelet", "An operator", "A pass", "A target")


def blocks(title: str, kind: str) -> list[str]:
    return [text for found, text in FENCE.findall(SECTIONS[title]) if found == kind]


def run(folder: Path, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    # The copy is no repository; one above it must not catch what is meant for it.
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    return subprocess.run(
        words,
        cwd=folder,
        input=given,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without what the page adds."""
    folder = tmp_path_factory.mktemp("plain")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ipuc", folder / "ipuc", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "contract", folder / "tests" / "contract", ignore=ignored)
    for name in (
        "conftest.py",
        "gradient_check.py",
        "onnx_cases.py",
    ):  # what the contract tests share with others
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in re.findall(r"^new file mode.*\n--- /dev/null\n\+\+\+ b/(\S+)", PAGE, re.MULTILINE):
        # The page may go on showing what the package has learnt since.
        (folder / path).unlink(missing_ok=True)
    return folder


@pytest.fixture(scope="module")
def extended(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy with all diffs of the page applied."""
    folder = tmp_path_factory.mktemp("extended") / "house"
    shutil.copytree(plain, folder)
    for title in WORKED:
        for diff in blocks(title, "diff"):
            done = run(folder, "git", "apply", "--verbose", given=diff)
            assert done.returncode == 0, f"{title}: {done.stderr}"
    return folder


@pytest.mark.parametrize("title", WORKED[1:])
def test_the_check_passes_with_the_diff_and_fails_without(
    title: str, plain: Path, extended: Path
) -> None:
    (check,) = blocks(title, "python")
    done = run(extended, sys.executable, "-W", "error", "-c", check)
    assert done.returncode == 0, done.stderr
    assert run(plain, sys.executable, "-c", check).returncode != 0


def test_the_contract_tests_find_the_codelet(extended: Path) -> None:
    (line,) = blocks("A codelet", "sh")
    words = line.split()
    assert words[:3] == ["python", "-m", "pytest"]
    done = run(extended, sys.executable, *words[1:], "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 10


def test_what_is_added_keeps_the_house_rules(extended: Path) -> None:
    files = re.findall(r"^\+\+\+ b/(\S+\.py)$", PAGE, re.MULTILINE)
    assert len(files) >= 5
    for words in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = run(extended, sys.executable, "-m", "ruff", *words, *files)
        assert done.returncode == 0, done.stdout


def test_the_floors_are_those_of_the_contract() -> None:
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    (listed,) = re.findall(r"^layers = \[\n(.*?)^\]", settings, re.MULTILINE | re.DOTALL)
    required = re.sub(r"\(\w+\)", "", listed)
    names = set(re.findall(r"\w+", required)) - {"__main__"}
    told = set(re.findall(r"`(\w+)`", SECTIONS["How the house is built"].split("\n\nRules")[0]))
    assert names <= told
