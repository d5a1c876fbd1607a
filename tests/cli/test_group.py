"""Help, usage, and how faults become exit codes."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_models import Run, run

from ipuc.cli import guard
from ipuc.cli.group import COMMANDS, Commands, main
from ipuc.cli.options import parse_shape
from ipuc.cli.output import Progress, readable_seconds
from ipuc.errors import InternalError, IpucError, OptionError, OutOfTileMemory

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_help_lists_every_command_without_importing_it(ipuc: Run) -> None:
    done = ipuc("--help")
    assert done.code == 0
    code = "import sys; import ipuc.cli; print([m for m in sys.modules if m.endswith('_command')])"
    found = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
    for name, line in COMMANDS.items():
        assert f"{name:<8} {line}" in done.out


def test_the_list_says_what_the_commands_say() -> None:
    assert isinstance(main, Commands)
    ctx = click.Context(main)
    for name, line in COMMANDS.items():
        command = main.get_command(ctx, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200) == line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_examples(ipuc: Run, name: str) -> None:
    done = ipuc(name, "--help")
    assert done.code == 0
    assert f"ipuc {name}" in done.out
    assert "--debug" in done.out
    assert "--json" in done.out


@pytest.mark.parametrize(
    "words",
    [
        ["compil"],
        ["compile"],
        ["compile", "x.onnx", "--granularity", "huge"],
        ["compile", "x.onnx", "--max-bytes", "many"],
        ["compile", "x.onnx", "--max-bytes", "1e999"],
        ["compile", "x.onnx", "--max-bytes", "1e99"],
        ["compile", "x.onnx", "--max-bytes", "9" * 5000],
        ["compile", "x.onnx", "--max-bytes", "0.5"],
        ["render", "--size", "3"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(ipuc: Run, words: list[str]) -> None:
    done = ipuc(*words)
    assert done.code == 2
    assert "Usage: " in done.err
    assert done.out == ""


def test_a_misspelt_command_is_answered() -> None:
    assert "did you mean render" in run("rendr").err


def _guarded(error: BaseException, *, debug: bool = False) -> int:
    def action() -> None:
        raise error

    return guard.guarded(action, guard.State(debug=debug))


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OptionError("what", where="here", fix="so"), 1, "error: what\n  where: here\n  fix: so"),
        (OutOfTileMemory("too much"), 3, "too much"),
        (InternalError("a slip"), 70, "please report it"),
        (ZeroDivisionError("division by zero"), 70, "ZeroDivisionError: division by zero"),
        (RecursionError("deep"), 70, "please report it"),
        (MemoryError("Unable to allocate 1 TiB"), 1, "not enough memory: Unable to allocate 1 TiB"),
        (OSError(errno.ENOSPC, "No space left", "out.png"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "a.npz"), 1, "a.npz"),
        (KeyboardInterrupt(), 130, "stopped"),
        (click.exceptions.Abort(), 130, "stopped"),
    ],
)
def test_a_fault_becomes_words_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    assert _guarded(error) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert _guarded(ZeroDivisionError("x"), debug=True) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "info", "none"], ["info", "none", "--debug"]])
def test_debug_works_before_and_after_the_command(ipuc: Run, words: list[str]) -> None:
    done = ipuc(*words)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "error: there is no such file" in done.err


def test_names_from_a_file_do_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _guarded(IpucError("tensor \x1b[2J of größe")) == 1
    assert "tensor \\x1b[2J of größe" in capsys.readouterr().err


def test_python_m_ipuc_and_a_closed_pipe(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ipuc", "targets"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    message = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() in (0, 1)
    assert "error" not in message
    assert "Traceback" not in message
    assert "Exception ignored" not in message


def test_progress_shows_on_a_terminal_only(program: Path, folder: Path) -> None:
    assert program.exists()
    words = [sys.executable, "-m", "ipuc", "compile", "relu.onnx", "--target", "tiny"]
    piped = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    assert b"%" not in piped.stderr
    ours, theirs = pty.openpty()
    done = subprocess.run(
        words, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=theirs, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "load" in shown
    assert "100%" in shown
    assert b"%" not in done.stdout


def test_a_progress_bar_never_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    bar = Progress()
    for done in (1, 3, 2, 4):
        bar("stage", done, 4)
    bar("next", 0, 0)
    bar.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 seconds"), (1, "1 second"), (61, "1 minute"), (7300, "2 hours"), (1e6, "11 days")],
)
def test_ages(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


def test_shapes() -> None:
    assert parse_shape("x=1x3x224x224") == ("x", (1, 3, 224, 224))
    assert parse_shape("a=b=1,3") == ("a=b", (1, 3))
    assert parse_shape("x=7") == ("x", (7,))
    assert parse_shape("x=scalar") == ("x", ())
    for text in ("x", "x=", "x=1x", "x=-1", "1x3", "x=1.5", "x=1x²", "x=٣", "x=" + "9" * 5000):
        with pytest.raises(OptionError, match="is no shape"):
            parse_shape(text)
