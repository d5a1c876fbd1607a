"""Small models, whole: every layer against onnxruntime, at both granularities.

The tolerance is that of `ipuc.check`: 1e-4 of a layer's largest value, because two engines add
the same float32 products in another order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ipuc import zoo
from ipuc.check import verify_model
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.target import parse_target

GC200 = parse_target("gc200")


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return zoo.write("light_squeezenet", folder / "light_squeezenet.onnx")


def check(path: Path, granularity: Granularity, least: int) -> None:
    program = compile_model(path, target=GC200, granularity=granularity)
    report = verify_model(path, program, random_inputs(program, 0), "onnxruntime")
    worst = max(report.layers, key=lambda layer: layer.max_rel)
    assert report.ok, (worst, report.first_mismatch)
    assert worst.max_rel < 1e-4
    assert len(report.layers) >= least


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize(("name", "layers"), [("digits", 10), ("astro", 14)])
def test_our_small_models(tmp_path: Path, name: str, layers: int, granularity: Granularity) -> None:
    check(zoo.write(name, tmp_path / f"{name}.onnx"), granularity, layers)


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_relit_squeezenet(squeezenet: Path, granularity: Granularity) -> None:
    check(squeezenet, granularity, 60)


def swapped(model: onnx.ModelProto, weight: str) -> onnx.ModelProto:
    """The model with two input channels of one convolution's weights exchanged."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (tensor,) = [one for one in changed.graph.initializer if one.name == weight]
    array = numpy_helper.to_array(tensor).copy()
    array[:, [0, 1]] = array[:, [1, 0]]
    tensor.CopyFrom(numpy_helper.from_array(array, weight))
    return changed


def test_two_swapped_input_channels_of_one_convolution_are_noticed(squeezenet: Path) -> None:
    """On the relit model; with the constant weights it was shipped with, nothing would change."""
    model = onnx.load(squeezenet)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    node = convolutions[len(convolutions) // 2]
    program = compile_model(swapped(model, node.input[1]), target=GC200)
    report = verify_model(model, program, random_inputs(program, 0), "onnxruntime")
    assert not report.ok
    assert report.first_mismatch is not None
    assert report.first_mismatch.layer == node.name
    right = {layer.name: layer.max_rel for layer in report.layers}
    assert right[node.name] > 1e-2
    before = [one.name for one in convolutions[: len(convolutions) // 2]]
    assert all(right[name] < 1e-4 for name in before)


def test_results_do_not_depend_on_the_granularity() -> None:
    """Another split adds in another order, no more."""
    model = zoo.build("digits")
    coarse, fine = (compile_model(model, target=GC200, granularity=g) for g in ("tile", "worker"))
    inputs = random_inputs(coarse, 1)
    layers = verify_model(model, fine, inputs).layers
    assert max(layer.max_rel for layer in layers) < 1e-6
    assert sum(f.count for f in fine.families()) > sum(f.count for f in coarse.families())
    assert all(np.isfinite(layer.max_abs) for layer in layers)
