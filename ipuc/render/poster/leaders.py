"""Where labels stand round a disc, and the lines that lead from them into cells.

All lengths are in units of the disc's radius, with its centre at (0, 0) and y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Point = tuple[float, float]

#: Labels keep this far from the rim, and from each other.
CLEAR, GAP = 0.10, 0.025

#: Points at which a line asks whose cell it is in.
_ASKED = 96

#: Cost of running through other cells, for each unit of length; of a bend; of a thin place.
_TRESPASS, _BEND, _THIN = 6.0, 0.35, 0.25

#: Angles at which a leader may leave the disc when it has a bend, off the straight one.
_TURNS = np.radians(np.array([-24, -18, -12, -7, -3, 3, 7, 12, 18, 24]))

#: Times that labels are pushed apart, and that two may change places.
_PUSHES, _EXCHANGES = 200, 30

#: Angles that are tried for a label, to find out where it would best stand.
_ANGLES = 120


@dataclass(frozen=True, slots=True)
class Request:
    """A cell that wants a label.

    Attributes:
        places: [k, 2] where its leader may end, the best first.
        size: width and height of the label.
        cell: its number on the map of cells.
    """

    places: Doubles
    size: Point
    cell: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A label that has found room.

    Attributes:
        request: index into the requests.
        centre: of the label.
        leader: from the label's edge, over a bend if there is one, to the cell.
    """

    request: int
    centre: Point
    leader: tuple[Point, ...]


class Territory:
    """Which cell is where.

    Args:
        owner: [g, g] number of the cell in every bin of the square that the disc touches with
            radius `radius` (in units of the square); negative where there is none.
        radius: of the disc, as a share of the square's side.
    """

    def __init__(self, owner: NDArray[np.int32], radius: float) -> None:
        self._owner = owner
        self._radius = radius

    def trespass(self, start: Doubles, end: Doubles, cell: int) -> Doubles:
        """Length of lines in cells that are not theirs: [...] for starts and ends [..., 2]."""
        t = (np.arange(_ASKED) + 0.5) / _ASKED
        at = start[..., None, :] + t[:, None] * (end - start)[..., None, :]
        grid = len(self._owner)
        bins = np.floor((0.5 + at * self._radius) * grid).astype(np.int64)
        inside = ((bins >= 0) & (bins < grid)).all(axis=-1)
        bins = np.clip(bins, 0, grid - 1)
        owner = self._owner[bins[..., 1], bins[..., 0]]
        foreign = inside & (owner != -1) & (owner != cell)
        length = np.hypot(*np.moveaxis(end - start, -1, 0))
        return np.asarray(foreign.mean(axis=-1) * length, np.float64)


def lay_out(
    requests: Sequence[Request], territory: Territory, room: tuple[float, float, float, float]
) -> list[Placed]:
    """Give labels places round the disc so that none overlaps another and no two leaders cross.

    Leaders avoid other cells where they can. What finds no room is left out, the last requests
    first: they should be the least important.

    Args:
        requests: what wants a label, the most important first.
        territory: which cell is where.
        room: left, top, right and bottom of the page.
    """
    chosen = [at for at, request in enumerate(requests) if len(request.places)]
    wishes = _wishes(requests, chosen, territory)
    while chosen:
        centres = _untangled([requests[at] for at in chosen], wishes[: len(chosen)], room)
        if centres is not None:
            return _connected(requests, chosen, centres, territory)
        chosen.pop()
    return []


def crosses(one: Sequence[Point], other: Sequence[Point]) -> bool:
    """Whether two polylines have a point in common."""
    for a, b in pairwise(one):
        for c, d in pairwise(other):
            if _segments_meet(a, b, c, d):
                return True
    return False


