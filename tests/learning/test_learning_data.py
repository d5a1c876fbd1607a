"""What a data set must be, and how samples are ordered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_run import CLASSES, samples

from ipuc.errors import IpucError
from ipuc.learning.data import order, read_data
from ipuc.npz import write_arrays
from ipuc.types import TensorType

INPUTS = {"x": TensorType("float32", (8, 5)), "labels": TensorType("int64", (8,))}


def read(folder: Path, arrays: dict[str, Any], share: float = 0.2) -> Any:
    path = folder / "data.npz"
    write_arrays(path, arrays)
    return read_data(path, INPUTS, CLASSES, share, 1 << 30)


def test_types_are_converted_and_the_last_part_is_kept_back(tmp_path: Path) -> None:
    arrays = samples()
    data = read(
        tmp_path, {"x": arrays["x"].astype(np.float64), "labels": arrays["labels"].astype(np.uint8)}
    )
    assert (data.samples, data.training, data.validation) == (70, 56, 14)
    assert data.arrays["x"].dtype == np.float32
    np.testing.assert_array_equal(data.batch(np.arange(3))["labels"], arrays["labels"][:3])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"labels": None}, 'no "labels"'),
    "lengths": ({"labels": np.zeros(9, np.int64)}, "not of one length"),
    "shape": ({"x": np.zeros((70, 4), np.float32)}, r"give \[samples x 5\]"),
    "nan": ({"x": np.where(np.arange(350) == 22, np.nan, 1.0).reshape(70, 5)}, "is number 4"),
    "low": ({"labels": np.full(70, -1)}, "label -1 is no class"),
    "high": ({"labels": np.full(70, 3)}, "label 3 is no class"),
    "text": ({"x": np.full((70, 5), "a")}, "give numbers"),
    "few": ({"x": np.zeros((9, 5)), "labels": np.zeros(9, int)}, "are left to learn from"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data(tmp_path: Path, case: str) -> None:
    change, words = BAD[case]
    arrays = {name: array for name, array in {**samples(), **change}.items() if array is not None}
    share = 0.5 if case == "few" else 0.2
    with pytest.raises(IpucError) as caught:
        read(tmp_path, arrays, share)
    assert re.search(words, str(caught.value))
    assert caught.value.fix


@given(st.integers(1, 300), st.integers(0, 20), st.none() | st.integers(0, 9))
def test_every_sample_comes_once_an_epoch(count: int, epoch: int, seed: int | None) -> None:
    found = order(count, epoch, seed)
    np.testing.assert_array_equal(np.sort(found), np.arange(count))
    np.testing.assert_array_equal(found, order(count, epoch, seed))
