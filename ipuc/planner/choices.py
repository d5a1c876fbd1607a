"""What the user decides about plans: memory that a layer may use, and plans that are pinned."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ipuc.errors import OptionError, nearest
from ipuc.planner.patterns import check_patterns, ruled
from ipuc.planner.poplin.search import AVAILABLE_MEMORY

#: A chosen plan, as a layer's plan record has it.
Record = Mapping[str, Any]

#: What a plan costs, beside what it is: another version of the cost model may say otherwise.
FIGURES = frozenset({"costs", "cycles", "planned", "temp_bytes", "balance"})


@dataclass(frozen=True, slots=True)
class Choices:
    """Decisions for every layer.

    Attributes:
        default: share of a tile's memory that a layer may use for what lives only while it runs,
            where no rule says otherwise.
        rules: (pattern, share) pairs; the last whose pattern fits a layer's name holds.
        pins: plans by layer name.

    Source: the option `availableMemoryProportion` of PopLibs' poplin, and its default.
    """

    default: float = AVAILABLE_MEMORY
    rules: tuple[tuple[str, float], ...] = ()
    pins: Mapping[str, Record] = field(default_factory=dict)

    def memory(self, layer: str) -> float:
        """The share of a tile's memory that a layer may use."""
        return ruled(self.rules, layer, self.default)

    def pinned(self, layer: str) -> Record | None:
        """The plan that a layer must have; None if it is free."""
        return self.pins.get(layer)

    def __str__(self) -> str:
        """The memory rules, as `--available-memory` takes them."""
        rules = (f"{pattern}={share:g}" for pattern, share in self.rules)
        return ",".join([f"{self.default:g}", *rules])

    def check(self, layers: Iterable[str]) -> None:
        """Hold every pattern and every pin to fit a layer.

        Raises:
            OptionError: one fits none.
        """
        names = list(layers)
        check_patterns((pattern for pattern, _ in self.rules), names, "--available-memory")
        known = set(names)
        for name in self.pins:
            if name not in known:
                raise OptionError(
                    f'the model has no layer "{name}"', where="--plan", fix=nearest(name, names)
                )

    def check_obeyed(self, layer: str, made: Record) -> None:
        """Hold what a planner made of a pinned layer to the pin; figures do not count.

        Args:
            layer: its name.
            made: the layer's plan record, empty if it made no choice.

        Raises:
            OptionError: the layer has another plan.
        """
        wanted = self.pinned(layer)
        if wanted is not None and identity(made.get("chosen", {})) != identity(wanted):
            raise misfit(layer, "its planner cannot make this plan")


def identity(record: Record) -> Any:
    """What a plan is, without what it costs, as plain JSON values."""
    kept = {key: value for key, value in record.items() if key not in FIGURES}
    return json.loads(json.dumps(kept))


def misfit(layer: str, why: str) -> OptionError:
    """The error of a pinned plan that a layer cannot have."""
    return OptionError(
        f"the pinned plan does not fit: {why}",
        where=f'--plan, layer "{layer}"',
        fix="take the layer out of the file, or save the plans of this model anew (--save-plan)",
    )


def parse_memory(text: str) -> Choices:
    """Read `SHARE`, or `SHARE,PATTERN=SHARE,...`; no plan is pinned.

    Raises:
        OptionError: it is written otherwise, or a share is not above 0 and at most 1.
    """
    first, *rest = [part.strip() for part in text.split(",")]
    rules: list[tuple[str, float]] = []
    for part in rest:
        pattern, equals, share = part.rpartition("=")
        if not equals or not pattern:
            raise OptionError(
                f'"{part}" is no rule',
                where="--available-memory",
                fix=f"write {first},LAYER=0.3",
            )
        rules.append((pattern, _share(share)))
    return Choices(_share(first), tuple(rules))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise OptionError(
            f'"{text}" is no share of the memory',
            where="--available-memory",
            fix="write a number above 0, at most 1, then rules: 0.6,conv1=0.3",
        )
    return share
