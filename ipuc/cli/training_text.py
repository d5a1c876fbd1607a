"""What `compile` says of a training program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.cli.arrays import describe_array
from ipuc.cli.output import counted, say, table, warn
from ipuc.emulator.machine import tensor_values
from ipuc.importer.limits import readable
from ipuc.pipeline import first_not_finite
from ipuc.program.program import Program
from ipuc.training.loss import LOSS

Array = NDArray[Any]

#: Weights that are named in one line.
_NAMED = 60


def print_training(program: Program) -> None:
    """Print loss, optimizer, and which weights are trained; nothing for inference."""
    facts = program.metadata.get("training")
    if not isinstance(facts, dict):
        return
    scale = facts["loss_scale"]
    scaled = "" if scale == 1 else f", loss scale {scale}"
    say(f"  training step: loss {facts['loss']}, optimizer {facts['optimizer']}{scaled}")
    for word, names in (
        ("trained", facts["trained"]),
        ("frozen", facts["frozen"]),
        ("not trained, as the loss does not depend on them", facts["unreached"]),
    ):
        if names:
            say(f"    {word}: {counted(len(names), 'weight')}: {_listed(names)}")
    if "recomputed" in facts:
        _print_recomputed(program, facts["recomputed"], facts["released"])


def _print_recomputed(program: Program, layers: list[str], released: list[str]) -> None:
    """Say what the backward pass computes again, and what need not be kept for it."""
    if not layers:
        say("    recomputed: nothing, as the backward pass reads no result of these layers")
        return
    held = [program.values[name] for name in released if name in program.values]
    size = sum(tensor.size * np.dtype(tensor.dtype).itemsize for tensor in held)
    say(
        f"    recomputed: {counted(len(layers), 'layer')}: {_listed(layers)}; "
        f"{readable(size)} of their results need not be kept for the backward pass"
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(str(name) for name in names[:_NAMED]) + (f" and {more} more" * (more > 0))


def is_training(program: Program) -> bool:
    """Whether a program is one step of training."""
    return isinstance(program.metadata.get("training"), dict)


def print_step(program: Program, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
    """Print what a training step has made: the loss, and how far weights and state moved."""
    rows = [["changed", "type", "largest change", "largest value"]]
    for name, array in outputs.items():
        if name not in program.state:
            for line in describe_array(name, array, classes=False):
                say(line)
            continue
        held = program.state[name]
        before = tensor_values(held.tensor, program.constants.__getitem__).astype(np.float32)
        moved = np.abs(array - before).max(initial=0)
        kind = f"{array.dtype.name}[{'x'.join(map(str, array.shape))}]"
        rows.append([name, kind, f"{moved:.4g}", f"{np.abs(array).max(initial=0):.4g}"])
    if len(rows) > 1:
        table(rows, right=range(2, 4))
    _warn_not_finite(program, inputs, outputs)


def _warn_not_finite(
    program: Program, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> None:
    """Say in which layer numbers were lost, if the loss or anything else is not finite."""
    lost = [name for name, array in outputs.items() if not np.isfinite(array).all()]
    found = first_not_finite(program, inputs) if lost else None
    if found is None:
        return
    layer, value = found
    what = "the loss" if LOSS in lost else f'"{lost[0]}"'
    label = f", {layer.label}" if layer.label and layer.label != layer.layer else ""
    warn(
        f'{what} is not finite; the first NaN or infinity is "{value}", made by {layer.op} of '
        f'layer "{layer.layer}"{label} ({layer.layer_pass}); lower the learning rate, or in '
        "halves set --loss-scale, --saturate, or --precision mixed,LAYER=float32"
    )
