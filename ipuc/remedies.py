"""What helps a program that does not fit, and what that costs: every remedy is really compiled.

A remedy is a change of the options; its price is what the planner and the profile make of it, so
nothing is promised that the same command with that option would not give.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipuc.errors import IpucError
from ipuc.importer.digest import Model
from ipuc.lowering.shard import RULES
from ipuc.pipeline import compile_model
from ipuc.planner.choices import Choices
from ipuc.planner.precision import FORMATS, Precision, parse_precision
from ipuc.profile.record import profile
from ipuc.program.program import Program
from ipuc.target import CATALOGUE, MAX_IPUS, Target
from ipuc.training.options import Training
from ipuc.training.recompute import ALL

#: Seconds in which remedies are tried, unless the caller says otherwise.
SECONDS = 60.0
#: Shares of a tile's memory that are tried, largest first.
SHARES = (0.3, 0.15)

#: Called with the remedy that is tried now.
Tell = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change of the options.

    Attributes:
        kind: what is changed; two remedies of one kind exclude each other.
        flag: what to add to the command, or to write instead of what is there.
        changes: the same as arguments of `compile_model`.
    """

    kind: str
    flag: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """What a remedy makes of the program.

    Attributes:
        flag: the remedy.
        fits: whether no tile needs more than it has; None if that was not found out.
        max_tile_bytes: what the fullest tile needs.
        limit_bytes: what a tile has.
        cycles: of one run; of a smaller batch, too.
        ratio: of the time to that without the remedy, for as many samples.
        serial: layers whose plan works through serial splits, one after another.
        why_not: the reason if the remedy was not tried, or cannot be.
    """

    flag: str
    fits: bool | None = None
    max_tile_bytes: int | None = None
    limit_bytes: int | None = None
    cycles: int | None = None
    ratio: float | None = None
    serial: int | None = None
    why_not: str | None = None


class _OutOfTimeError(Exception):
    """The time for remedies is over."""