def _wishes(requests: Sequence[Request], chosen: Sequence[int], territory: Territory) -> Doubles:
    """The angle at which each label would best stand: where its way out is short and free."""
    turn = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    ends = np.stack([np.cos(turn), np.sin(turn)], axis=1) * 1.03
    found = []
    for at in chosen:
        request = requests[at]
        start = request.places[0]
        away = np.hypot(*(ends - start).T)
        cost = away + _TRESPASS * territory.trespass(start, ends, request.cell)
        # Outward, if there is an outward.
        reach = float(np.hypot(*start))
        cost = cost + 0.3 * (1 - (ends @ start) / max(reach, 1e-9) / 1.03) * min(reach / 0.3, 1)
        found.append(turn[int(cost.argmin())])
    return np.array(found)


def _untangled(
    requests: Sequence[Request], wishes: Doubles, room: tuple[float, float, float, float]
) -> Doubles | None:
    """Spread labels, and let two whose leaders cross change places, until none do.

    Returns:
        Centres [n, 2]; None if there is no room for all.
    """
    angles = wishes.copy()
    sizes = [request.size for request in requests]
    spots = [request.places[0] for request in requests]
    centres = _spread(angles, sizes, room)
    for _ in range(_EXCHANGES):
        if centres is None:
            break
        straight = [
            (_port(centre, size, spot), _point(spot))
            for centre, size, spot in zip(centres, sizes, spots, strict=True)
        ]
        crossed = next(
            (
                pair
                for pair in combinations(range(len(requests)), 2)
                if crosses(straight[pair[0]], straight[pair[1]])
            ),
            None,
        )
        if crossed is None:
            break
        # The ends of two lines that cross, exchanged, make them shorter together: this ends.
        angles[list(crossed)] = angles[list(crossed)[::-1]]
        centres = _spread(angles, sizes, room)
    return centres


def _spread(
    angles: Doubles, sizes: Sequence[Point], room: tuple[float, float, float, float]
) -> Doubles | None:
    """Push labels apart along the rim, in the order of their angles: centres [n, 2] or None."""
    # Labels that want one and the same angle get an order that does not depend on the platform.
    order = np.argsort(angles + 1e-9 * np.arange(len(angles)), kind="stable")
    turned = np.unwrap(angles[order])
    boxes = np.array(sizes)[order]
    count = len(order)
    after = np.roll(np.arange(count), -1)
    need = (boxes + boxes[after]) / 2 + GAP
    lap = np.where(after == 0, 2 * np.pi, 0.0)
    for _ in range(_PUSHES if count > 1 else 0):
        centres = _on_rim(turned, boxes, room)
        short = (need - np.abs(centres[after] - centres)).min(axis=1)
        gap = turned[after] + lap - turned
        close = ((short > 1e-9) & (gap < np.pi)) | (gap < 0)
        if not close.any():
            break
        push = np.where(close, np.clip(0.25 * short, 0.004, 0.05), 0.0)
        turned = turned - push
        turned[after] += push
    centres = _on_rim(turned, boxes, room)
    for one, other in combinations(range(count), 2):
        need = (boxes[one] + boxes[other]) / 2 + 0.2 * GAP
        if (np.abs(centres[one] - centres[other]) < need).all():
            return None
    half = boxes / 2
    low = (centres - half >= np.array(room[:2]) - 1e-6).all()
    high = (centres + half <= np.array(room[2:]) + 1e-6).all()
    if not (low and high):
        return None
    made = np.empty_like(centres)
    made[order] = centres
    return made


def _on_rim(turned: Doubles, boxes: Doubles, room: tuple[float, float, float, float]) -> Doubles:
    """Centres of labels whose boxes stand just off the rim, held inside the page: [n, 2]."""
    way = np.stack([np.cos(turned), np.sin(turned)], axis=1)
    # A box clears the circle when its nearest corner or side does: found from outside inwards.
    half = boxes / 2
    reach = 1 + CLEAR + (np.abs(way) * half).sum(axis=1)
    centres = way * reach[:, None]
    low, high = np.array(room[:2]) + half, np.array(room[2:]) - half
    held = np.clip(centres, low, high)
    # What the page's edge pushed back slides along it until it clears the disc again.
    for axis, other in ((0, 1), (1, 0)):
        pushed = np.abs(held[:, axis] - centres[:, axis]) > 1e-9
        near = np.maximum(np.abs(held[:, axis]) - half[:, axis], 0)
        least = np.sqrt(np.maximum((1 + 0.5 * CLEAR) ** 2 - near**2, 0)) + half[:, other]
        away = np.maximum(np.abs(held[:, other]), least)
        side = np.where(held[:, other] < 0, -1, 1)
        held[:, other] = np.where(pushed, side * away, held[:, other])
    return np.asarray(np.clip(held, low, high), np.float64)


