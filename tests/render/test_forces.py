"""Oracles: dense formulas in float64."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_edges import edges_of

from ipuc.render.place.coarsen import coarsen
from ipuc.render.place.forces import Parameters, forces_of, springs_of
from ipuc.render.place.poisson import CENTRE, RADIUS, Mesh
from ipuc.render.place.springs import PairSprings, RangeSprings, Springs
from ipuc.render.scene import VERTEX, Scene
from ipuc.render.touches import touches_of_edges


def force(springs: Springs, z: np.ndarray) -> np.ndarray:
    out = np.zeros(z.size, np.complex64)
    springs.pull(z, out)
    return np.asarray(out - springs.stiffness * z)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.booleans())
@settings(max_examples=60, deadline=None)
def test_springs_equal_the_dense_formula(left: int, right: int, seed: int, ranges: bool) -> None:
    rng = np.random.default_rng(seed)
    present = np.argwhere(rng.random((left, right)) < rng.random())
    a, b = present[:, 0].astype(np.int32), present[:, 1].astype(np.int32)
    shuffle = rng.permutation(a.size)
    a, b = a[shuffle], b[shuffle]
    n = left + right
    of_region = rng.random(right).astype(np.float32)
    weight = of_region[b] if ranges else rng.random(a.size).astype(np.float32)
    z = (rng.random(n) + 1j * rng.random(n)).astype(np.complex64)
    dense = np.zeros((n, n))
    dense[a, left + b] = dense[left + b, a] = weight
    expected = dense @ z - dense.sum(axis=1) * z
    springs = (
        RangeSprings(touches_of_edges(left, right, a, b), of_region)
        if ranges
        else PairSprings(n, a, left + b, weight)
    )
    # float32 sums of at most 12 terms of size 1
    np.testing.assert_allclose(force(springs, z), expected, atol=1e-5)
    np.testing.assert_allclose(springs.stiffness, dense.sum(axis=1), atol=1e-5)


def test_springs_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 50, 1000).astype(np.int32)
    b = rng.integers(50, 100, 1000).astype(np.int32)
    z = (rng.random(100) + 1j * rng.random(100)).astype(np.complex64)
    whole, parts = np.zeros(100, np.complex64), np.zeros(100, np.complex64)
    PairSprings(100, a, b, np.ones(1000, np.float32)).pull(z, whole)
    monkeypatch.setattr("ipuc.render.place.springs.BLOCK", 64)
    springs = PairSprings(100, a, b, np.ones(1000, np.float32))
    assert len(springs._halves[0][0]._cuts) > 5
    springs.pull(z, parts)
    np.testing.assert_array_equal(parts, whole)


def at_nodes(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    field, density, at = found
    return field[at], density[at]


def test_the_field_of_a_point_charge_falls_as_one_over_distance() -> None:
    grid = 256
    mesh = Mesh(grid)
    mesh._disc = np.full((grid, grid), 1 / grid**2, np.float32)
    distance = np.array([4, 8, 16, 24])
    at = np.append(0, distance) / grid
    z = (CENTRE + at).astype(np.complex64)
    charge = np.array([1, 0, 0, 0, 0], np.float32)
    force, density = at_nodes(mesh.field(z, charge, 0.5 + 0.5j))
    # The box is periodic and neutral, and the field is smoothed: 3 % at a tenth of its side.
    np.testing.assert_allclose(
        force.real[1:] * grid, 1 / (2 * np.pi * distance), rtol=0.03, err_msg="1/d"
    )
    np.testing.assert_allclose(force.imag, 0, atol=1e-6)
    assert abs(force[0]) < 1e-6
    assert density[0] == pytest.approx(1, rel=1e-4)


def test_gravity_is_linear_in_the_disc_whatever_the_shift() -> None:
    mesh = Mesh(128)
    at = np.linspace(-0.8, 0.8, 9) * RADIUS
    z = np.append(CENTRE + at, CENTRE + 0.999j * RADIUS).astype(np.complex64)
    charge = np.append(np.full(9, 1e-6), 1).astype(np.float32)
    near, _ = at_nodes(mesh.field(z, charge, 0.1 + 0.9j))
    far, _ = at_nodes(mesh.field(z, charge, 0.9 + 0.1j))
    # One unit charge on the rim, whose own field is the same for both shifts up to one cell.
    np.testing.assert_allclose(near[:9], far[:9], atol=0.01)


def test_a_uniform_disc_is_at_rest() -> None:
    rng = np.random.default_rng(1)
    radius = RADIUS * np.sqrt((np.arange(60_000) + 0.5) / 60_000)
    z = (CENTRE + radius * np.exp(2j * np.pi * rng.random(60_000))).astype(np.complex64)
    force, density = at_nodes(Mesh(64).field(z, np.ones(60_000, np.float32), 0.5 + 0.5j))
    inner = np.abs(z - CENTRE) < 0.9 * RADIUS
    # Gravity alone would be 0.5 * 0.43 at the rim; what is left is noise of 25 nodes a cell.
    assert np.abs(force[inner]).mean() < 0.01
    assert density[inner].mean() == pytest.approx(1.0, abs=0.06)


def test_charges_follow_the_rules(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(groups=3, hubs=40, dust=50)
    work = np.bincount(scene.layer[: scene.vertices], scene.activity[: scene.vertices])
    p = Parameters()
    forces = forces_of(scene, p)
    assert forces.bound == 3
    assert forces.charge.sum() == pytest.approx(scene.nodes, rel=1e-5)
    assert (forces.light.astype(float)).mean() == pytest.approx(1, rel=1e-5)
    assert forces.share[-1] == pytest.approx((100 / scene.nodes) ** p.area_exponent)
    # cells of one size: their areas differ by their work alone
    expected = (work[:3] / work[0]) ** (p.area_work * p.area_exponent)
    np.testing.assert_allclose(forces.share[:-1] / forces.share[0], expected, rtol=1e-6)
    inside = forces.group == 0
    regions = inside & (scene.kind == 1)
    degree = np.bincount(edges_of(scene)[1], minlength=scene.nodes)
    shared = forces.charge[regions & (degree > 1)].sum()
    vertices = forces.charge[inside & (scene.kind == 0)].sum()
    assert shared / (shared + vertices) == pytest.approx(p.region_share, rel=1e-4)


def test_work_gives_room_and_light(make_scene: Callable[..., Scene]) -> None:
    """Charges of a cell's vertices are as their cycles to a power; half of its light is so too."""
    scene = make_scene(groups=2, hubs=60, dust=30)
    p = Parameters()
    forces = forces_of(scene, p)
    members = np.flatnonzero((forces.group == 0) & (scene.kind == VERTEX))
    cycles = scene.activity[members].astype(np.float64)
    cycles = np.maximum(cycles, 0.01 * cycles.mean())
    charge = forces.charge[members]
    np.testing.assert_allclose(charge / charge[0], (cycles / cycles[0]) ** p.vertex_work, rtol=1e-4)
    inside = forces.group == 0
    mean = forces.light[inside].mean()
    assert mean == pytest.approx(forces.share[0] * scene.nodes / inside.sum(), rel=1e-5)
    light = forces.light[members] / mean
    by_work = scene.activity[members] / scene.activity[inside].mean()
    seen = by_work > 0.02
    np.testing.assert_allclose(
        light[seen], 1 - p.light_work + p.light_work * by_work[seen], rtol=0.01
    )
    sea = (forces.group == forces.bound) & (scene.kind == VERTEX)
    assert np.unique(forces.charge[sea]).size == 1


