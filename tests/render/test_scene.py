import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ipuc.errors import ContainerError, InternalError
from ipuc.render.scene import REGION, Scene, check_scene, load_scene, save_scene
from ipuc.render.touches import Touches


def test_a_scene_survives_a_round_trip(make_scene: Callable[..., Scene], tmp_path: Path) -> None:
    scene = make_scene(dust=5)
    check_scene(scene)
    save_scene(scene, tmp_path / "scene.npz")
    again = load_scene(tmp_path / "scene.npz")
    for field in dataclasses.fields(Scene):
        one, other = getattr(scene, field.name), getattr(again, field.name)
        if isinstance(one, Touches):
            one, other = (np.concatenate([t.first, t.low, t.count]) for t in (one, other))
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other
    assert [path.name for path in tmp_path.iterdir()] == ["scene.npz"]


def test_counts(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(groups=1, hubs=3, dust=2)
    assert (scene.nodes, scene.vertices, scene.regions, scene.edges) == (17, 5, 12, 14)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tile", -1), ("layer", 99), ("codelet", 7), ("elements", 0), ("kind", 1)],
)
def test_a_broken_scene_is_refused(make_scene: Callable[..., Scene], name: str, value: int) -> None:
    scene = make_scene()
    array = getattr(scene, name).copy()
    array[0] = value
    with pytest.raises(InternalError):
        check_scene(dataclasses.replace(scene, **{name: array}))


@pytest.mark.parametrize(("name", "value"), [("low", -1), ("low", 9999), ("count", 0)])
def test_broken_edges_are_refused(make_scene: Callable[..., Scene], name: str, value: int) -> None:
    scene = make_scene()
    array = getattr(scene.touches, name).copy()
    array[0] = value
    touches = dataclasses.replace(scene.touches, **{name: array})
    with pytest.raises(InternalError):
        check_scene(dataclasses.replace(scene, touches=touches))


def test_a_region_has_no_codelet(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene()
    codelet = scene.codelet.copy()
    codelet[scene.kind == REGION] = 0
    with pytest.raises(InternalError, match="region has a codelet"):
        check_scene(dataclasses.replace(scene, codelet=codelet))


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_damaged_file_is_refused(
    make_scene: Callable[..., Scene], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "scene.npz"
    save_scene(make_scene(), path)
    data = path.read_bytes()
    path.write_bytes({"text": b"hello", "cut": data[: len(data) // 2], "empty": b""}[damage])
    with pytest.raises(ContainerError):
        load_scene(path)


def test_a_file_that_cannot_be_written_leaves_nothing(
    make_scene: Callable[..., Scene], tmp_path: Path
) -> None:
    with pytest.raises(ContainerError, match="cannot be written"):
        save_scene(make_scene(), tmp_path / "nowhere" / "scene.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ContainerError, match="cannot be written"):
        save_scene(make_scene(), tmp_path / "folder.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]
