"""What `ipuc compile` lists for a program that does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cli_models import Run, only, save_model
from onnx import helper

from ipuc.cli import remedies_text
from ipuc.remedies import Price

Words = tuple[str, ...]


@pytest.fixture
def net(folder: Path) -> Path:
    """A product of 128 x 128 for any number of rows."""
    weight = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
    return save_model(
        folder / "net.onnx", nodes, {"x": ["batch", 128]}, {"y": ["batch", 128]}, {"w": weight}
    )


@pytest.fixture
def tight(ipuc: Run, net: Path, folder: Path) -> Words:
    """A target and a batch with which the product fits in halves, and not in float32."""
    # Interleaved memory begins early, in small elements: no remedy changes the gaps before it.
    tiny = "tiny,interleaved_start_bytes=1024,memory_element_bytes=1024"
    words = ("--target", tiny, "--batch", "8", "--json")
    needs = [
        ipuc("compile", net, *words, "--precision", name).json()["memory"]["max_tile_bytes"]
        for name in ("mixed", "float32")
    ]
    assert needs[0] < needs[1] - 2
    (folder / "net.ipu").unlink()
    return ("--target", f"{tiny},tile_memory_bytes={sum(needs) // 2}", "--batch", "8")


def test_the_flags_of_the_table_do_what_it_says(
    ipuc: Run, net: Path, folder: Path, tight: Words
) -> None:
    done = ipuc("compile", net, *tight)
    assert done.code == 3
    only(folder, "net.ipu", "net.onnx")
    assert done.err.index("does not fit") < done.err.index("trying remedies")
    rows = re.findall(
        r"^  (--\S+ \S+) +(yes|no) +([\d,]+) +[\d,]+ +([\d,]+)", done.out, re.MULTILINE
    )
    assert {flag.split()[0] for flag, *_ in rows} == {
        "--available-memory",
        "--precision",
        "--batch",
    }
    # One layer cannot be shared out.
    assert "--ipus 2: cannot be:" in done.out
    assert rows[0][1] == "yes"
    assert [fits for _, fits, *_ in rows] == sorted((fits for _, fits, *_ in rows), reverse=True)
    for flag, fits, need, cycles in rows:
        option, value = flag.split()
        batch = value if option == "--batch" else "8"
        rest = () if option == "--batch" else (option, value)
        again = ipuc("compile", net, *tight[:3], batch, *rest, "--json", "--no-remedies")
        found = again.json()
        assert again.code == (0 if fits == "yes" else 3)
        assert f"{found['memory']['max_tile_bytes']:,}" == need
        assert f"{found['cycles']:,}" == cycles


def test_json_has_the_remedies_too(ipuc: Run, net: Path, tight: Words) -> None:
    done = ipuc("compile", net, *tight, "--json")
    assert done.code == 3
    found = done.json()
    assert {"--precision mixed", "--batch 4"} <= {one["flag"] for one in found["remedies"]}
    assert any(one["fits"] for one in found["remedies"])
    for words in (("--no-remedies",), ("--precision", "mixed")):
        done = ipuc("compile", net, *tight, "--json", *words)
        assert done.json()["remedies"] is None


def test_none_are_tried_if_they_are_not_wanted(ipuc: Run, net: Path, tight: Words) -> None:
    done = ipuc("compile", net, *tight, "--no-remedies")
    assert done.code == 3
    assert "trying" not in done.err
    assert "remedies, each" not in done.out
    assert "--no-remedies" in done.err


def test_what_was_not_tried_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    late = Price("--precision mixed", why_not="not tried: the time was over")
    tight = Price("--batch 2", False, 900, 800, 1000, 1.25, 0)
    remedies_text.print_remedies([late, tight], 800)
    out = capsys.readouterr().out
    assert "--precision mixed: not tried: the time was over" in out
    assert "1.25" in out
    assert "none of them is enough" in out
