"""The calibration script: any file of its form is read, predicted and written."""

from __future__ import annotations

import csv
import dataclasses
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import ipuc
from ipuc.planner.poplin.executed import matmul_layer
from ipuc.profile import calibration
from ipuc.target import CATALOGUE

ROOT = Path(ipuc.__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "ipumodel.py"
HEAD = "target,kind,name,params,cycles,total_memory_B,max_tile_memory_incl_gaps_B"
ROWS = (
    "Mk1,gemm,product,--m 20 --k 64 --n 300,5000,1000000,131096",
    (
        'Mk2,conv,window,"--field {9,9} --kernel-size {1,3} --padding {0,1} --input-channels 4 '
        '--output-channels 8",20000,1000000,213016'
    ),
    "Mk1,fc,unreadable,--input-size 10,5000,1000000,131096",
    "Mk1,lstm,recurrent,--sequence-size 5,5000,1000000,131096",
    ('Mk2,reduction,rows,"--shape=8,300,4 --dims=1 --type=half --tiles-per-ipu=16",3000,10000,900'),
    "Mk2,reduction,logarithms,--shape=8 --dims=0 --operation=LOG_ADD,3000,10000,900",
    (
        'Mk2,reduction,turned,"--initial-shape=300,8,4 --shuffle=1,0,2 --shape=8,300,4 --dims=1 '
        '--type=half --scale=2.0 --tiles-per-ipu=16",3000,10000,900'
    ),
)


def test_a_file_of_figures_is_predicted(tmp_path: Path) -> None:
    given, made = tmp_path / "figures.csv", tmp_path / "predicted.csv"
    given.write_text("\n".join((HEAD, *ROWS)) + "\n", "utf-8")
    done = subprocess.run(
        [sys.executable, SCRIPT, given, "--out", made, "--write", tmp_path / "errors.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    with made.open(newline="") as file:
        rows = list(csv.DictReader(file))
    statuses = [row["status"] for row in rows]
    assert statuses[:2] == ["ok", "ok"]
    assert statuses[2] == "cannot read the options: 'batch-size'"
    assert statuses[3] == "not modelled"
    want = matmul_layer(CATALOGUE["gc2"], 20, 64, 300)
    assert int(rows[0]["pred_cycles"]) == want.cycles
    assert int(rows[0]["pred_total_memory_B"]) == want.total_memory_bytes
    assert int(rows[0]["pred_max_tile_B"]) == want.max_tile_bytes
    error = f"{100 * abs(want.cycles / 5000 - 1):.1f}%"
    line = next(line for line in done.stdout.splitlines() if line.startswith("gemm"))
    assert line.split() == ["gemm", "Mk1", "1", error, error, error]
    assert rows[3]["pred_cycles"] == ""
    # A reduction is a program of its own: three streams and one superstep at least.
    assert statuses[4] == "ok"
    target = dataclasses.replace(CATALOGUE["gc200"], tiles=16)
    assert target.external_sync_cycles < int(rows[4]["pred_cycles"]) < 10_000
    operand = 8 * 300 * 4 * 2
    assert operand < int(rows[4]["pred_total_memory_B"]) < 2 * operand
    assert statuses[5] == "cannot read the options: operation LOG_ADD is not modelled"
    # A tile holds rows of the turned tensor: fewer of each column, in as many bytes.
    assert statuses[6] == "ok"
    assert rows[6]["pred_cycles"] != rows[4]["pred_cycles"]
    kept = runpy.run_path(str(tmp_path / "errors.py"))
    spread = kept["CYCLES"]["Mk1"]["gemm"]
    off = round(abs(want.cycles / 5000 - 1), 3)
    assert (spread.rows, spread.median, spread.p90) == (1, off, off)
    assert set(kept["MEMORY"]["Mk2"]) == {"conv", "reduction"}
    assert "lstm" not in kept["CYCLES"]["Mk1"]


def test_the_package_has_what_was_measured() -> None:
    """Tables of the same kinds for both generations; errors that anybody may read as per cent."""
    assert list(calibration.CYCLES) == list(calibration.MEMORY) == ["Mk1", "Mk2"]
    assert {"conv", "fc", "gemm", "oct_conv", "pooling", "reduction"} <= set(
        calibration.CYCLES["Mk1"]
    )
    for table in (calibration.CYCLES, calibration.MEMORY):
        for kinds in table.values():
            assert set(kinds) <= set(calibration.CYCLES["Mk1"])
            for spread in kinds.values():
                assert spread.rows > 0
                assert 0 < spread.median <= spread.p90 < 1


def test_module_and_page_are_written_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script, given the errors that are there, writes the very files."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    script = runpy.run_path(str(SCRIPT))
    tables = [
        {
            target: {kind: (s.rows, s.median, s.p90) for kind, s in kinds.items()}
            for target, kinds in table.items()
        }
        for table in (calibration.CYCLES, calibration.MEMORY)
    ]
    module = Path(calibration.__file__).read_text("utf-8")
    assert script["written"](module, tables) == module
    page = script["PAGE"].read_text("utf-8")
    assert script["shown"](page, tables) == page
    conv = calibration.CYCLES["Mk1"]["conv"]
    assert f"| {100 * conv.median:.1f} / {100 * conv.p90:.1f} % |" in page
