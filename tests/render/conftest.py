from collections.abc import Callable

import numpy as np
import pytest

from ipuc.render.cells import cells_of
from ipuc.render.scene import REGION, VERTEX, LayerInfo, Scene
from ipuc.render.touches import touches_of_edges

SceneMaker = Callable[..., Scene]


def make_scene(groups: int = 2, hubs: int = 30, dust: int = 0, seed: int = 0) -> Scene:
    """Two-row grids (one per layer) of vertices sharing regions, and loose vertices for the sea."""
    rng = np.random.default_rng(seed)
    vertex, region, layer, kind = [], [], [], []
    node = 0
    for group in range(groups):
        first = np.arange(node, node + hubs)
        shared = np.arange(node + hubs, node + 2 * hubs + 1)
        leaves = np.arange(node + 2 * hubs + 1, node + 4 * hubs + 1)
        vertex += [first, first, np.repeat(first, 2)]
        region += [shared[:-1], shared[1:], leaves]
        count = 4 * hubs + 1
        layer.append(np.full(count, group))
        kind.append(np.where(np.arange(count) < hubs, VERTEX, REGION))
        node += count
    loose = np.arange(node, node + dust)
    vertex.append(loose)
    region.append(loose + dust)
    kind.append(np.repeat([VERTEX, REGION], dust))
    layer.append(np.full(2 * dust, groups))
    node += 2 * dust
    ends = np.concatenate(vertex), np.concatenate(region)
    kinds = np.concatenate(kind).astype(np.uint8)
    layers = np.concatenate(layer).astype(np.int32)
    order = np.argsort(kinds, kind="stable")
    number = np.argsort(order)
    kinds, layers = kinds[order], layers[order]
    vertices = int(np.count_nonzero(kinds == VERTEX))
    left, right = (number[end].astype(np.int32) for end in ends)
    touches = touches_of_edges(vertices, node - vertices, left, right - np.int32(vertices))
    infos = tuple(LayerInfo(f"layer{i}", f"Layer {i}", "forward") for i in range(groups + 1))
    return Scene(
        kind=kinds,
        tile=(np.arange(node) % 16).astype(np.int32),
        layer=layers,
        elements=np.where(kinds == REGION, 1 + np.arange(node) % 50, 1).astype(np.int32),
        itemsize=np.where(kinds == REGION, 2, 1).astype(np.uint8),
        activity=rng.random(node).astype(np.float32),
        codelet=np.where(kinds == VERTEX, 0, -1).astype(np.int16),
        cell=cells_of(layers[:vertices], touches),
        touches=touches,
        layers=infos,
        codelets=("toy",),
        title="toy",
        provenance={"model": "toy"},
    )


@pytest.fixture(name="make_scene", scope="session")
def make_scene_fixture() -> SceneMaker:
    return make_scene
