"""One training step of whole networks: torch, onnxruntime on the exported graph, and our emulator.

The loss agrees with torch's to a relative 1e-4, and so does every new weight: the norm of the
difference, by the norm of the weight. A weight that was 0 (the shift of a normalisation) is nothing
but its gradient afterwards, and float32 does not give that of a deep network of batch
normalisations to 1e-4: torch in float32 is 1e-2 from torch in float64. There we may be no
farther from float64 than twice what torch is.

Gradients are held the same way, by the median over the elements of each weight and by direction: a
ReLU that falls on the other side of 0 by a rounding moves single values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from training_judge import Arrays, Judge, compiled, nearness, undropped

from ipuc import zoo
from ipuc.emulator.run import Emulator
from ipuc.pipeline import random_inputs

pytest.importorskip("torch", reason="make test-full installs torch")
pytestmark = pytest.mark.full

RELATIVE = 1e-4
#: 1 - the cosine of the angle between two gradients.
TURNED = 1e-4
BATCHES = {"digits": 8, "astro": 4, "alexnet": 2, "resnet34": 2}
RATE = 0.01
OPTIMIZERS = ("none", f"sgd:lr={RATE}")


def held(found: Mapping[str, object], torchs: Arrays, exact: Arrays, prefix: str = "") -> None:
    """Hold arrays to torch's, or to float64 where torch itself is far from it."""
    for name, right in torchs.items():
        ours = np.asarray(found[prefix + name])
        near, off = nearness(ours, right), nearness(ours, exact[name])
        theirs = nearness(right, exact[name])
        if prefix:  # gradients
            assert near.median <= RELATIVE or off.median <= 2 * theirs.median, f"{name}: {off}"
            assert min(near.cosine, off.cosine) >= 1 - TURNED, f"{name}: {off}"
        else:
            assert near.norm <= RELATIVE or off.norm <= 2 * theirs.norm, f"{name}: {off}"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", BATCHES)
def test_three_engines_agree(name: str, optimizer: str) -> None:
    from torch_step import TorchModel  # noqa: PLC0415  # it imports torch

    model = undropped(zoo.build(name, batch=None))
    program = compiled(model, optimizer, batch=BATCHES[name], target="gc200")
    inputs = random_inputs(program, 1)
    trained = program.metadata["training"]["trained"]
    kind = optimizer.partition(":")[0]
    numbers = {} if kind == "none" else {"lr": RATE}
    one, exact = (
        TorchModel(model, trained, optimizer=kind, numbers=numbers, exact=wide).step(inputs)
        for wide in (False, True)
    )
    emulator = Emulator(program, keep=False)
    ours = emulator.run(inputs) | emulator.state()
    exported = Judge.of(program).step(inputs)
    for found in (exported, ours):
        assert float(found["loss"]) == pytest.approx(one.loss, rel=RELATIVE)
        if kind == "none":
            held(found, one.gradients, exact.gradients, "grad/")
        else:
            held(found, one.weights, exact.weights)