class _Clock:
    """Ends a compile when its time is over; called as `compile_model`'s progress is."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def __call__(self, *_: Any) -> None:
        """Go on, if there is time left."""
        if self.over:
            raise _OutOfTimeError


def remedies(arguments: Mapping[str, Any]) -> list[Remedy]:
    """List what could make a program fit: the mildest of every kind, then the next of each.

    Args:
        arguments: of `compile_model`, as the program that does not fit was compiled with.
    """
    kinds = (
        _granularity(arguments),
        _memory(arguments),
        _recompute(arguments),
        _precision(arguments),
        _ipus(arguments),
        _batch(arguments),
        _target(arguments),
    )
    turns = itertools.zip_longest(*kinds)
    return [one for turn in turns for one in turn if one is not None]


def _granularity(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """One vertex a tile has least state."""
    if arguments.get("granularity", "tile") != "tile":
        yield Remedy("granularity", "--granularity tile", {"granularity": "tile"})


def _memory(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """Plans that take less memory while they run, by splitting layers serially."""
    given = arguments.get("choices") or Choices()
    for share in SHARES:
        if share < given.default:
            rules = tuple((name, min(old, share)) for name, old in given.rules)
            changed = Choices(share, rules)
            yield Remedy("memory", f"--available-memory {_word(changed)}", {"choices": changed})


def _recompute(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """A backward pass that computes results again instead of keeping them."""
    training: Training | None = arguments.get("training")
    if training is not None and not training.recompute:
        changed = dataclasses.replace(training, recompute=(ALL,))
        yield Remedy("recompute", f"--recompute {ALL}", {"training": changed})


def _precision(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """Halves take half the bytes; partial sums in halves again, and less exact."""
    given = arguments.get("precision", "float32")
    formats = parse_precision(given) if isinstance(given, str) else given
    smaller = {"float32": ("mixed", "float16"), "mixed": ("float16",)}
    for name in smaller.get(formats.default.name, ()):
        changed = Precision(FORMATS[name], formats.rules)
        yield Remedy("precision", f"--precision {_word(changed)}", {"precision": changed})


def _ipus(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """Layers shared out over twice and four times as many IPUs."""
    given, rule = arguments.get("ipus", 1), arguments.get("shard", "auto")
    for ipus in (2 * given, 4 * given):
        if ipus <= MAX_IPUS:
            # Layers that were named begin as many IPUs as before.
            named = rule not in RULES
            flag = f"--ipus {ipus}{' --shard auto' * named}"
            shard = "auto" if named else rule
            yield Remedy("ipus", flag, {"ipus": ipus, "shard": shard})


def _batch(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """Half the batch, where the command gave it."""
    batch, shapes = arguments.get("batch"), arguments.get("shapes") or {}
    if batch is not None and batch > 1:
        yield Remedy("batch", f"--batch {batch // 2}", {"batch": batch // 2})
    sizes = {shape[0] for shape in shapes.values() if shape}
    if batch is None and len(sizes) == 1 and min(sizes) > 1:
        halved = {name: (shape[0] // 2, *shape[1:]) for name, shape in shapes.items()}
        flags = (f"--shape {name}={'x'.join(map(str, shape))}" for name, shape in halved.items())
        yield Remedy("batch", " ".join(flags), {"shapes": halved})


def _target(arguments: Mapping[str, Any]) -> Iterator[Remedy]:
    """A chip with more memory."""
    target: Target = arguments["target"]
    larger = CATALOGUE["gc200"]
    if target == CATALOGUE["gc2"]:
        yield Remedy("target", f"--target {larger.name}", {"target": larger})


def _word(value: object) -> str:
    """What an option takes, quoted where it holds a pattern."""
    text = str(value)
    return f'"{text}"' if "," in text else text


def price_all(
    source: Model,
    arguments: Mapping[str, Any],
    cycles: int,
    seconds: float = SECONDS,
    tell: Tell | None = None,
) -> list[Price]:
    """Compile and profile a model with every remedy, and with two or three if none helps alone.

    Args:
        source: the model.
        arguments: of `compile_model`, as the program that does not fit was compiled with.
        cycles: of that program.
        seconds: when these are over, remedies that are left are not tried. Pinned plans are let go.
        tell: called with the flag of every remedy before it is tried.

    Returns:
        Prices in the order in which they were tried.
    """
    clock = _Clock(seconds)
    given = arguments.get("choices") or Choices()
    if given.pins:
        # Plans hold for one precision and one machine, and would keep the memory that they take.
        arguments = {**arguments, "choices": dataclasses.replace(given, pins={})}
    tried = [
        (one, _price(source, arguments, one, cycles, clock, tell)) for one in remedies(arguments)
    ]
    prices = [price for _, price in tried]
    for count in (2, 3):
        if any(price.fits for price in prices):
            break
        best = _best_of_kinds(tried)[:count]
        if len(best) == count:
            prices.append(_price(source, arguments, _together(best), cycles, clock, tell))
    return prices


def _best_of_kinds(tried: Sequence[tuple[Remedy, Price]]) -> list[Remedy]:
    """Of every kind the remedy that leaves the fullest tile least full, best kind first."""
    sized = [(price.max_tile_bytes, one) for one, price in tried if price.max_tile_bytes]
    sized.sort(key=lambda item: item[0])
    best: dict[str, Remedy] = {}
    for _, one in sized:
        best.setdefault(one.kind, one)
    return list(best.values())


def _together(several: Sequence[Remedy]) -> Remedy:
    """Several remedies of different kinds at once."""
    changes = {name: value for one in several for name, value in one.changes.items()}
    kinds = " + ".join(one.kind for one in several)
    return Remedy(kinds, " ".join(one.flag for one in several), changes)


def _price(
    source: Model,
    arguments: Mapping[str, Any],
    remedy: Remedy,
    cycles: int,
    clock: _Clock,
    tell: Tell | None,
) -> Price:
    """Compile and profile with one remedy."""
    if not clock.over and tell is not None:
        tell(remedy.flag)
    try:
        clock()
        program = compile_model(source, **{**arguments, **remedy.changes, "progress": clock})
        found = profile(program, clock)
    except _OutOfTimeError:
        return Price(remedy.flag, why_not="not tried: the time was over")
    except IpucError as error:
        return Price(remedy.flag, why_not=f"cannot be: {error.what}")
    total = found.cycles["total"]
    return Price(
        remedy.flag,
        found.memory.fits,
        found.memory.max_tile_bytes,
        found.memory.target.tile_memory_bytes,
        total,
        found.seconds * _runs(arguments, remedy) * arguments["target"].clock_hz / max(cycles, 1),
        serial_layers(program),
    )


def _runs(arguments: Mapping[str, Any], remedy: Remedy) -> float:
    """How many runs with a remedy do the work of one without: more than one of a smaller batch."""
    if "batch" in remedy.changes:
        return float(arguments["batch"]) / float(remedy.changes["batch"])
    if "shapes" in remedy.changes:
        name, halved = next(iter(remedy.changes["shapes"].items()))
        return float(arguments["shapes"][name][0]) / float(halved[0])
    return 1.0


def serial_layers(program: Program) -> int:
    """Layers whose plan does them in several steps, one after another."""
    chosen = (layer.plan.get("chosen") or {} for layer in program.layers)
    return sum(plan.get("serial", 1) > 1 for plan in chosen)
