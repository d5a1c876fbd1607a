"""The program `ipuc`, also as `python -m ipuc`."""

import sys

#: Ended by Ctrl-C, as in `ipuc.cli.guard`, which is not imported yet when this matters.
_STOPPED = 130


def run() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends it quietly.

    Returns:
        The exit code.
    """
    try:
        from ipuc.cli import main  # noqa: PLC0415 - what may be interrupted is the import

        code: int = main(prog_name="ipuc", standalone_mode=False)
    except KeyboardInterrupt:
        return _STOPPED
    return code


if __name__ == "__main__":
    sys.exit(run())