def _connected(
    requests: Sequence[Request], chosen: Sequence[int], centres: Doubles, territory: Territory
) -> list[Placed]:
    """Lead every label into its cell; a leader that must cross another is left out."""
    frames = [_frame(centre, requests[at].size) for at, centre in zip(chosen, centres, strict=True)]
    placed: list[Placed] = []
    for number, (at, centre) in enumerate(zip(chosen, centres, strict=True)):
        ways = _ways(requests[at], centre, territory)
        taken = [one.leader for one in placed]
        ways = [way for way in ways if not any(crosses(way, one) for one in taken)]
        # Better through no other label's words; but better so than without a label.
        words = frames[:number] + frames[number + 1 :]
        clear = (way for way in ways if not any(crosses(way, one) for one in words))
        free = next(clear, ways[0] if ways else None)
        if free is not None:
            placed.append(Placed(at, _point(centre), free))
    return placed


def _ways(request: Request, centre: Doubles, territory: Territory) -> list[tuple[Point, ...]]:
    """Leaders from a label to its cell, the best first: straight, or with one bend at the rim."""
    places = request.places
    ports = np.array([_port(centre, request.size, spot) for spot in places])
    thin = _THIN * np.arange(len(places)) / max(len(places), 1)
    cost = np.hypot(*(places - ports).T) + thin
    cost = cost + _TRESPASS * territory.trespass(ports, places, request.cell)
    ways: list[tuple[float, tuple[Point, ...]]] = [
        (float(one), (_point(port), _point(spot)))
        for one, port, spot in zip(cost, ports, places, strict=True)
    ]
    base = np.arctan2(centre[1], centre[0])
    for angle in (base + _TURNS).tolist():
        gate = 1.04 * np.array([np.cos(angle), np.sin(angle)])
        port = np.array(_port(centre, request.size, gate))
        gates = np.broadcast_to(gate, places.shape)
        cost = np.hypot(*(places - gates).T) + thin + _BEND + float(np.hypot(*(gate - port)))
        cost = cost + _TRESPASS * territory.trespass(gates, places, request.cell)
        best = int(cost.argmin())
        way = (_point(port), _point(gate), _point(places[best]))
        ways.append((float(cost[best]), way))
    ways.sort(key=lambda pair: pair[0])
    return [way for _, way in ways]


def _frame(centre: Doubles, size: Point) -> tuple[Point, ...]:
    """The outline of a label, a little inside its box."""
    x, y = 0.48 * size[0], 0.48 * size[1]
    corners = ((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y))
    return tuple((float(centre[0] + dx), float(centre[1] + dy)) for dx, dy in corners)


def _port(centre: Doubles, size: Point, towards: Doubles) -> Point:
    """Where a line from a label's middle to a point leaves the label's box."""
    step = towards - centre
    half = np.array(size) / 2
    scale = float(np.min(half / np.maximum(np.abs(step), 1e-9)))
    return _point(centre + min(scale, 1.0) * step)


def _point(at: Doubles) -> Point:
    return float(at[0]), float(at[1])


def _segments_meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two closed segments have a common point."""

    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    one, two = side(a, b, c), side(a, b, d)
    three, four = side(c, d, a), side(c, d, b)
    if one * two < 0 and three * four < 0:
        return True

    def on(p: Point, q: Point, r: Point) -> bool:
        return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(
            p[1], q[1]
        )

    return any(
        value == 0 and on(p, q, r)
        for value, p, q, r in ((one, a, b, c), (two, a, b, d), (three, c, d, a), (four, c, d, b))
    )
