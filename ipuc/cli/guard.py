"""One place where faults become words and exit codes.

Exit codes: 0 done; 1 model or options; 2 usage; 3 the program does not fit; 70 a fault of ipuc;
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import click

from ipuc.errors import InternalError, IpucError

#: Ended by Ctrl-C: 128 + SIGINT, as shells report it.
STOPPED = 130

_FULL = (errno.ENOSPC, errno.EDQUOT)

_REPORT = (
    "this is a fault of ipuc: please report it with the output of the same command and --debug"
)


@dataclass(slots=True)
class State:
    """What all commands of one invocation share; click's `ctx.obj`.

    Attributes:
        debug: show tracebacks.
    """

    debug: bool = False


def guarded(action: Callable[[], object], state: State) -> int:
    """Run a command line and turn whatever happens into an exit code.

    Args:
        action: parses and runs; an int that it returns is the exit code.
        state: read when something has gone wrong.

    Returns:
        The process's exit code.
    """
    _accept_any_name()
    code = _attempt(action, state)
    return _flush(code)


def _attempt(action: Callable[[], object], state: State) -> int:
    try:
        code = action()
    except (KeyboardInterrupt, click.exceptions.Abort):
        click.echo("stopped", err=True)
        return STOPPED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit code 70
        if state.debug:
            traceback.print_exception(error)
        fault = explain(error)
        complain(fault)
        return fault.exit_code
    return code if isinstance(code, int) else 0


def _flush(code: int) -> int:
    """Write out what is still buffered; the exit code changes if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The reader of a pipe may have had enough (`ipuc info x | head`): nothing to say.
        if code == 0 and error.errno != errno.EPIPE:
            complain(explain(error))
        if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
            # Send the rest nowhere, or the interpreter would complain when it ends.
            # Source: the note on SIGPIPE in the documentation of Python's `signal` module.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.__stdout__.fileno())
            os.close(nowhere)
        return code or 1
    return code


def explain(error: Exception) -> IpucError:
    """Say in words of ours what an exception means to the user."""
    if isinstance(error, InternalError):
        return InternalError(error.what, where=error.where, fix=error.fix or _REPORT)
    if isinstance(error, IpucError):
        return error
    if isinstance(error, MemoryError):
        detail = f": {error}" if str(error) else ""
        return IpucError(
            f"this machine has not enough memory{detail}",
            fix="close other programs, use a smaller batch or a coarser --granularity",
        )
    if isinstance(error, OSError):
        return _explain_os(error)
    return InternalError(f"{type(error).__name__}: {error}", fix=_REPORT)


def _explain_os(error: OSError) -> IpucError:
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno in _FULL:
        return IpucError(
            "the disk is full; nothing half-written was left behind",
            where=where,
            fix="make room, or write to another disk with -o",
        )
    return IpucError(
        f"the system refused: {error.strerror or error}",
        where=where,
        fix="check that the path exists and that you may read and write there",
    )


def complain(error: IpucError) -> None:
    """Print an error on stderr: what, where, fix."""
    click.echo(click.style("error: ", fg="red", bold=True) + plain(str(error)), err=True)


def plain(text: str) -> str:
    """Show control characters instead of obeying them: names come from files of strangers."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
                   for c in text)  # fmt: skip


def _accept_any_name() -> None:
    """Let a terminal that lacks a character show an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
