"""The strict mode on a whole compiled network, layer by layer against the fast mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipuc import zoo
from ipuc.emulator import run, strict
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.target import parse_target


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("target", ["tiny", "tiny,tiles=64"])
def test_a_network_on_private_memories(digits: Path, target: str, granularity: Granularity) -> None:
    program = compile_model(digits, target=parse_target(target), granularity=granularity)
    inputs = random_inputs(program, 0)
    _, fast = run.run_values(program, inputs)
    _, private = strict.run_values(program, inputs)
    assert fast.keys() == private.keys()
    assert len(fast) > 10
    for name, values in fast.items():
        # the fast mode multiplies larger matrices, which add in another order
        scale = 1e-6 * float(np.abs(values).max())
        np.testing.assert_allclose(private[name], values, rtol=0, atol=scale, strict=True)
