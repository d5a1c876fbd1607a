"""Train the digits network, and write it and ten digits that it has not seen into models/.

Usage: python models/train_digits.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
#: Share of the samples that the network does not learn from.
UNSEEN = 0.2


def ipuc(*words: str | Path) -> None:
    """Run a command of ipuc."""
    subprocess.run([sys.executable, "-m", "ipuc", *map(str, words)], check=True)  # noqa: S603


def pictures(data: Path) -> None:
    """Write the first unseen sample of every class, 8x8 pixels as they are."""
    with np.load(data) as arrays:
        images, labels = arrays["input"], arrays["labels"]
    unseen = len(labels) - int(len(labels) * UNSEEN)
    for number, name in enumerate(NAMES):
        at = unseen + int(np.flatnonzero(labels[unseen:] == number)[0])
        grey = np.rint(images[at, 0] * 255).astype(np.uint8)
        Image.fromarray(grey).save(HERE / f"{name}.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder) / "digits.npz", Path(folder) / "digits.onnx"
        ipuc("data", "digits", "-o", data)
        ipuc("model", "digits", "-o", model)
        ipuc(
            *("train", model, "--data", data, "--validation", str(UNSEEN)),
            *("--optimizer", "momentum:lr=0.01", "--epochs", "20", "-o", HERE / "digits.onnx"),
        )
        pictures(data)
