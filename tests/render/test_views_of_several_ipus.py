"""Charts of a profile on two IPUs: each IPU is where it should be, and works when it does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.ipus import by_ipu
from ipuc.profile.record import Profile, profile
from ipuc.render.chart import BACKGROUND, BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from ipuc.render.profile_views import PHASES, tiles_view, timeline_view
from ipuc.target import CATALOGUE

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(compile_model(zoo.build("digits"), target=CATALOGUE["tiny"], ipus=2))


def plot_of(image: Image.Image) -> Pixels:
    return np.asarray(image)[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT]


def is_colour(
    plot: Pixels, colour: tuple[int, int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.asarray((plot == np.array(colour)).all(axis=2))


def test_one_ipu_computes_after_the_other(found: Profile) -> None:
    plot = plot_of(timeline_view(found))
    down, across = plot.shape[:2]
    working = is_colour(plot, PHASES["compute"])
    # IPU 0 is the lower half
    columns = [half.any(axis=0) for half in (working[down // 2 + 2 :], working[: down // 2 - 2])]
    assert not (columns[0] & columns[1]).any()
    begins, ends = ([int(np.flatnonzero(c)[at]) for c in columns] for at in (0, -1))
    assert ends[0] < begins[1]
    share = by_ipu(found)[0]["cycles"] / found.cycles["total"]
    # the pixel in which the second IPU begins, after the exchange and barrier between them
    assert ends[0] / across <= share + 1 / across < begins[1] / across
    between = is_colour(plot, PHASES["global exchange"]).any(axis=0)
    assert set(np.flatnonzero(between)) <= set(range(ends[0], begins[1]))
    assert between.any()


def test_an_empty_row_parts_the_tiles_of_two_ipus(found: Profile) -> None:
    plot = plot_of(tiles_view(found))
    empty = is_colour(plot, BACKGROUND)
    # 4 tiles in a row: a row of each IPU and one between them
    thirds = [part[10:-10].mean() for part in np.array_split(empty, 3, axis=0)]
    assert thirds[1] == 1
    assert max(thirds[0], thirds[2]) < 0.1
