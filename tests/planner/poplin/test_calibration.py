"""The calibration script: any file of its form is read, predicted and written."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import ipuc
from ipuc.planner.poplin.executed import matmul_layer
from ipuc.target import CATALOGUE

ROOT = Path(ipuc.__file__).parents[1]
HEAD = "target,kind,name,params,cycles,total_memory_B,max_tile_memory_incl_gaps_B"
ROWS = (
    "Mk1,gemm,product,--m 20 --k 64 --n 300,5000,1000000,131096",
    (
        'Mk2,conv,window,"--field {9,9} --kernel-size {1,3} --padding {0,1} --input-channels 4 '
        '--output-channels 8",20000,1000000,213016'
    ),
    "Mk1,fc,unreadable,--input-size 10,5000,1000000,131096",
    "Mk1,lstm,recurrent,--sequence-size 5,5000,1000000,131096",
)


def test_a_file_of_figures_is_predicted(tmp_path: Path) -> None:
    given, made = tmp_path / "figures.csv", tmp_path / "predicted.csv"
    given.write_text("\n".join((HEAD, *ROWS)) + "\n", "utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "ipumodel.py", given, "--out", made],
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
