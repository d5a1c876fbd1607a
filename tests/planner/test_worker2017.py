"""Plans of 2017 against those that the counter of the published graphs prints."""

from __future__ import annotations

import pytest

from ipuc.planner.window import Slide
from ipuc.planner.worker2017 import conv_splits
from ipuc.target.catalogue import parse_target

GC2 = parse_target("gc2")


def square(field: int, kernel: int, stride: int, pad: int) -> Slide:
    """One of two equal dimensions."""
    out = (field + 2 * pad - kernel) // stride + 1
    return Slide(field, out, kernel, stride, 1, pad)


#: AlexNet of 2017: channels out and in, sliding window, and the printed (icg; tx, ty, tz, ti).
#: Source: a counter that follows the rules of PopLibs, winter 2016/17, by another hand.
CONVOLUTIONS = {
    "conv1": (64, 4, square(224, 11, 4, 3), (4, 8, 19, 8, 1)),
    "conv2": (192, 64, square(27, 5, 1, 2), (8, 2, 3, 24, 8)),
    "conv3": (384, 192, square(13, 3, 1, 1), (16, 1, 2, 48, 12)),
    "conv4": (256, 384, square(13, 3, 1, 1), (16, 1, 3, 32, 12)),
    "conv5": (256, 256, square(13, 3, 1, 1), (16, 1, 2, 32, 16)),
    "conv2 backward": (64, 192, square(27, 5, 1, 2), (8, 2, 3, 8, 24)),
    "conv3 backward": (192, 384, square(13, 3, 1, 1), (16, 1, 2, 24, 24)),
    "conv4 backward": (384, 256, square(13, 3, 1, 1), (16, 1, 3, 48, 8)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_alexnet(name: str) -> None:
    """On the 1216 tiles of that time."""
    outs, ins, slide, wanted = CONVOLUTIONS[name]
    (ty, tx, tz, ti, group), record = conv_splits(GC2, outs, ins, slide, slide)
    assert (group, tx, ty, tz, ti) == wanted
    assert record["chosen"]["tiles"] == tx * ty * tz * ti <= GC2.tiles
