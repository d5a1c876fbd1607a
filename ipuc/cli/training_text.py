"""What `compile` says of a training program."""

from __future__ import annotations

from ipuc.cli.output import counted, say
from ipuc.program.program import Program

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
            more = len(names) - _NAMED
            rest = f" and {more} more" if more > 0 else ""
            listed = ", ".join(str(name) for name in names[:_NAMED])
            say(f"    {word}: {counted(len(names), 'weight')}: {listed}{rest}")
