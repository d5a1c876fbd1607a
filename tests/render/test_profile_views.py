"""Charts of a profile: their pixels say what the profile says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.record import Profile, profile
from ipuc.program.builder import Builder
from ipuc.render.chart import BACKGROUND, LIMIT, SERIES, Axis, Frame, columns, stacked, ticks
from ipuc.render.profile_views import HEAT, PHASES, VIEWS, ramp_colour
from ipuc.target import CATALOGUE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    model = zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")
    return profile(compile_model(model, target=CATALOGUE["tiny"]))


def plot_of(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels within the axes of a chart of the standard width."""
    return np.asarray(image)[96 : 900 - 80, 120 : 1600 - 330]


def share(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], colour: object) -> float:
    return float((pixels == np.array(colour)).all(axis=2).mean())


@pytest.mark.parametrize("view", list(VIEWS))
@pytest.mark.parametrize("width", [64, 1200])
def test_every_view_has_its_size_and_is_the_same_again(
    found: Profile, view: str, width: int
) -> None:
    image = VIEWS[view](found, width)
    assert image.size == (width, round(width * 9 / 16))
    assert image.tobytes() == VIEWS[view](found, width).tobytes()


@pytest.mark.parametrize("view", list(VIEWS))
def test_an_empty_program_has_pictures(view: str) -> None:
    empty = profile(Builder(CATALOGUE["tiny"]).build())
    assert VIEWS[view](empty, 400).size == (400, 225)


def test_the_timeline_shows_the_share_of_every_phase(found: Profile) -> None:
    plot = plot_of(VIEWS["timeline"](found, 1600))
    cycles = found.cycles
    # a pixel is one moment of one tile; every phase has a hundred or more of them here
    wanted = sum(s.compute.sum() * s.times for s in found.steps) / cycles["total"] / 4
    assert share(plot, PHASES["compute"]) == pytest.approx(wanted, abs=0.01)
    sync = share(plot, PHASES["sync"])
    assert sync == pytest.approx(cycles["sync"] / cycles["total"], abs=0.01)
    assert 0 < share(plot, PHASES["exchange"]) <= cycles["exchange"] / cycles["total"] + 0.01


def test_memory_is_stacked_up_to_what_a_tile_needs(found: Profile) -> None:
    plot = plot_of(VIEWS["memory"](found, 1600))
    memory = found.memory
    high = 1.08 * max(memory.max_tile_bytes, memory.target.tile_memory_bytes)
    used = (plot != np.array(BACKGROUND)).any(axis=2) & (plot != np.array(LIMIT)).any(axis=2)
    need = used.sum(axis=0) / len(plot) * high
    tile = np.arange(plot.shape[1]) * 4 // plot.shape[1]
    np.testing.assert_allclose(need, memory.tile_bytes[tile], atol=2 * high / len(plot))
    line = np.flatnonzero((plot[:, 5] == np.array(LIMIT)).all(axis=1))
    level = (1 - line.mean() / len(plot)) * high
    assert level == pytest.approx(memory.target.tile_memory_bytes, rel=0.01)


def test_the_busiest_tile_is_the_brightest(found: Profile) -> None:
    plot = plot_of(VIEWS["tiles"](found, 1600)).astype(int).sum(axis=2)
    work = sum(s.compute * s.times for s in found.steps)
    middle = np.arange(plot.shape[1]) * 2 // plot.shape[1]
    shown = [plot[-20][middle == x].mean() for x in range(2)]
    shown += [plot[20][middle == x].mean() for x in range(2)]
    assert np.argmax(shown) == np.argmax(work)


def test_colours_of_the_heat_map_grow_brighter() -> None:
    sums = [sum(ramp_colour(n / 100)) for n in range(101)]
    assert sums == sorted(sums)
    assert ramp_colour(0) == HEAT[0]
    assert ramp_colour(1) == HEAT[-1]


def test_stacking() -> None:
    layers = np.array([[2.0, 0.0], [1.0, 4.0]])
    plot = stacked(layers, SERIES[:2], 4.0, 4)
    low, high, empty = SERIES[0], SERIES[1], BACKGROUND
    assert [tuple(p) for p in plot[:, 0].tolist()] == [empty, high, low, low]
    assert [tuple(p) for p in plot[:, 1].tolist()] == [high] * 4


@pytest.mark.parametrize(("values", "count"), [(3, 7), (10, 4), (5, 5)])
def test_columns_keep_the_largest(values: int, count: int) -> None:
    numbers = np.random.default_rng(values).permutation(values)
    shown = numbers[columns(numbers, count)]
    assert len(shown) == count
    assert shown.max() == values - 1
    if count >= values:
        assert set(shown.tolist()) == set(range(values))


@pytest.mark.parametrize(("low", "high"), [(0, 1472), (0, 0.3), (224, 298), (0, 1), (0, 7e9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(Axis("x", low, high))
    assert 4 <= len(found) <= 11
    assert all(low <= value <= high * (1 + 1e-9) for value, _ in found)
    assert all(float(label.replace(",", "")) == pytest.approx(value) for value, label in found)


def test_a_line_outside_the_axis_is_not_drawn() -> None:
    frame = Frame(400, "t", "s", Axis("x", 0, 1), Axis("y", 0, 1), ())
    across, down = frame.plot_size
    plot = np.zeros((down, across, 3), np.uint8)
    assert share(np.asarray(frame.draw(plot, line=2.0)), LIMIT) == 0
    assert share(np.asarray(frame.draw(plot, line=0.5)), LIMIT) > 0
