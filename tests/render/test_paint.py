import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scene_edges import edges_of

from ipuc.errors import OptionError
from ipuc.render import raster
from ipuc.render.fields import ranks
from ipuc.render.paint import _glow, caption_of, paint, save_png
from ipuc.render.palettes import RAMPS, luminance, ramp
from ipuc.render.place import DISC, Layout, place
from ipuc.render.scene import Scene

Maker = Callable[..., Scene]


@pytest.fixture(name="drawn")
def drawn_fixture(make_scene: Maker) -> tuple[Scene, Layout]:
    scene = make_scene(hubs=20, dust=10)
    return scene, place(scene, grid=64)


@pytest.mark.parametrize("name", ["amber", "alex"])
def test_ramps_grow_in_luminance(name: str) -> None:
    assert (np.diff(luminance(ramp(name))) > -1e-6).all()


def test_every_ramp_begins_and_ends_at_its_colours() -> None:
    for name, colours in RAMPS.items():
        ends = (ramp(name)[[0, -1]] ** (1 / 2.2) * 255 + 0.5).astype(int)
        for end, colour in zip(ends, (colours[0], colours[-1]), strict=True):
            assert "#" + "".join(f"{part:02x}" for part in end) == colour


@pytest.mark.parametrize("size", [96, 400])
@pytest.mark.parametrize("mode", ["density", "activity"])
def test_all_points_and_edges_are_drawn(drawn: tuple[Scene, Layout], size: int, mode: str) -> None:
    scene, layout = drawn
    painting = paint(scene, layout, size=size, mode=mode)  # type: ignore[arg-type]
    assert painting.image.size == (size, size)
    assert (painting.drawn_points, painting.drawn_edges) == (scene.nodes, scene.edges)
    assert painting.edge_stride == 1


