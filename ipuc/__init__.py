"""ipuc: compile an ONNX model for the Graphcore IPU, run it on an emulated chip, draw it.

The names below are what a person needs to author a tile program by hand; docs/programming.md
walks through them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ipuc.version import __version__

if TYPE_CHECKING:
    from ipuc.codelets.define import Batch, Codelet, Example, In, InOut, Out
    from ipuc.emulator.run import run
    from ipuc.emulator.strict import run as run_strict
    from ipuc.errors import IpucError, ProgramError
    from ipuc.program.builder import Builder
    from ipuc.program.program import Program
    from ipuc.program.tensor import Tensor, concat, fill
    from ipuc.target import Target, parse_target

__all__ = [
    "Batch",
    "Builder",
    "Codelet",
    "Example",
    "In",
    "InOut",
    "IpucError",
    "Out",
    "Program",
    "ProgramError",
    "Target",
    "Tensor",
    "__version__",
    "concat",
    "fill",
    "parse_target",
    "run",
    "run_strict",
]

#: Module of every name. They are imported when they are first used: the command line starts with
#: this package too, and Ctrl-C before it is ready must not print a traceback.
_HOMES = {
    "ipuc.codelets.define": ("Batch", "Codelet", "Example", "In", "InOut", "Out"),
    "ipuc.emulator.run": ("run",),
    "ipuc.errors": ("IpucError", "ProgramError"),
    "ipuc.program.builder": ("Builder",),
    "ipuc.program.program": ("Program",),
    "ipuc.program.tensor": ("Tensor", "concat", "fill"),
    "ipuc.target": ("Target", "parse_target"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what this package offers by name.

    Raises:
        AttributeError: it offers no such name.
    """
    if name == "run_strict":
        return importlib.import_module("ipuc.emulator.strict").run
    if name not in _MODULES:
        raise AttributeError(f'module "ipuc" has no attribute "{name}"')
    return getattr(importlib.import_module(_MODULES[name]), name)
