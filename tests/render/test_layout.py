from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scene_edges import edges_of

from ipuc.errors import ContainerError
from ipuc.render.place import DISC, Layout, load_layout, place, save_layout
from ipuc.render.place.layout import COARSE_FROM
from ipuc.render.place.tangle import crossings, spectral
from ipuc.render.scene import Scene

Maker = Callable[..., Scene]


@pytest.fixture(name="large", scope="module")
def large_fixture(make_scene: Maker) -> tuple[Scene, Layout]:
    scene = make_scene(groups=3, hubs=500, dust=3000)
    assert scene.nodes > COARSE_FROM
    return scene, place(scene, seed=1)


def away(layout: Layout) -> np.ndarray:
    return np.asarray(np.hypot(*(layout.xy - 0.5).T))


def test_every_node_is_inside_the_disc(large: tuple[Scene, Layout]) -> None:
    scene, layout = large
    assert layout.xy.shape == (scene.nodes, 2)
    assert away(layout).max() <= DISC * 1.0001


def sea_of(scene: Scene, layout: Layout) -> np.ndarray:
    return ~np.isin(scene.cell, layout.cell_id)


def spacing(scene: Scene) -> float:
    """Mean distance of nodes, if they filled the disc evenly."""
    return float(DISC * np.sqrt(np.pi / scene.nodes))


def nearest(layout: Layout, of: np.ndarray, to: np.ndarray) -> np.ndarray:
    z = layout.xy @ np.array([1, 1j])
    return np.asarray(np.sort(np.abs(z[of][:, None] - z[to][None, :]), axis=1)[:, :2])


def test_the_sea_lies_at_the_mean_density(large: tuple[Scene, Layout]) -> None:
    scene, layout = large
    sea, grid = sea_of(scene, layout), 20
    counts, _, _ = np.histogram2d(
        layout.xy[sea, 0], layout.xy[sea, 1], bins=grid, range=[[0, 1], [0, 1]]
    )
    mean = scene.nodes / (np.pi * (DISC * grid) ** 2)
    density = counts * layout.light[sea].mean() / mean
    # Upper quartile: bins that no moat and no rim cuts. Constant density is what 1/d repulsion in
    # a quadratic trap gives (the circular law); 10 % is about three times a bin's noise.
    full = density[density > np.quantile(density[density > 0], 0.5)]
    assert full.mean() == pytest.approx(1.0, abs=0.1)


def test_a_leaf_does_not_fall_onto_its_vertex(large: tuple[Scene, Layout]) -> None:
    scene, layout = large
    sea = sea_of(scene, layout)
    apart = nearest(layout, sea, sea)[:, 1] / spacing(scene)
    assert np.quantile(apart, 0.02) > 0.1


def test_cells_are_disjoint_and_their_moats_are_empty(large: tuple[Scene, Layout]) -> None:
    scene, layout = large
    assert len(layout.cell_id) == 3
    for index, cell in enumerate(layout.cell_id):
        mine = scene.cell == cell
        # Inside the cell the nearest neighbour is closer than the mean spacing; no stranger is.
        inner = nearest(layout, mine, mine)[:, 1] / spacing(scene)
        moat = nearest(layout, mine, ~mine)[:, 0] / spacing(scene)
        assert np.median(inner) < 1
        assert moat.min() > 1
        distance = np.hypot(*(layout.xy - layout.cell_xy[index]).T)
        assert (distance[~mine] > 0.8 * np.quantile(distance[mine], 0.9)).mean() > 0.999


def test_shares_and_table_add_up(large: tuple[Scene, Layout]) -> None:
    scene, layout = large
    sea = ~np.isin(scene.cell, layout.cell_id)
    assert layout.cell_nodes.sum() + sea.sum() == scene.nodes
    assert 0 < layout.cell_share.sum() < 1
    assert layout.light.mean() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("hubs", [2, 40])
def test_same_seed_same_bytes(make_scene: Maker, hubs: int) -> None:
    scene = make_scene(hubs=hubs, dust=3)
    one, other = place(scene, seed=3), place(scene, seed=3)
    assert one.xy.tobytes() == other.xy.tobytes()
    assert one.xy.tobytes() != place(scene, seed=4).xy.tobytes()


def test_a_chain_of_few_nodes_is_drawn_without_crossings(make_scene: Maker) -> None:
    scene = make_scene(groups=1, hubs=4)
    layout = place(scene)
    z = (layout.xy[:, 0] + 1j * layout.xy[:, 1]).astype(np.complex64)
    assert crossings(z, *edges_of(scene)) == 0
    spread = np.abs(z[:, None] - z[None, :]) + np.eye(scene.nodes)
    assert spread.min() > 0.02


def test_a_chain_unfolds_into_order() -> None:
    chain = np.arange(20, dtype=np.int32)
    z = spectral(20, chain[:-1], chain[1:], np.zeros(20, np.int32))
    assert np.abs(z).max() == pytest.approx(1)
    step = np.diff(z.real)
    assert (step > 0).all() or (step < 0).all()


def test_crossings_are_counted() -> None:
    square = np.array([0, 1, 1 + 1j, 1j], np.complex64)
    left, right = np.array([0, 1, 0], np.int32), np.array([2, 3, 1], np.int32)
    assert crossings(square, left, right) == 1
    assert crossings(square, left[[0, 2]], right[[0, 2]]) == 0


def test_an_empty_scene_and_a_single_node(make_scene: Maker) -> None:
    assert place(make_scene(groups=0, dust=0)).xy.shape == (0, 2)
    pair = place(make_scene(groups=0, dust=1))
    assert np.isfinite(pair.xy).all()


def test_progress_ends_at_one(make_scene: Maker) -> None:
    seen: list[float] = []
    place(make_scene(hubs=3), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)


def test_a_layout_survives_a_round_trip(make_scene: Maker, tmp_path: Path) -> None:
    layout = place(make_scene(hubs=3))
    save_layout(layout, tmp_path / "layout.npz")
    again = load_layout(tmp_path / "layout.npz")
    assert again.xy.tobytes() == layout.xy.tobytes()
    assert (again.seed, again.grid, again.parameters) == (0, layout.grid, layout.parameters)
    (tmp_path / "layout.npz").write_bytes(b"no")
    with pytest.raises(ContainerError):
        load_layout(tmp_path / "layout.npz")