def test_a_cell_of_high_arithmetic_intensity_is_held_tighter(
    make_scene: Callable[..., Scene],
) -> None:
    """Intensity is cycles per byte that vertices reach; the pull grows with its root."""
    scene = make_scene(groups=3, hubs=60, dust=30)
    _, region = edges_of(scene)
    group = forces_of(scene, Parameters()).group
    carried = scene.elements[region] * scene.itemsize[region].astype(float)
    traffic = np.bincount(group[region], carried)[:3]
    work = np.bincount(group[: scene.vertices], scene.activity[: scene.vertices])[:3]
    pull = forces_of(scene, Parameters()).pull
    expected = np.sqrt(work / traffic / np.median(work / traffic))
    np.testing.assert_allclose(pull[:3], Parameters().cell_spring * expected, rtol=1e-4)
    assert pull[3] == 0


def test_a_coarse_graph_pulls_like_the_fine_one(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(groups=2, hubs=60, dust=30)
    p = Parameters()
    forces = forces_of(scene, p)
    coarse = coarsen(scene, forces, p)
    rng = np.random.default_rng(0)
    z = (rng.random(coarse.clusters) + 1j * rng.random(coarse.clusters)).astype(np.complex64)
    fine = z[coarse.cluster]
    pull = np.sum([force(springs, fine) for springs in springs_of(scene, forces, p)], axis=0)
    both = [np.bincount(coarse.cluster, part) for part in (pull.real, pull.imag)]
    np.testing.assert_allclose(force(coarse.springs, z).real, both[0], atol=1e-3)
    np.testing.assert_allclose(force(coarse.springs, z).imag, both[1], atol=1e-3)
    assert coarse.charge.sum() == pytest.approx(scene.nodes, rel=1e-5)
    sea = coarse.group == forces.bound
    assert sea.sum() == 30
