"""Before the command line is ready."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

import ipuc
from ipuc.__main__ import run
from ipuc.emulator import strict


def test_every_offered_name_is_there() -> None:
    for name in ipuc.__all__:
        assert getattr(ipuc, name) is not None
    assert ipuc.run_strict is strict.run
    with pytest.raises(AttributeError, match="nothing"):
        ipuc.nothing  # noqa: B018 - asking is the test


def test_the_package_itself_imports_nothing_large() -> None:
    look = "import sys, ipuc.__main__; sys.exit('numpy' in sys.modules or 'click' in sys.modules)"
    root = Path(ipuc.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", look], check=False, cwd=root).returncode == 0


class _Stopping(types.ModuleType):
    """A module during whose import somebody presses Ctrl-C."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt(name)


def test_ctrl_c_during_the_imports_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ipuc.cli", _Stopping("ipuc.cli"))
    assert run() == 130
    assert capsys.readouterr() == ("", "")
