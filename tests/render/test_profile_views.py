"""Charts of a profile: their pixels say what the profile says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.profile.record import Profile, profile
from ipuc.program.builder import Builder
from ipuc.render.chart import (
    BACKGROUND,
    BANDS,
    BOTTOM,
    HEIGHT,
    LEFT,
    LIMIT,
    RIGHT,
    SERIES,
    TOP,
    WIDTH,
    Axis,
    Band,
    Frame,
    Mark,
    columns,
    runs,
    stacked,
    ticks,
)
from ipuc.render.profile_views import (
    CATEGORIES,
    HEAT,
    MEASURES,
    PHASES,
    VIEWS,
    WAITING,
    ramp_colour,
    tiles_view,
)
from ipuc.target import CATALOGUE


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    model = zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")
    return profile(compile_model(model, target=CATALOGUE["tiny"]))


def plot_of(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels within the axes of a chart of the standard width."""
    return np.asarray(image)[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT]


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
    mean = found.tile_average()
    idle = 1 - sum(mean.values()) / cycles["total"]
    assert share(plot, WAITING) == pytest.approx(idle, abs=0.01)


def test_layers_are_named_above_the_timeline(found: Profile) -> None:
    image = np.asarray(VIEWS["timeline"](found, WIDTH)).astype(int)
    strip = image[TOP - 5, LEFT : WIDTH - RIGHT]
    shades = [int(np.argmin([abs(p - np.array(b)).sum() for b in BANDS])) for p in strip]
    spent: dict[str, int] = {}
    for step in found.steps:
        spent[step.layer] = spent.get(step.layer, 0) + step.cycles * step.times
    # Every other layer has the first shade, on as much of the axis as it takes.
    part = sum(list(spent.values())[::2]) / found.cycles["total"]
    assert 1 - np.mean(shades) == pytest.approx(part, abs=0.02)


def test_memory_is_stacked_up_to_what_a_tile_needs(found: Profile) -> None:
    plot = plot_of(VIEWS["memory"](found, 1600))
    memory = found.memory
    high = 1.1 * max(memory.max_tile_bytes, memory.target.tile_memory_bytes)
    ours = [*CATEGORIES.values(), *SERIES, (126, 124, 130)]
    used = np.any([(plot == np.array(colour)).all(axis=2) for colour in ours], axis=0)
    need = used.sum(axis=0) / len(plot) * high
    tile = np.arange(plot.shape[1]) * 4 // plot.shape[1]
    np.testing.assert_allclose(need, memory.tile_bytes[tile], atol=2 * high / len(plot))
    line = np.flatnonzero((plot[:, 5] == np.array(LIMIT)).all(axis=1))
    level = (1 - line.mean() / len(plot)) * high
    assert level == pytest.approx(memory.target.tile_memory_bytes, rel=0.01)


def test_a_category_has_one_colour_in_all_pictures(found: Profile) -> None:
    plot = plot_of(VIEWS["memory"](found, 1600))
    memory = found.memory
    total = int(memory.tile_bytes.sum())
    shown = memory.categories()["Constants"].sum() / total
    high = 1.1 * max(memory.max_tile_bytes, memory.target.tile_memory_bytes)
    area = share(plot, CATEGORIES["Constants"]) * high * memory.target.tiles
    assert area / total == pytest.approx(shown, abs=0.02)
    assert len(set(CATEGORIES.values())) == len(CATEGORIES)


def measured(found: Profile, measure: str) -> list[int]:
    """What a measure is, said another way: step by step, or vertex by vertex."""
    tiles, steps = found.program.target.tiles, found.steps
    if measure == "vertices":
        where = [t for f in found.program.families() for t in f.tile.dense().ravel().tolist()]
        return [where.count(tile) for tile in range(tiles)]
    whole = {"memory": found.memory.tile_bytes, "always-live": found.memory.always_bytes}
    if measure in whole:
        return [int(v) for v in whole[measure]]
    return [
        sum(
            s.times
            * int(
                s.compute[tile]
                if measure == "compute"
                else getattr(s.before, measure)[tile] + getattr(s.after, measure)[tile]
            )
            for s in steps
        )
        for tile in range(tiles)
    ]


@pytest.mark.parametrize("measure", list(MEASURES))
def test_the_busiest_tile_is_the_brightest(found: Profile, measure: str) -> None:
    plot = plot_of(tiles_view(found, 1600, measure)).astype(int).sum(axis=2)
    work = measured(found, measure)
    middle = np.arange(plot.shape[1]) * 2 // plot.shape[1]
    shown = [plot[-20][middle == x].mean() for x in range(2)]
    shown += [plot[20][middle == x].mean() for x in range(2)]
    assert shown[int(np.argmax(work))] == max(shown)
    assert shown[int(np.argmin(work))] == min(shown)


def test_runs_of_one_name_are_one_band() -> None:
    assert runs(["a", "a", "b", "a"], [1, 2, 0.5, 4]) == [
        Band("a", 0, 3),
        Band("b", 3, 3.5),
        Band("a", 3.5, 7.5),
    ]
    assert runs([], []) == []


def test_words_that_are_too_long_stay_within_the_picture() -> None:
    across = Frame(900, "t" * 400, ["s" * 900], Axis("x", 0, 1), Axis("y", 0, 1), ())
    short = Frame(900, "", [], Axis("x", 0, 1), Axis("y", 0, 1), ())
    width, down = across.plot_size
    plot = np.zeros((down, width, 3), np.uint8)
    long, empty = (np.asarray(f.draw(plot)).astype(int) for f in (across, short))
    written = np.flatnonzero(np.abs(long - empty).sum(axis=(0, 2)))
    assert written.max() < 900 - 2
    assert written.max() > 800


def test_a_legend_that_is_too_long_leaves_its_figure_free() -> None:
    frame = Frame(900, "", [], Axis("x", 0, 1), Axis("y", 0, 1), [("n" * 99, LIMIT, "12%")])
    width, down = frame.plot_size
    image = np.asarray(frame.draw(np.zeros((down, width, 3), np.uint8)))
    right = image[:, frame.corner[0] + width + 4 :].astype(int).sum(axis=(0, 2))
    written = np.flatnonzero(right > right.min())
    # Names end well before the figure begins, which is at the edge.
    gap = np.diff(written).argmax()
    assert np.diff(written)[gap] >= 5
    figure = written[gap + 1 :]
    assert len(figure) > 10
    assert figure.max() - figure.min() < 40
    assert len(right) - figure.max() < 16


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
    frame = Frame(400, "t", ["s"], Axis("x", 0, 1), Axis("y", 0, 1), ())
    across, down = frame.plot_size
    plot = np.zeros((down, across, 3), np.uint8)
    assert share(np.asarray(frame.draw(plot, Mark(2.0, "over"))), LIMIT) == 0
    assert share(np.asarray(frame.draw(plot, Mark(0.5, "half"))), LIMIT) > 0
