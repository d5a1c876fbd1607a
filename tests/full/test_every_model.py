"""Every model that can be built, at full size, every layer against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipuc import zoo
from ipuc.check import verify_model
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.target import parse_target

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def test_all_sixteen_are_there() -> None:
    """Seven of our own, nine of the onnx package's light models."""
    assert len(zoo.names()) == 16


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("name", zoo.names())
def test_every_layer_agrees_with_onnxruntime(
    folder: Path, name: str, granularity: Granularity
) -> None:
    path = folder / f"{name}.onnx"
    if not path.is_file():
        zoo.write(name, path)
    program = compile_model(path, target=parse_target("gc200"), granularity=granularity)
    report = verify_model(path, program, random_inputs(program, 0), "onnxruntime")
    worst = max(report.layers, key=lambda layer: layer.max_rel)
    assert report.ok, (worst, report.first_mismatch)
    # float32 sums in another order: see ipuc.check
    assert worst.max_rel < 1e-4
    assert {layer.name for layer in report.layers} == {layer.name for layer in program.layers}
