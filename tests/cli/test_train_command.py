"""`ipuc data` and `ipuc train` as a user calls them."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.lib import format as npy
from PIL import Image

from ipuc.cli.group import main
from ipuc.npz import read_arrays, write_arrays

MODELS = Path(__file__).parents[2] / "models"
FAST = ("--target", "tiny", "--batch", "64", "--epochs", "2", "--optimizer", "adam:lr=0.01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits, and the seeded model."""
    made = tmp_path_factory.mktemp("train")
    assert main(["data", "digits", "-o", str(made)], standalone_mode=False) == 0
    assert main(["model", "digits", "-o", str(made)], standalone_mode=False) == 0
    arrays = read_arrays(made / "digits.npz")
    few = {name: array[:400] for name, array in arrays.items() if name != "classes"}
    write_arrays(made / "few.npz", {**few, "classes": arrays["classes"]})
    return made


def ipuc(*words: str | Path) -> int:
    return int(main([str(word) for word in words], standalone_mode=False))


def test_the_digits(folder: Path) -> None:
    from sklearn.datasets import load_digits  # noqa: PLC0415

    arrays = read_arrays(folder / "digits.npz")
    assert arrays["input"].shape == (1797, 1, 8, 8)
    theirs = load_digits()
    mine = sorted(map(bytes, (arrays["input"] * 16).astype(np.uint8)))
    assert mine == sorted(map(bytes, theirs.images.astype(np.uint8)))
    np.testing.assert_array_equal(np.bincount(arrays["labels"]), np.bincount(theirs.target))


def test_learning(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trained file answers in onnxruntime; table and curve are there; run names the class."""
    out, table, curve = tmp_path / "t.onnx", tmp_path / "t.csv", tmp_path / "t.png"
    code = ipuc(
        "train", folder / "digits.onnx", "--data", folder / "few.npz", *FAST,
        "--csv", table, "--curve", curve, "-o", out,
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "epoch 2/2: loss" in said.out
    assert "on the chip (modelled)" in said.out
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    assert [row["step"] for row in rows] == [str(n) for n in range(1, 11)]
    assert {row["lr"] for row in rows} == {"0.01"}
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    with Image.open(curve) as picture:
        assert picture.size == (1600, 900)
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    said_of = {one.key: one.value for one in model.metadata_props}
    assert json.loads(said_of["ipuc.classes"]) == [str(n) for n in range(10)]
    assert "ipuc.labels" not in said_of
    session = onnxruntime.InferenceSession(out)
    x = read_arrays(folder / "few.npz")["input"][:1]
    (scores,) = session.run(None, {"input": x})
    np.save(tmp_path / "x.npy", x)
    assert ipuc("run", out, "--input", tmp_path / "x.npy") == 0
    powers = np.exp(scores[0].astype(np.float64))
    best = int(powers.argmax())
    wanted = f"{best} ({powers[best] / powers.sum():.1%})".replace("%", " %")
    assert wanted in capsys.readouterr().out


def test_resume_finds_the_same_end(folder: Path, tmp_path: Path) -> None:
    model, data = folder / "digits.onnx", folder / "few.npz"
    saved, one, two = tmp_path / "saved", tmp_path / "one.onnx", tmp_path / "two.onnx"
    words = ("train", model, "--data", data, *FAST, "--shuffle", "7")
    assert ipuc(*words, "-o", one) == 0
    shorter = [w if w != "2" else "1" for w in words]
    assert ipuc(*shorter, "--checkpoint", saved, "-o", two) == 0
    assert ipuc(*words, "--checkpoint", saved, "--resume", "-o", two) == 0
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    """A checkpoint of a whole step, exit code 130, and a word on how to go on."""
    words = ["train", str(folder / "digits.onnx"), "--data", str(folder / "few.npz"), "--target",
             "tiny", "--epochs", "1000", "--checkpoint", str(tmp_path / "saved"), "--every", "1",
             "-o", str(tmp_path / "t.onnx")]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(MODELS.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "ipuc", *words], stderr=subprocess.PIPE, text=True, env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("saved/step-*.npz")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in said
    assert not (tmp_path / "t.onnx").exists()


def test_a_disk_that_fills_up(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first checkpoint stays, nothing half-written does."""
    written = 0
    plain = npy.write_array

    def write(stream: Any, array: Any, **rest: Any) -> None:
        nonlocal written
        written += 1
        if written > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(stream, array, **rest)

    monkeypatch.setattr(npy, "write_array", write)
    saved = tmp_path / "saved"
    code = ipuc("train", folder / "digits.onnx", "--data", folder / "few.npz", *FAST,
                "--checkpoint", saved, "--every", "1", "-o", tmp_path / "t.onnx")  # fmt: skip
    said = capsys.readouterr().err
    assert code == 1
    assert "No space left" in said
    assert "--resume" in said
    found = sorted(path.name for path in saved.iterdir())
    assert found
    assert all(name.startswith("step-") for name in found)
    assert f"the last good one is {found[-1]}" in said
    assert read_arrays(saved / found[-1])


BAD = [
    (["--checkpoint", "no/such/folder"], "cannot be made"),
    (["--resume"], "--resume needs --checkpoint"),
    (["--shuffle", "x"], "no seed"),
    (["--optimizer", "none"], "nothing is learnt"),
    (["--data", "missing.npz"], "no such file"),
    (["--validation", "1.5"], "--validation"),
    (["--curve", "no/such/folder.png"], "no such folder"),
]


@pytest.mark.parametrize(
    ("words", "told"), BAD, ids=lambda v: "-".join(v) if isinstance(v, list) else ""
)
def test_bad_options(
    folder: Path,
    tmp_path: Path,
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "t.onnx"
    code = ipuc("train", folder / "digits.onnx", "--data", folder / "few.npz", "-o", out, *words)
    assert code in (1, 2)
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_the_model_is_written_though_the_table_cannot_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A name of 255 bytes is the longest there is, so its neighbour cannot be made.
    table = tmp_path / f"{'t' * 251}.csv"
    out = tmp_path / "t.onnx"
    code = ipuc("train", folder / "digits.onnx", "--data", folder / "few.npz", *FAST,
                "--csv", table, "-o", out)  # fmt: skip
    assert code == 1
    assert "the table of losses cannot be written" in capsys.readouterr().err
    onnx.checker.check_model(onnx.load(out), full_check=True)


def test_only_json_on_stdout(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ipuc("train", folder / "digits.onnx", "--data", folder / "few.npz", *FAST, "--json",
                "--validation", "0", "-o", tmp_path / "t.onnx")  # fmt: skip
    said = capsys.readouterr()
    assert code == 0
    found = json.loads(said.out)
    assert found["steps"] == 2 * (400 // 64)
    assert found["epochs"] == []
    assert found["emulator"]["epoch_seconds"] > 0
    assert "the last batch of an epoch is left out: it has 16 of 64 samples" in said.err


NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("number", range(10))
def test_the_committed_digits(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The file in models/ has been trained; onnxruntime finds the same class and probability."""
    path = MODELS / f"{NAMES[number]}.png"
    assert ipuc("run", MODELS / "digits", "--input", path, "--target", "tiny") == 0
    said = capsys.readouterr().out
    with Image.open(path) as picture:
        x = np.asarray(picture, np.float32)[None, None] / 255
    (scores,) = onnxruntime.InferenceSession(MODELS / "digits.onnx").run(None, {"input": x})
    powers = np.exp(scores[0].astype(np.float64) - scores.max())
    chance = powers[number] / powers.sum()
    assert scores[0].argmax() == number
    assert said.startswith(f"{number} ({chance:.1%})".replace("%", " %"))
