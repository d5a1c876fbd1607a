import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ipuc.errors import OptionError
from ipuc.render import raster
from ipuc.render.colouring import Colouring, colouring_of, ranks
from ipuc.render.paint import (
    _glowing,
    bytes_needed,
    hold_to_memory,
    on_ground,
    paint,
    paint_each,
    paint_whole,
)
from ipuc.render.palettes import PALETTES, luminance, ramp, readable_on, rgb_of
from ipuc.render.place import DISC, Layout, place
from ipuc.render.provenance import save_png
from ipuc.render.raster import View, whole_view
from ipuc.render.scene import Scene
from ipuc.render.words import words_of

Maker = Callable[..., Scene]
Drawn = tuple[Scene, Layout]


@pytest.fixture(name="drawn")
def drawn_fixture(make_scene: Maker) -> Drawn:
    scene = make_scene(hubs=20, dust=10)
    return scene, place(scene, grid=64)


def cycles(drawn: Drawn) -> Colouring:
    return colouring_of(drawn[0], "cycles", "alex", drawn[1].light)


@pytest.mark.parametrize("name", ["amber", "alex", "cividis"])
def test_ramps_grow_in_luminance(name: str) -> None:
    assert (np.diff(luminance(ramp(name))) > -1e-6).all()


def test_every_ramp_begins_and_ends_at_its_colours() -> None:
    for name, palette in PALETTES.items():
        ends = (ramp(name)[[0, -1]] ** (1 / 2.2) * 255 + 0.5).astype(int)
        for end, colour in zip(ends, (palette.ramp[0], palette.ramp[-1]), strict=True):
            assert "#" + "".join(f"{part:02x}" for part in end) == colour


def test_palettes_have_the_eight_colours_of_the_originals() -> None:
    assert all(len(set(palette.eight)) == 8 for palette in PALETTES.values())
    assert {"#fde50d", "#110e0f"} <= set(PALETTES["amber"].eight)
    assert {"#ede03c", "#a8aa9f"} <= set(PALETTES["alex"].eight)


# What a deuteranope sees of a colour, in linear light. Source: Machado, Oliveira and Fernandes, "A
# physiologically-based model for simulation of color vision deficiency" (2009), severity 1.0.
_DEUTERANOPE = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def test_the_safe_palette_keeps_its_order_without_red_and_green() -> None:
    seen = np.clip(ramp("cividis") @ _DEUTERANOPE.T, 0, 1).astype(np.float32)
    assert (np.diff(luminance(seen)) > -1e-4).all()


@pytest.mark.parametrize("ink", ["#ede03c", "#fefefd", "#204780", "#000000"])
@pytest.mark.parametrize("ground", [(254, 254, 253), (6, 4, 4), (21, 28, 33)])
def test_letters_can_be_read_on_any_ground(ink: str, ground: tuple[int, int, int]) -> None:
    def light(rgb: tuple[int, int, int]) -> float:
        encoded = (np.array(rgb, np.float64) / 255) ** 2.2
        return float(luminance(encoded.astype(np.float32)))

    low, high = sorted((light(readable_on(ink, ground)), light(ground)))
    # 4.5 is what the guidelines ask for; bytes round it.
    assert (high + 0.05) / (low + 0.05) > 4.4


def test_colours_are_read_or_refused() -> None:
    assert rgb_of("#fff") == rgb_of("ffffff") == (255, 255, 255)
    assert rgb_of("black") == (0, 0, 0)
    with pytest.raises(OptionError, match="no colour"):
        rgb_of("mauve")


@pytest.mark.parametrize("size", [96, 400])
@pytest.mark.parametrize("by", [None, "cycles", "layer"])
def test_all_points_and_edges_are_drawn(drawn: Drawn, size: int, by: str | None) -> None:
    scene, layout = drawn
    colouring = colouring_of(scene, by, "alex", layout.light) if by else None  # type: ignore[arg-type]
    painting = paint_whole(scene, layout, size, "alex", colouring=colouring)
    assert painting.image.size == (size, size)
    assert (painting.drawn_points, painting.drawn_edges) == (scene.nodes, scene.edges)
    assert painting.edge_stride == 1


