"""What ipuc says when something is wrong: what, where in the model, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IpucError(Exception):
    """A fault the user can act on; the command line prints it without a traceback.

    Attributes:
        what: what was expected and what was found.
        where: ONNX node, tensor, file, tile or step; empty if the whole input is meant.
        fix: the next thing to do; empty if there is none.
        exit_code: the process's exit code.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ImportFailure(IpucError):
    """The model file cannot be read as the model it claims to be."""


class UnsupportedOp(IpucError):
    """One or more nodes cannot be compiled; all of them are listed."""


class ShapeError(IpucError):
    """A shape or dtype does not agree with what the operator or the input asks for."""


class ValueRangeError(IpucError):
    """A value does not fit the number format that tiles carry."""


class OptionError(IpucError):
    """A command-line option or API argument is out of range or unknown."""


class ProgramError(IpucError):
    """A program breaks one of Poplar's rules."""


class ContainerError(IpucError):
    """A file of ours or of arrays cannot be read as such, is damaged, or cannot be written."""


class TooLarge(IpucError):
    """Expanding this input would take more memory than the limit allows."""


class OutOfTileMemory(IpucError):
    """The program does not fit the target's tile memory."""

    exit_code = 3


class InternalError(IpucError):
    """A fault of ours; the command line asks for a report."""

    exit_code = 70


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Name the known words closest to a misspelt one, for the `fix` of an error.

    Returns:
        "Did you mean a, b?", or a list of what exists if nothing is close.
    """
    words = sorted(set(known))
    close = difflib.get_close_matches(name, words, n=count, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    shown = ", ".join(words[:12]) + (", ..." if len(words) > 12 else "")
    return f"known: {shown}"
