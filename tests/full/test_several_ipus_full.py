"""A model that one IPU cannot hold, on several."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.ipus import by_ipu
from ipuc.profile.record import profile
from ipuc.target import CATALOGUE

pytestmark = pytest.mark.full


def test_vgg19_in_float32_needs_more_than_one_ipu(tmp_path: Path) -> None:
    """Its 575 MB of weights leave a GC200 of 941 MB too little for what convolutions need."""
    model = zoo.write("light_vgg19", tmp_path / "vgg19.onnx")
    need: list[int] = []
    for ipus in (1, 2, 4):
        found = profile(compile_model(model, target=CATALOGUE["gc200"], ipus=ipus))
        assert found.memory.fits == (ipus > 1)
        assert all(row["fits"] == (ipus > 1) for row in by_ipu(found))
        need.append(found.memory.max_tile_bytes)
    assert need == sorted(need, reverse=True)
