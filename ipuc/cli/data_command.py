"""`ipuc data`: data sets to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ipuc.cli.options import debug_option, json_option, out_option
from ipuc.cli.output import next_step, print_json, say, shell_word
from ipuc.cli.paths import settle_output
from ipuc.errors import OptionError
from ipuc.npz import write_arrays

_HELP = """Write a data set to learn from, as a .npz file.

digits: the 1,797 handwritten digits of scikit-learn (8x8 pixels, from 0 to 1), in one fixed mixed
order, so that the samples at the end, which validation takes, come from all writers.

\b
Examples:
  ipuc data digits
  ipuc train digits.onnx --data digits.npz
"""

#: Seed of the order.
_ORDER = 0


@click.command("data", help=_HELP)
@click.argument("name", type=click.Choice(["digits"]))
@out_option("The file to write.  [default: NAME.npz in the current folder]")
@json_option
@debug_option
def command(name: str, out: Path | None, as_json: bool) -> None:
    """Write the samples."""
    path = settle_output(out, f"{name}.npz")
    arrays = digits()
    write_arrays(path, arrays)
    if as_json:
        print_json({"name": name, "path": str(path), "samples": len(arrays["labels"])})
        return
    say(f"{path}: {len(arrays['labels']):,} samples, 1x8x8 pixels, labels 0 to 9")
    next_step(
        f"ipuc model digits   and then   ipuc train digits.onnx --data {shell_word(str(path))}"
    )


def digits() -> dict[str, NDArray[Any]]:
    """The digits of scikit-learn: input float32[1797, 1, 8, 8] from 0 to 1, labels, classes.

    Raises:
        OptionError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415  # only this command needs it
    except ImportError:
        raise OptionError(
            "the digits come with scikit-learn, which is not installed",
            fix="pip install scikit-learn",
        ) from None
    found = load_digits()
    mixed = np.random.default_rng(_ORDER).permutation(len(found.target))
    return {
        "input": (found.images / 16).astype(np.float32)[mixed, None],
        "labels": found.target[mixed].astype(np.int64),
        "classes": np.array([str(number) for number in range(10)]),
    }
