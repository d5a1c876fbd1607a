"""What the pictures of 2017 show, in layouts of the true graphs at full size.

Published pictures: flowers of 32, 19 and 43 lobes for AlexNet's fully connected layers, some 20
cells in a sea for ResNet-34. Lobes are the column blocks of a layer's plan, which the program says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.program.program import Program
from ipuc.render.build import scene_of
from ipuc.render.place import DISC, Layout, parameters_for, place
from ipuc.render.place.forces import forces_of
from ipuc.render.scene import Scene
from ipuc.target import parse_target
from ipuc.training.options import Training

pytestmark = pytest.mark.full

Drawn = tuple[Scene, Layout]


def trained(name: str) -> Program:
    return compile_model(
        zoo.build(name),
        target=parse_target("gc2"),
        granularity="worker",
        precision="mixed",
        outline=True,
        batch=1,
        training=Training(),
    )


@pytest.fixture(name="alexnet", scope="module")
def alexnet_fixture() -> Drawn:
    scene = scene_of(trained("alexnet2017"))
    return scene, place(scene)


@pytest.fixture(name="resnet", scope="module")
def resnet_fixture() -> Scene:
    return scene_of(trained("resnet34_2017"))


def column_blocks(scene: Scene, layer: str) -> list[np.ndarray]:
    """Forward vertices of a fully connected layer, by the slice of the input that they read."""
    names = [index for index, info in enumerate(scene.layers) if info.name == layer]
    kind = scene.codelets.index("FullyConnectedPartial")
    v = scene.vertices
    members = np.flatnonzero((scene.codelet[:v] == kind) & np.isin(scene.layer[:v], names))
    touches = scene.touches
    readers = np.bincount(touches.low, minlength=scene.regions)
    # of a vertex's ranges, the slice of the input is the one that most vertices share
    of = touches.vertex()
    wanted = np.isin(of, members)
    vertex, low = of[wanted], touches.low[wanted]
    order = np.lexsort((readers[low], vertex))
    last = np.append(vertex[order][1:] != vertex[order][:-1], True)
    slices, block = np.unique(low[order][last], return_inverse=True)
    return [members[block == index] for index in range(slices.size)]


@pytest.mark.parametrize(("layer", "lobes"), [("fc6", 32), ("fc7", 19), ("fc8", 43)])
def test_fully_connected_layers_have_separate_lobes(alexnet: Drawn, layer: str, lobes: int) -> None:
    scene, layout = alexnet
    z = layout.xy[:, 0].astype(np.float64) + 1j * layout.xy[:, 1]
    blocks = [z[members] for members in column_blocks(scene, layer)]
    assert len(blocks) == lobes
    centre = np.array([block.mean() for block in blocks])
    radius = np.array([np.sqrt(np.mean(np.abs(block - block.mean()) ** 2)) for block in blocks])
    apart = np.abs(centre[:, None] - centre[None, :]) + 9 * np.eye(lobes)
    print(f"{layer}: nearest other lobe at {(apart.min(axis=1) / radius).min():.2f} rms radii")  # noqa: T201
    assert (apart.min(axis=1) / radius > 2).all()


def test_alexnet_has_one_or_two_giants(alexnet: Drawn) -> None:
    _, layout = alexnet
    assert 1 <= (layout.cell_share > 0.15).sum() <= 2
    assert np.hypot(*(layout.xy - 0.5).T).max() <= DISC * 1.0001


def test_resnet_has_twenty_big_cells(resnet: Scene) -> None:
    """The passes of its convolutions and the fully connected layer; others are elementwise."""
    works = ("ConvPartial", "ConvWeightGrad", "FullyConnectedPartial")
    kinds = [n for n, name in enumerate(resnet.codelets) if name.startswith(works)]
    size = np.bincount(resnet.cell)
    found = np.unique(
        resnet.cell[: resnet.vertices][np.isin(resnet.codelet, kinds)[: resnet.vertices]]
    )
    assert found.size == 20
    assert (size[found] > 20_000).all()


def test_the_sea_of_resnet_has_its_share(resnet: Scene) -> None:
    """Predicted: (its nodes / all nodes) ** g of the disc, at the mean density of charge."""
    layout = place(resnet)
    sea = ~np.isin(resnet.cell, layout.cell_id)
    predicted = (sea.sum() / resnet.nodes) ** layout.parameters.area_exponent
    grid = 256
    at = (layout.xy[sea] * grid).astype(int)
    charge = forces_of(resnet, layout.parameters).charge[sea]
    count = np.bincount(at[:, 1] * grid + at[:, 0], charge, grid * grid)
    mean = resnet.nodes / (np.pi * (DISC * grid) ** 2)
    covered = (count > 0.5 * mean).sum() / (np.pi * (DISC * grid) ** 2)
    print(f"sea: {covered:.3f} of the disc, predicted {predicted:.3f}")  # noqa: T201
    assert covered == pytest.approx(predicted, rel=0.1)


def test_neighbours_are_of_one_layer_without_virtual_springs(resnet: Scene) -> None:
    """Nothing but the program's edges and repulsion keeps a layer together."""
    layout = place(resnet, parameters=replace(parameters_for(resnet.nodes), cell_spring=0.0))
    names = list(dict.fromkeys(info.name for info in resnet.layers))
    layer = np.array([names.index(info.name) for info in resnet.layers])[resnet.layer]
    weighty = [n for n, name in enumerate(names) if "conv" in name or name.startswith("fc")]
    chosen = np.random.default_rng(0).choice(np.flatnonzero(np.isin(layer, weighty)), 2000, False)
    grid = 1500
    cell = (layout.xy * grid).astype(np.int64)
    key = cell[:, 1] * grid + cell[:, 0]
    order = np.argsort(key)
    sorted_key = key[order]
    own = 0
    for node in chosen.tolist():
        reach = 1
        while True:  # wider until ten others are surely nearer than the window's edge
            rows = cell[node, 1] + np.arange(-reach, reach + 1)
            ends = np.searchsorted(
                sorted_key,
                [[r * grid + cell[node, 0] + d for d in (-reach, reach + 1)] for r in rows],
            )
            near = np.concatenate([order[a:b] for a, b in ends])
            distance = np.hypot(*(layout.xy[near] - layout.xy[node]).T)
            if (distance < reach / grid).sum() > 10:
                break
            reach *= 2
        ten = near[np.argsort(distance)[1:11]]
        own += (layer[ten] == layer[node]).sum() > 5
    print(f"most of ten nearest neighbours in the own layer: {own / chosen.size:.1%} of nodes")  # noqa: T201
    assert own / chosen.size >= 0.9
