"""Models that one IPU cannot hold, or hardly, on several."""

from __future__ import annotations

import pytest

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.ipus import by_ipu
from ipuc.profile.record import profile
from ipuc.target import CATALOGUE

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    ("name", "batch", "target", "fitting"),
    [
        # 575 MB of weights: nearly all of a GC200
        ("light_vgg19", 1, "gc200", (2, 4)),
        # large activations, and half of the memory
        ("resnet34", 4, "gc2", (4,)),
    ],
)
def test_more_ipus_need_less_of_each(
    name: str, batch: int, target: str, fitting: tuple[int, ...]
) -> None:
    model = zoo.build(name, batch=batch)
    need: list[int] = []
    for ipus in (1, 2, 4):
        found = profile(compile_model(model, target=CATALOGUE[target], ipus=ipus))
        need.append(found.memory.max_live_bytes)
        assert found.memory.fits == all(row["fits"] for row in by_ipu(found))
        if ipus in fitting:
            assert found.memory.fits
    assert need == sorted(need, reverse=True)
    # A GC200 holds VGG-19 just so; a GC2 has not half of what four images need.
    assert (need[0] > CATALOGUE[target].tile_memory_bytes) == (target == "gc2")
