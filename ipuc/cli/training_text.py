"""What `compile` says of a training program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.cli.arrays import describe_array
from ipuc.cli.output import counted, say, table
from ipuc.emulator.machine import tensor_values
from ipuc.importer.limits import readable
from ipuc.pipeline import first_not_finite
from ipuc.program.program import Program
from ipuc.training.loss import LABELS, LOSS
from ipuc.training.scaling import LOSS_SCALE

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
    of = facts.get("loss_of", "")
    taken = "" if of in ("", facts["loss"]) else f' of "{of}"'
    say(f"  training step: loss {facts['loss']}{taken}, optimizer {facts['optimizer']}{scaled}")
    if LABELS in program.inputs:
        classes = facts["classes"]
        numbers = f", classes 0 to {classes - 1}" if isinstance(classes, int) else ""
        say(f"    {LABELS}: {program.inputs[LABELS]}{numbers}")
    if facts.get("left_out"):
        say(f"    outputs of the model that a step does not give: {_listed(facts['left_out'])}")
    for word, names in (
        ("trained", facts["trained"]),
        ("frozen", facts["frozen"]),
        ("not trained, as no gradient reaches them", facts["unreached"]),
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


def print_step(program: Program, outputs: Mapping[str, Array]) -> None:
    """Print what a training step has made: the loss, and how far weights and state moved."""
    rows = [["changed", "type", "largest change", "largest value"]]
    for name, array in outputs.items():
        if name not in program.state:
            for line in describe_array(name, array, classes=False):
                say(line)
            continue
        before = _held(program, name).astype(np.float32)
        moved = np.abs(array - before).max(initial=0)
        kind = f"{array.dtype.name}[{'x'.join(map(str, array.shape))}]"
        rows.append([name, kind, f"{moved:.4g}", f"{np.abs(array).max(initial=0):.4g}"])
    if len(rows) > 1:
        table(rows, right=range(2, 4))
    if skipped(program, outputs):
        say(
            "the step was not taken, as gradients overflow at loss scale "
            f"{_held(program, LOSS_SCALE).item():g}: the weights stay, and the next step has "
            f"{outputs[LOSS_SCALE].item():g}"
        )


def skipped(program: Program, outputs: Mapping[str, Array]) -> bool:
    """Whether a loss scale that adjusts itself has fallen, and let a step fall out."""
    if LOSS_SCALE not in program.state:
        return False
    return bool(outputs[LOSS_SCALE] < _held(program, LOSS_SCALE))


def _held(program: Program, name: str) -> Array:
    """A state before the first step."""
    return tensor_values(program.state[name].tensor, program.constants.__getitem__)


def not_finite(
    program: Program, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> dict[str, str] | None:
    """Where numbers were lost, if the loss, a gradient or anything that was trained is not finite.

    The program runs once more for that, and only then.

    Returns:
        The "output", and the first "value" that is not finite; the "layer", its "label" and
        "layer_pass" and the operator "op" that made it, if it is no input.
    """
    lost = [name for name, array in outputs.items() if _lost(array)]
    if not lost or not is_training(program):
        return None
    where = {"output": LOSS if LOSS in lost else lost[0]}
    given = [name for name, array in inputs.items() if _lost(array)]
    if given:
        return {**where, "value": given[0]}
    found = first_not_finite(program, inputs)
    if found is None:
        return where
    layer, value = found
    names = {"layer": layer.layer, "label": layer.label, "layer_pass": layer.layer_pass}
    return {**where, "value": value, "op": layer.op, **names}


def _lost(array: Array) -> bool:
    return array.dtype.kind == "f" and not np.isfinite(array).all()


def not_finite_text(found: Mapping[str, str], *, saved: bool) -> str:
    """Say what `not_finite` has found, and what to do."""
    what = "the loss" if found["output"] == LOSS else f'"{found["output"]}"'
    written = "; the outputs are written all the same" * saved
    if "layer" not in found:
        value = found.get("value")
        fault = f': input "{value}" holds NaN or infinity; correct it' if value else ""
        return f"{what} is not finite{fault}{written}"
    label, layer = found["label"], found["layer"]
    called = f", {label}" if label and label != layer else ""
    of = f' of layer "{layer}"{called}' if layer else ""
    return (
        f'{what} is not finite; the first NaN or infinity is "{found["value"]}", made by '
        f"{found['op']}{of} ({found['layer_pass']}){written}. Lower the learning rate "
        "(--optimizer NAME:lr=...), or the size of the inputs; in halves set --loss-scale auto, "
        "--saturate, or --precision mixed,LAYER=float32"
    )
