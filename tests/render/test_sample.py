"""A preview shows a sample: regions and edges of the program, and cells in its proportions."""

import numpy as np
import pytest

from ipuc import zoo
from ipuc.pipeline import compile_model
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.render import drawn
from ipuc.render.build import scene_of_graph
from ipuc.render.drawn import scene_and_layout
from ipuc.render.place import DISC, Layout
from ipuc.render.sample import Sample, sample_of
from ipuc.render.scene import Scene, check_scene
from ipuc.render.words import counts_of, words_of
from ipuc.target import parse_target

Drawn = tuple[Scene, Layout]


@pytest.fixture(name="program", scope="module")
def program_fixture() -> Program:
    return compile_model(zoo.build("digits"), target=parse_target("gc200,tiles=64"))


@pytest.fixture(name="graph", scope="module")
def graph_fixture(program: Program) -> VertexGraph:
    return VertexGraph(program)


@pytest.fixture(name="sample", scope="module")
def sample_fixture(graph: VertexGraph) -> Sample:
    return sample_of(graph.first_region, graph.regions // 4)


@pytest.fixture(name="preview")
def preview_fixture(program: Program, monkeypatch: pytest.MonkeyPatch) -> Drawn:
    monkeypatch.setattr(drawn, "PREVIEW_REGIONS", 3000)
    return scene_and_layout(program, preview=True)


def test_a_sample_takes_regions_of_large_variables_away(graph: VertexGraph, sample: Sample) -> None:
    kept = np.add.reduceat(np.append(sample.keep, 0), graph.first_region[:-1])
    regions = np.diff(graph.first_region)
    kept[regions == 0] = 0
    assert graph.regions // 5 < kept.sum() <= graph.regions // 4
    assert (kept[regions > 0] > 0).all()
    cap = kept.max()
    np.testing.assert_array_equal(kept, np.minimum(regions, cap))
    # one stands for all of its variable that were left out, so that sums are the graph's
    variable = np.repeat(np.arange(len(kept)), kept)
    np.testing.assert_allclose(
        np.bincount(variable, sample.stands, len(kept)), regions, rtol=1e-5
    )  # float32


def test_all_regions_are_a_sample(graph: VertexGraph) -> None:
    whole = sample_of(graph.first_region, graph.regions)
    assert whole.keep.all()
    assert (whole.stands == 1).all()


def test_edges_are_those_of_the_program(
    program: Program, graph: VertexGraph, sample: Sample
) -> None:
    """All edges of the kept regions, and no other, against the plain list of edges."""
    scene = scene_of_graph(program, graph, sample=sample)
    check_scene(scene)
    number = np.cumsum(sample.keep) - 1
    wanted = []
    for block in graph.blocks():
        vertex = np.repeat(np.arange(len(block.tile)), np.diff(block.edge_offsets))
        kept = sample.keep[block.regions]
        region = number[block.regions[kept]] + graph.vertices
        wanted.append(np.stack([block.first_vertex + vertex[kept], region]))
    found = np.concatenate([np.stack(pair) for pair in scene.edge_blocks()], axis=1)
    np.testing.assert_array_equal(found, np.concatenate(wanted, axis=1))
    for own, of_all in (
        (scene.tile, graph.region_tile),
        (scene.elements, graph.region_elements),
    ):
        np.testing.assert_array_equal(own[graph.vertices :], of_all[sample.keep])


def test_the_caption_counts_the_program_and_the_sample(graph: VertexGraph, preview: Drawn) -> None:
    scene, _ = preview
    assert scene.nodes < graph.nodes
    assert counts_of(scene) == {
        "nodes": graph.nodes,
        "vertices": graph.vertices,
        "regions": graph.regions,
        "edges": graph.edges(),
    }
    counts = "; ".join(words_of(scene).counts)
    assert f"{graph.nodes:,} nodes = " in counts
    assert f"preview: a sample of {scene.nodes:,} nodes, {scene.edges:,} edges" in counts


def test_a_preview_has_the_cells_of_the_whole(program: Program, preview: Drawn) -> None:
    _, layout = preview
    _, whole = scene_and_layout(program)
    assert layout.cell_id.size == whole.cell_id.size
    # Counts of nodes are estimated by variables, which two layers may share.
    np.testing.assert_allclose(layout.cell_share, whole.cell_share, rtol=0.02)
    assert layout.light.mean() == pytest.approx(1, rel=1e-3)
    assert np.hypot(*(layout.xy - 0.5).T).max() <= DISC * 1.0001


def test_the_same_seed_gives_the_same_preview(
    program: Program, preview: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "PREVIEW_REGIONS", 3000)
    again = scene_and_layout(program, preview=True)[1]
    assert again.xy.tobytes() == preview[1].xy.tobytes()
    other = scene_and_layout(program, preview=True, seed=1)[1]
    assert other.xy.tobytes() != again.xy.tobytes()