@pytest.mark.parametrize("size", [64, 400])
def test_the_painter_gets_the_scenes_points_and_edges(
    drawn: Drawn, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, layout = drawn
    given: list[np.ndarray] = []
    points: list[np.ndarray] = []
    lines, deposit, discs = raster.lines, raster.deposit, raster.discs

    def watch(planes: np.ndarray, low: np.ndarray, high: np.ndarray, *rest: object, **kw: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
        given.append(np.concatenate([low, high], axis=1) / planes.shape[1])
        monkeypatch.setattr(raster, "deposit", deposit)
        lines(planes, low, high, *rest, **kw)  # type: ignore[arg-type]

    def watch_points(planes: np.ndarray, at: np.ndarray, *rest: object) -> None:
        points.append(at / planes.shape[1])
        (discs if len(rest) > 1 else deposit)(planes, at, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(raster, "lines", watch)
    monkeypatch.setattr(raster, "deposit" if size == 64 else "discs", watch_points)
    paint_whole(scene, layout, size)
    pairs = [(vertex, region) for vertex, region in scene.edge_blocks()]
    ends = np.concatenate([np.concatenate([layout.xy[v], layout.xy[r]], axis=1) for v, r in pairs])
    np.testing.assert_allclose(np.concatenate(given), ends, atol=1e-5)
    drawn_points = np.concatenate(points)
    assert len(drawn_points) == scene.nodes
    order = np.lexsort(drawn_points.T), np.lexsort(layout.xy.T)
    np.testing.assert_allclose(drawn_points[order[0]], layout.xy[order[1]], atol=1e-5)


def test_more_edges_than_the_budget_are_sampled(
    drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, layout = drawn
    monkeypatch.setattr("ipuc.render.paint.EDGE_BUDGET", scene.edges // 3)
    painting = paint_whole(scene, layout, 64)
    assert painting.edge_stride == 4
    assert painting.drawn_edges == pytest.approx(scene.edges / 4, rel=0.5)


@pytest.mark.parametrize("size", [128, 400])
def test_outside_the_disc_there_is_only_ground(drawn: Drawn, size: int) -> None:
    pixels = np.asarray(paint_whole(*drawn, size).image).astype(int)
    y, x = np.mgrid[:size, :size] + 0.5
    outside = np.hypot(x - size / 2, y - size / 2) > (DISC + 0.035) * size
    ground = rgb_of(PALETTES["amber"].ramp[0])
    assert np.abs(pixels[outside] - ground).max() <= 4
    assert pixels[~outside].max() > 150


def test_a_window_is_the_same_part_of_the_picture(drawn: Drawn) -> None:
    whole = np.asarray(paint_whole(*drawn, 64).image).astype(int)
    part = paint(*drawn, view=View(0.25, 0.5, 64.0, 32, 16))
    # Light from outside the window shines into it a little.
    inner = (slice(4, -4), slice(4, -4))
    cut = whole[32:48, 16:48][inner]
    assert np.abs(np.asarray(part.image).astype(int)[inner] - cut).mean() < 6
    assert part.image.size == (32, 16)


def test_several_palettes_take_one_walk(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, layout = drawn
    walks: list[int] = []
    blocks = Scene.edge_blocks

    def counted(self: Scene):  # type: ignore[no-untyped-def]  # noqa: ANN202
        walks.append(1)
        return blocks(self)

    monkeypatch.setattr(Scene, "edge_blocks", counted)
    looks = [("amber", None), ("alex", cycles(drawn)), ("astro", cycles(drawn))]
    made = paint_each(scene, layout, view=whole_view(64), looks=looks)
    assert len(walks) == 1
    monkeypatch.undo()
    for painting, (palette, colouring) in zip(made, looks, strict=True):
        alone = paint_whole(scene, layout, 64, palette, colouring=colouring)
        assert painting.image == alone.image


def test_ground_and_rim(drawn: Drawn) -> None:
    view = whole_view(128)
    image = paint(*drawn, view=view).image
    white = on_ground(image, view, (254, 254, 253), (168, 170, 159))
    assert white.getpixel((1, 1)) == (254, 254, 253)
    assert white.getpixel((64, 64)) == image.getpixel((64, 64))
    clear = on_ground(image, view, None, None)
    assert clear.mode == "RGBA"
    assert clear.getpixel((1, 1))[3] == 0  # type: ignore[index]
    assert clear.getpixel((64, 64))[3] == 255  # type: ignore[index]


def test_a_picture_that_memory_does_not_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    view = whole_view(16384)
    monkeypatch.setattr("ipuc.render.paint.free_memory", lambda: 4_000_000_000)
    assert bytes_needed(view, 0) > 4e9
    with pytest.raises(OptionError, match=r"16384 x 16384 .* 4\.0 GB are free") as caught:
        hold_to_memory(view, 1)
    assert "--size 4096" in caught.value.fix or "--size 8192" in caught.value.fix
    hold_to_memory(whole_view(2048), 1)
    monkeypatch.setattr("ipuc.render.paint.free_memory", lambda: None)
    hold_to_memory(view, 1)


def test_equal_input_gives_equal_bytes(drawn: Drawn, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(paint_whole(*drawn, 128).image, tmp_path / f"{name}.png", {"seed": "0"})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info["seed"] == "0"


def test_few_colours_are_written_as_a_table_without_a_change(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 30), (7, 8, 9))
    image.paste((200, 3, 250), (3, 4, 20, 9))
    save_png(image, tmp_path / "few.png", {})
    with Image.open(tmp_path / "few.png") as read:
        assert read.mode == "P"
        assert read.convert("RGB") == image


def test_activity_changes_the_colour(drawn: Drawn) -> None:
    scene, layout = drawn
    other = dataclasses.replace(scene, activity=-scene.activity)
    one, two = (
        paint_whole(s, layout, 200, "alex", colouring=cycles((s, layout))).image
        for s in (scene, other)
    )
    assert one != two
    assert paint_whole(scene, layout, 200).image == paint_whole(other, layout, 200).image


def test_colours_of_memory_exchange_and_classes(drawn: Drawn) -> None:
    scene, layout = drawn
    vertex, region = (np.concatenate(part) for part in zip(*scene.edge_blocks(), strict=True))
    bytes_ = scene.elements * scene.itemsize.astype(np.int64)
    moved = np.zeros(scene.nodes)
    for v, r in zip(vertex.tolist(), region.tolist(), strict=True):
        if scene.tile[v] != scene.tile[r]:
            moved[v] += bytes_[r]
            moved[r] += bytes_[r]
    found = colouring_of(scene, "exchange", "alex", layout.light)
    np.testing.assert_allclose(
        found.of(slice(None))[0], ranks(moved.astype(np.float32), layout.light)
    )
    memory = colouring_of(scene, "memory", "alex", layout.light)
    regions = np.flatnonzero(scene.kind)
    values = memory.of(regions)[0]
    assert (np.diff(values[np.argsort(bytes_[regions])]) >= 0).all()
    layers = colouring_of(scene, "layer", "alex", layout.light)
    assert layers.channels == 3
    assert [name for name, _ in layers.entries] == [info.title for info in scene.layers]
    assert [name for name, _ in colouring_of(scene, "pass", "alex", layout.light).entries] == [
        "forward"
    ]


def test_wrong_options_are_refused(drawn: Drawn, make_scene: Maker) -> None:
    with pytest.raises(OptionError, match="palette") as caught:
        paint_whole(*drawn, 64, "ambre")
    assert "amber" in caught.value.fix
    with pytest.raises(OptionError, match="pixels"):
        paint_whole(*drawn, 3)
    with pytest.raises(OptionError, match="layout"):
        paint_whole(make_scene(hubs=2), drawn[1], 64)


def test_the_caption_tells_model_machine_and_counts(make_scene: Maker) -> None:
    scene = make_scene(3, 4)
    told = {"ipuc.target": "gc200", "ipuc.granularity": "worker"}
    counts = f"{scene.nodes} nodes = {scene.vertices} vertices + {scene.regions} regions"
    counts += f"; {scene.edges} edges"
    lines = words_of(dataclasses.replace(scene, provenance=told), "does not fit").lines()
    assert [text for text, _ in lines] == [
        "toy, gc200, granularity worker",
        counts,
        "does not fit",
    ]


def test_an_empty_scene_is_a_dark_picture(make_scene: Maker) -> None:
    scene = make_scene(groups=0)
    assert np.asarray(paint_whole(scene, place(scene), 64).image).max() < 10


def draw_lines(
    ends: tuple[np.ndarray, np.ndarray], size: int, longest: float, *, smooth: bool = False
) -> np.ndarray:
    planes = np.zeros((1, size, size), np.float32)
    light = np.ones((1, len(ends[0])), np.float32)
    raster.lines(planes, *ends, light, samples=0.9, longest=longest, smooth=smooth)
    return np.asarray(planes[0])


def test_lines_carry_their_length_in_light() -> None:
    low = np.array([[10, 10], [60, 60]], np.float32)
    high = np.array([[40, 50], [60, 61]], np.float32)
    for smooth in (False, True):
        canvas = draw_lines((low, high), 80, 20, smooth=smooth)
        assert canvas.sum() == pytest.approx(20 + 1, rel=1e-4)


def test_lines_end_at_the_windows_edge() -> None:
    low = np.array([[-30, 40], [200, 200], [10, -5]], np.float32)
    high = np.array([[50, 40], [300, 250], [10, -1]], np.float32)
    canvas = draw_lines((low, high), 80, 1000)
    # Of the first line, 50 of its 80 pixels are inside; the others are not.
    assert canvas.sum() == pytest.approx(50, rel=1e-4)
    assert canvas[40].sum() == canvas.sum()


def test_lines_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ends = tuple((rng.random((300, 2)) * 60).astype(np.float32) for _ in range(2))
    whole = draw_lines(ends, 64, 60, smooth=True)  # type: ignore[arg-type]
    monkeypatch.setattr(raster, "BLOCK", 500)
    part = draw_lines(ends, 64, 60, smooth=True)  # type: ignore[arg-type]
    np.testing.assert_allclose(part, whole, rtol=1e-3, atol=1e-4)


def test_discs_cover_their_area() -> None:
    xy = np.array([[30.3, 30.7], [2, 2]], np.float32)
    planes = np.zeros((2, 64, 64), np.float32)
    raster.discs(planes, xy, np.array([9.0, 1.5], np.float32), np.array([[0.5, 1]], np.float32))
    # An antialiased edge keeps the area to about 1 %.
    assert planes[0].sum() == pytest.approx(np.pi * (81 + 2.25), rel=0.015)
    assert planes[1, 30, 30] == pytest.approx(0.5)


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


def test_colours_cover_the_ramp_and_parts_keep_those_of_the_whole(drawn: Drawn) -> None:
    scene, layout = drawn
    busy = cycles(drawn)
    squeezed = dataclasses.replace(busy, value=0.5 + 0.02 * busy.of(slice(None))[0])
    whole = paint_whole(scene, layout, 64, "alex", colouring=squeezed)
    assert whole.curve is not None
    values, places = whole.curve
    assert (np.diff(values) > 0).all()
    assert (np.diff(places) >= 0).all()
    # Values within a fiftieth of the ramp come to lie on most of it, in their order.
    assert places[-1] - places[0] > 0.7
    part = paint(
        scene,
        layout,
        view=View(0.3, 0.3, 64.0, 24, 24),
        palette="alex",
        colouring=squeezed,
        curve=whole.curve,
    )
    assert part.curve is whole.curve


def test_ranks_weigh_their_members() -> None:
    values = np.array([1, 2, 3], np.float32)
    weighed = ranks(values, np.array([1, 8, 1], np.float32))
    np.testing.assert_allclose(weighed, [0, 0.5, 1])
    assert ranks(values, np.array([1, 1, 8], np.float32))[1] < 0.3


def test_bright_places_glow_and_dim_ones_do_not() -> None:
    light = np.zeros((400, 400, 3), np.float32)
    light[190:210, 190:210] = 1
    bright = _glowing(light, whole_view(400)).astype(int)
    dim = _glowing(light * 0.2, whole_view(400)).astype(int)
    assert bright[200, 211].min() > 10
    assert bright[200, 260].max() <= 10
    assert dim[200, 213].max() == 0
