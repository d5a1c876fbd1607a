"""ipuc: compile an ONNX model for the Graphcore IPU, run it on an emulated chip, draw it.

The names below are what a person needs to author a tile program by hand; docs/programming.md
walks through them.
"""

from ipuc.codelets.define import Batch, Codelet, Example, In, InOut, Out
from ipuc.emulator.run import run
from ipuc.emulator.strict import run as run_strict
from ipuc.errors import IpucError, ProgramError
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import Tensor, concat, fill
from ipuc.target import Target, parse_target
from ipuc.version import __version__

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
