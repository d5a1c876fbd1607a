"""`--ipus` and `--shard`: what is written down and reported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_models import Run

from ipuc import zoo
from ipuc.npz import read_arrays

PAIR = ("--target", "tiny", "--ipus", "2", "--shard", "conv2")


@pytest.fixture
def digits(folder: Path) -> Path:
    return zoo.write("digits", folder / "digits.onnx")


def test_compile_says_what_goes_where(ipuc: Run, digits: Path) -> None:
    facts = ipuc("compile", digits, *PAIR, "--json").json()
    assert (facts["ipus"], facts["tiles"], facts["tiles_used"]) == (2, 8, 8)
    (first,) = facts["first_layers"]
    # 16 channels of 4 by 4 float32 go on to the second convolution
    assert (first, facts["link_bytes"]) == ("conv2", 1024)
    done = ipuc("info", "digits.ipu")
    line = "2 IPUs, one after another: the next one begins at conv2; 1.02 kB over IPU-Links"
    assert line in done.out
    assert ipuc("info", "digits.ipu", "--json").json()["ipus"] == 2
    one = ipuc("compile", digits, "--target", "tiny", "--json").json()
    assert (one["ipus"], one["tiles"], one["link_bytes"], one["first_layers"]) == (1, 4, 0, [])
    assert "IPU-Links" not in ipuc("info", "digits.ipu").out


def test_the_numbers_are_those_of_one_ipu(ipuc: Run, digits: Path) -> None:
    for out, words in (("one.npz", ()), ("two.npz", ("--ipus", "2", "--shard", "relu2"))):
        done = ipuc("run", digits, "--target", "tiny", *words, "-o", out)
        assert done.code == 0, done.err
    one, two = (read_arrays(Path(name)) for name in ("one.npz", "two.npz"))
    np.testing.assert_array_equal(one["output"], two["output"])
    done = ipuc("verify", digits, "--target", "tiny", "--ipus", "3", "--json")
    assert done.json()["ok"] is True


def test_profile_by_ipu(ipuc: Run, digits: Path) -> None:
    ipuc("compile", digits, *PAIR)
    found = ipuc("profile", "--json").json()
    rows = found["by_ipu"]
    assert [row["ipu"] for row in rows] == [0, 1]
    assert sum(row["cycles"] for row in rows) == found["cycles"]["total"]
    assert found["links"] == [{"from": 0, "to": 1, "bytes": 1024}]
    assert [row["ipu"] for row in found["layers"] if row["cycles"]] == [0] * 3 + [1] * 6
    done = ipuc("profile", "--by", "ipu")
    assert "1.02 kB over IPU-Links: 0 to 1 1.02 kB" in done.out
    assert "2 IPUs, 8 tiles" in done.out
    done = ipuc("profile", "--trace", "t.json", "--trace-tiles", "0,7")
    assert done.code == 0, done.err
    events = json.loads(Path("t.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {event["pid"] for event in events} == {0, 1}


@pytest.mark.parametrize("view", ["tiles", "timeline", "memory", "liveness", "ops", "graph"])
def test_every_picture_of_two_ipus(ipuc: Run, digits: Path, view: str) -> None:
    done = ipuc("render", digits, *PAIR, "--view", view, "--out", "p.png")
    assert done.code == 0, done.err
    assert Path("p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        ("--ipus 0", 2, "1<=x<=16"),
        ("--ipus 17", 2, "1<=x<=16"),
        ("--ipus two", 2, "'two' is not a valid integer"),
        ("--ipus 11", 1, "the model has 10 layers, too few for 11 IPUs"),
        ("--ipus 2 --shard nowhere", 1, 'there is no layer "nowhere"'),
        ("--ipus 2 --shard conv1", 1, '"conv1" is no later layer than the one before it'),
        ("--ipus 3 --shard conv2", 1, "3 IPUs have 2 first layers beside the first, 1 are named"),
        ("--shard memory", 1, "one IPU runs all layers"),
        ("--ipus 1 --shard memory", 1, "one IPU runs all layers"),
        ("--target tiny,ipus=2", 1, "say --ipus N to use several"),
        ("--target tiny,tiles=100000 --ipus 2", 1, "are more than 131072 tiles"),
    ],
)
def test_what_is_refused(ipuc: Run, digits: Path, words: str, code: int, what: str) -> None:
    done = ipuc("compile", digits, *words.split())
    assert (done.code, done.out) == (code, "")
    assert what in done.err
    assert "Traceback" not in done.err
    assert not Path("digits.ipu").exists()


def test_a_compiled_program_stays_on_its_ipus(ipuc: Run, digits: Path) -> None:
    ipuc("compile", digits, *PAIR)
    done = ipuc("run", "digits.ipu", "--ipus", "4", "--shard", "memory")
    assert done.code == 1
    assert "--ipus, --shard: this program is compiled already" in done.err
