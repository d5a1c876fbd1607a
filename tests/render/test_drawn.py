"""A picture is estimated before any work, and its layout is kept beside the program."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipuc import zoo
from ipuc.errors import OptionError
from ipuc.pipeline import compile_model
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.render import drawn
from ipuc.render.build import scene_of
from ipuc.render.drawn import cache_path, estimate, scene_and_layout
from ipuc.render.place import place
from ipuc.target import parse_target


@pytest.fixture(name="program", scope="module")
def program_fixture() -> Program:
    return compile_model(zoo.build("digits"), target=parse_target("gc200,tiles=64"))


def test_points_and_edges_are_the_programs(program: Program) -> None:
    graph = VertexGraph(program)
    scene, layout = scene_and_layout(program)
    assert layout.xy.shape == (graph.nodes, 2)
    pairs = set()
    for block in graph.blocks():
        vertex = block.first_vertex + np.repeat(
            np.arange(len(block.tile)), np.diff(block.edge_offsets)
        )
        pairs |= set(zip(vertex.tolist(), (graph.vertices + block.regions).tolist(), strict=True))
    drawn_pairs = [
        pair
        for vertex, region in scene.edge_blocks()
        for pair in zip(vertex.tolist(), region.tolist(), strict=True)
    ]
    assert len(drawn_pairs) == len(pairs) == graph.edges()
    assert set(drawn_pairs) == pairs


def test_a_layout_is_kept_and_used_again(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "KEPT_FROM", 1)
    file = tmp_path / "digits.ipu"
    _, first = scene_and_layout(program, cache=file, seed=2)
    assert [path.name for path in tmp_path.iterdir()] == ["digits.layout-2.npz"]
    with monkeypatch.context() as closed:
        closed.delattr(drawn, "place")
        scene, again = scene_and_layout(program, cache=file, seed=2)
    assert again.xy.tobytes() == first.xy.tobytes()
    np.testing.assert_array_equal(scene.cell, scene_and_layout(program)[0].cell)
    assert scene_and_layout(program, cache=file, seed=3)[1].xy.tobytes() != first.xy.tobytes()


@pytest.mark.parametrize("damage", ["bytes", "other program"])
def test_a_kept_layout_of_something_else_is_made_anew(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(drawn, "KEPT_FROM", 1)
    file = tmp_path / "digits.ipu"
    if damage == "bytes":
        cache_path(file, 0).write_bytes(b"no")
    else:
        tiny = compile_model(zoo.build("digits"), target=parse_target("gc200,tiles=32"))
        scene_and_layout(tiny, cache=file)
    _, layout = scene_and_layout(program, cache=file)
    assert layout.xy.tobytes() == scene_and_layout(program)[1].xy.tobytes()


def test_a_damaged_layout_is_made_anew_wherever_it_is_damaged(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes are changed, or the end is missing: the picture never suffers."""
    monkeypatch.setattr(drawn, "KEPT_FROM", 1)
    file = tmp_path / "digits.ipu"
    scene, layout = scene_and_layout(program, cache=file)
    whole = cache_path(file, 0).read_bytes()
    digest = drawn._digest(program)
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        at = int(rng.integers(len(whole)))
        # Names and headers are few of the bytes, so half of the damage is done to the directory.
        at = at if rng.random() < 0.5 else len(whole) - 1 - int(rng.integers(800))
        broken[at : at + int(rng.integers(1, 9))] = rng.bytes(1)
        if rng.random() < 0.2:
            del broken[at:]
        cache_path(file, 0).write_bytes(broken)
        kept = drawn._kept(cache_path(file, 0), digest, scene.nodes)
        if kept is not None:
            assert kept[1].xy.tobytes() == layout.xy.tobytes()
            np.testing.assert_array_equal(kept[0], scene.cell)


def test_a_small_layout_is_not_kept(program: Program, tmp_path: Path) -> None:
    scene_and_layout(program, cache=tmp_path / "digits.ipu")
    assert not list(tmp_path.iterdir())


def test_a_graph_above_the_limit_is_estimated_before_any_work(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(drawn, "scene_of_graph")
    with pytest.raises(OptionError, match=r"about \d+ s and [\d.]+ GB") as caught:
        scene_and_layout(program, max_nodes=10)
    assert "--max-nodes" in caught.value.fix
    # the published graph: minutes and gigabytes that two cores have
    assert 2 < estimate(18_700_000).minutes < 8
    assert 3 < estimate(18_700_000).gigabytes < 7


def test_a_preview_places_clusters(program: Program) -> None:
    scene, layout = scene_and_layout(program, preview=True)
    assert layout.xy.shape == (scene.nodes, 2)
    assert np.hypot(*(layout.xy - 0.5).T).max() < 0.5


def test_progress_never_falls_and_ends(program: Program) -> None:
    told: list[tuple[str, int]] = []
    scene_and_layout(program, progress=lambda stage, done, _: told.append((stage, done)))
    for stage in ("scene", "layout"):
        parts = [done for at, done in told if at == stage]
        assert parts == sorted(parts)
        assert parts[-1] == 1000


def test_moving_a_layer_to_one_tile_moves_it(program: Program) -> None:
    """The picture depends on the mapping: that is what the clusters are made of."""
    scene = scene_of(program)
    assert scene.nodes > 4000
    layer = next(i for i, info in enumerate(scene.layers) if info.name == "conv2")
    tile = np.where(scene.layer == layer, 0, scene.tile).astype(np.int32)
    moved, before = place(replace(scene, tile=tile)), place(scene)
    away = np.hypot(*(moved.xy - before.xy).T)[scene.layer == layer]
    assert np.median(away) > 0.01
