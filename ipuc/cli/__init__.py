"""The command line: `ipuc COMMAND`, and `python -m ipuc`.

A command's module is imported when the command is used, so that `ipuc --help` does not wait for
the compiler to load.
"""

from ipuc.cli.group import main

__all__ = ["main"]