@pytest.mark.parametrize("size", [64, 400])
def test_the_painter_gets_the_scenes_points_and_edges(
    drawn: tuple[Scene, Layout], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, layout = drawn
    given: list[tuple[int, ...]] = []
    lines = raster.lines

    def watch(xy: np.ndarray, start: np.ndarray, end: np.ndarray, *rest: object, **kw: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
        given.extend(zip(start.tolist(), end.tolist(), strict=True))
        np.testing.assert_allclose(xy / xy.max(), layout.xy / layout.xy.max(), rtol=1e-6)
        return lines(xy, start, end, *rest, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(raster, "lines", watch)
    paint(scene, layout, size=size)
    assert given == list(zip(*(end.tolist() for end in edges_of(scene)), strict=True))


def test_more_edges_than_the_budget_are_sampled(
    drawn: tuple[Scene, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, layout = drawn
    monkeypatch.setattr("ipuc.render.paint.EDGE_BUDGET", scene.edges // 3)
    painting = paint(scene, layout, size=64)
    assert painting.edge_stride == 4
    assert painting.drawn_edges == pytest.approx(scene.edges / 4, rel=0.5)


@pytest.mark.parametrize("size", [128, 400])
def test_outside_the_disc_there_is_only_ground(drawn: tuple[Scene, Layout], size: int) -> None:
    pixels = np.asarray(paint(*drawn, size=size, caption=False).image).astype(int)
    y, x = np.mgrid[:size, :size] + 0.5
    outside = np.hypot(x - size / 2, y - size / 2) > (DISC + 0.035) * size
    ground = [int(RAMPS["amber"][0][i : i + 2], 16) for i in (1, 3, 5)]
    assert np.abs(pixels[outside] - ground).max() <= 4
    assert pixels[~outside].max() > 150


def test_equal_input_gives_equal_bytes(drawn: tuple[Scene, Layout], tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(paint(*drawn, size=128).image, tmp_path / f"{name}.png", {"seed": "0"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info["seed"] == "0"


def test_activity_changes_the_colour(drawn: tuple[Scene, Layout]) -> None:
    scene, layout = drawn
    other = dataclasses.replace(scene, activity=-scene.activity)
    one, two = (
        np.asarray(paint(s, layout, size=200, mode="activity").image) for s in (scene, other)
    )
    assert (one != two).any()
    same = (np.asarray(paint(s, layout, size=200).image) for s in (scene, other))
    one, two = same
    assert np.array_equal(one, two)


def test_wrong_options_are_refused(drawn: tuple[Scene, Layout], make_scene: Maker) -> None:
    with pytest.raises(OptionError, match="palette") as caught:
        paint(*drawn, palette="ambre")
    assert "amber" in caught.value.fix
    with pytest.raises(OptionError, match="mode"):
        paint(*drawn, mode="heat")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="pixels"):
        paint(*drawn, size=3)
    with pytest.raises(OptionError, match="layout"):
        paint(make_scene(hubs=2), drawn[1])


def test_the_caption_tells_model_machine_and_granularity(make_scene: Maker) -> None:
    scene = make_scene(3, 4)
    assert caption_of(scene) == "toy"
    told = {"ipuc.target": "gc200", "ipuc.granularity": "worker"}
    scene = dataclasses.replace(scene, provenance=told)
    assert caption_of(scene) == "toy\ngc200, granularity worker"


def test_an_empty_scene_is_a_dark_picture(make_scene: Maker) -> None:
    scene = make_scene(groups=0)
    assert np.asarray(paint(scene, place(scene), size=64, caption=False).image).max() < 10


def test_lines_carry_their_length_in_light() -> None:
    xy = np.array([[10, 10], [40, 50], [60, 60], [60, 61]], np.float32)
    ends = np.array([0, 2], np.int32), np.array([1, 3], np.int32)
    light = np.ones(2, np.float32)
    for smooth in (False, True):
        canvas = raster.lines(xy, *ends, light, 80, samples=0.7, longest=20, smooth=smooth)
        assert canvas.sum() == pytest.approx(20 + 1, rel=1e-4)


def test_lines_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    xy = (rng.random((100, 2)) * 60).astype(np.float32)
    ends = [rng.integers(0, 100, 300).astype(np.int32) for _ in range(2)]
    light = np.ones(300, np.float32)

    def draw() -> np.ndarray:
        return raster.lines(xy, ends[0], ends[1], light, 64, samples=1, longest=60, smooth=True)

    whole = draw()
    monkeypatch.setattr(raster, "BLOCK", 500)
    np.testing.assert_allclose(draw(), whole, rtol=1e-3, atol=1e-4)


def test_discs_cover_their_area() -> None:
    xy = np.array([[30.3, 30.7], [2, 2]], np.float32)
    cover, total = raster.discs(
        xy, np.array([9.0, 1.5], np.float32), np.array([0.5, 1], np.float32), 64
    )
    # An antialiased edge keeps the area to about 1 %.
    assert cover.sum() == pytest.approx(np.pi * (81 + 2.25), rel=0.015)
    assert total[30, 30] == pytest.approx(0.5)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 12.0])
def test_blur_equals_a_gaussian(sigma: float) -> None:
    size = 128
    image = np.zeros((size, size), np.float32)
    image[60:68, 56:70] = 1
    y, x = np.mgrid[:size, :size]
    spectrum = np.fft.fft2(image)
    k2 = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.fftfreq(size)[None, :] ** 2
    expected = np.fft.ifft2(spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * k2)).real
    assert x.size == y.size
    # Cut at 3 sigma, and the wide one is computed on a reduced image.
    np.testing.assert_allclose(raster.blur(image, sigma), expected, atol=0.02)
    assert raster.blur(image, sigma).sum() == pytest.approx(image.sum(), rel=0.01)


def test_halving_averages() -> None:
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    oracle = image.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(raster.halve(image), oracle, rtol=1e-5)


def test_ranks_share_ties() -> None:
    values = np.array([5, 1, 5, 9], np.float32)
    np.testing.assert_allclose(ranks(values), [0.5, 0, 0.5, 1])


def test_bright_places_glow_and_dim_ones_do_not() -> None:
    light = np.zeros((400, 400, 3), np.float32)
    light[190:210, 190:210] = 1
    dim = light * 0.2
    _glow(light, 400)
    _glow(dim, 400)
    assert light[200, 211].min() > 0.003
    assert light[200, 260].max() < 1e-3
    assert dim[200, 213].max() == 0
