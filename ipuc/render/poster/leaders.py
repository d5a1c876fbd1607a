"""Where labels stand round a disc, and the lines that lead from them into cells.

All lengths are in units of the disc's radius, with its centre at (0, 0) and y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Point = tuple[float, float]
Room = tuple[float, float, float, float]

#: Labels keep this far from the rim, and from each other.
CLEAR, GAP = 0.05, 0.025

#: Points at which a line asks whose cell it is in.
_ASKED = 96

#: Cost of running through other cells, for each unit of length; of a bend; of a thin place.
_TRESPASS, _BEND, _THIN = 6.0, 0.35, 0.4

#: Angles at which a leader may leave the disc when it has a bend, off the straight one.
_TURNS = np.radians(np.array([-40, -32, -24, -18, -12, -7, -3, 3, 7, 12, 18, 24, 32, 40]))

#: Places of a cell that are tried for a bent leader at one angle, and to find the angle.
_BENT, _STARTS = 4, 8

#: Times that labels are pushed apart, that two may change places, and that leaders are led anew.
_PUSHES, _EXCHANGES, _ROUNDS = 200, 40, 4

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
    requests: Sequence[Request],
    territory: Territory,
    room: Room,
    wishes: Doubles | None = None,
) -> list[Placed]:
    """Give labels places round the disc so that none overlaps another and no two leaders cross.

    Leaders avoid other cells where they can. What finds no room is left out, the last requests
    first: they should be the least important.

    Args:
        requests: what wants a label, the most important first; each has a place to lead to.
        territory: which cell is where.
        room: left, top, right and bottom of the page.
        wishes: of `wishes_of`, if they are known.
    """
    wishes = wishes_of(requests, territory) if wishes is None else wishes
    for count in range(room_for(requests, wishes, room), 0, -1):
        centres = _untangled(requests[:count], wishes[:count], room)
        if centres is not None:
            return _connected(requests[:count], centres, territory)
    return []


def room_for(requests: Sequence[Request], wishes: Doubles, room: Room) -> int:
    """How many labels find room side by side, from the first on."""
    sizes = [request.size for request in requests]
    low, high = 0, len(sizes) + 1
    count = len(sizes)
    while low < high - 1:
        if _spread(wishes[:count], sizes[:count], room) is None:
            high = count
        else:
            low = count
        count = (low + high) // 2
    return low


def crosses(one: Sequence[Point], other: Sequence[Point]) -> bool:
    """Whether two polylines have a point in common."""
    return _touches(np.array(one, np.float64), [np.array(other, np.float64)])


def wishes_of(requests: Sequence[Request], territory: Territory) -> Doubles:
    """The angle at which each label would best stand: where its way out is short and free: [n]."""
    turn = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    ends = np.stack([np.cos(turn), np.sin(turn)], axis=1) * 1.03
    found = []
    for request in requests:
        starts = request.places[:_STARTS, None, :]
        away = np.hypot(*np.moveaxis(ends - starts, -1, 0))
        start, end = np.broadcast_arrays(starts, ends)
        cost = away + _TRESPASS * territory.trespass(start, end, request.cell)
        # Outward, if there is an outward.
        reach = np.hypot(*np.moveaxis(starts, -1, 0))
        cosine = (ends * starts).sum(axis=-1) / np.maximum(reach, 1e-9) / 1.03
        cost = (cost + 0.3 * (1 - cosine) * np.minimum(reach / 0.3, 1)).min(axis=0)
        found.append(turn[int(cost.argmin())])
    return np.array(found)


def _untangled(requests: Sequence[Request], wishes: Doubles, room: Room) -> Doubles | None:
    """Spread labels, and let two whose straight leaders cross change places, until none do.

    Returns:
        Centres [n, 2] with the fewest crossings that were found; None if there is no room.
    """
    angles = wishes.copy()
    sizes = [request.size for request in requests]
    spots = np.array([request.places[0] for request in requests])
    best: tuple[int, Doubles | None] = (len(requests) ** 2, None)
    for number in range(_EXCHANGES):
        centres = _spread(angles, sizes, room)
        if centres is None:
            break
        ports = _ports(centres, np.array(sizes), spots)
        pairs = np.argwhere(np.triu(_meet(ports, spots, ports, spots), 1))
        if len(pairs) < best[0]:
            best = len(pairs), centres
        if not len(pairs):
            break
        # The ends of two lines that cross, exchanged, make them shorter together: this ends, but
        # for labels of unlike size, which then push others along.
        moved: set[int] = set()
        for one, other in np.roll(pairs, number, axis=0).tolist():
            if not {one, other} & moved:
                angles[[one, other]] = angles[[other, one]]
                moved |= {one, other}
    return best[1]


def _spread(angles: Doubles, sizes: Sequence[Point], room: Room) -> Doubles | None:
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
        # Half of the gap is enough: the last of it would take most of the pushes.
        if not (((short > 0.5 * GAP) & (gap < np.pi)) | (gap < 0)).any():
            break
        push = np.where(close, np.clip(0.25 * short, 0.004, 0.05), 0.0)
        turned = turned - push
        turned[after] += push
    centres = _on_rim(turned, boxes, room)
    need = (boxes[:, None] + boxes[None]) / 2 + 0.2 * GAP
    over = (np.abs(centres[:, None] - centres[None]) < need).all(axis=-1)
    if np.triu(over, 1).any():
        return None
    half = boxes / 2
    low = (centres - half >= np.array(room[:2]) - 1e-6).all()
    high = (centres + half <= np.array(room[2:]) + 1e-6).all()
    if not (low and high):
        return None
    made = np.empty_like(centres)
    made[order] = centres
    return made


def _on_rim(turned: Doubles, boxes: Doubles, room: Room) -> Doubles:
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


def _connected(requests: Sequence[Request], centres: Doubles, territory: Territory) -> list[Placed]:
    """Lead every label into its cell; a leader that must cross another is left out.

    All begin with straight leaders, which hardly ever cross; then each in turn takes the best way
    that crosses no other's, until none finds a better one.
    """
    frames = [
        _frame(centre, np.array(request.size))
        for centre, request in zip(centres, requests, strict=True)
    ]
    ways = [
        _ways(request, centre, territory) for request, centre in zip(requests, centres, strict=True)
    ]
    taken: list[Doubles | None] = []
    for request, centre in zip(requests, centres, strict=True):
        spot = request.places[0]
        line = np.array([_port(centre, request.size, spot), spot])
        taken.append(None if _touches(line, taken) else line)
    for _ in range(_ROUNDS):
        changed = False
        for number, possible in enumerate(ways):
            others = taken[:number] + taken[number + 1 :]
            words = frames[:number] + frames[number + 1 :]
            best = _cheapest(possible, others, words)
            changed = changed or best is not taken[number]
            # None only for one that had none: its straight way is among those it may take.
            taken[number] = best
        if not changed:
            break
    return [
        Placed(number, _point(centres[number]), tuple(_point(point) for point in line))
        for number, line in enumerate(taken)
        if line is not None
    ]


def _cheapest(
    ways: Sequence[tuple[float, Doubles]],
    others: Sequence[Doubles | None],
    words: Sequence[Doubles],
) -> Doubles | None:
    """The best of the ways, cheapest first, that cross no other leader; None if all do.

    Better through no other label's words; but better so than without a label.
    """
    spare = None
    for _, way in ways:
        if _touches(way, others):
            continue
        if not _touches(way, words):
            return way
        if spare is None:
            spare = way
    return spare


def _ways(request: Request, centre: Doubles, territory: Territory) -> list[tuple[float, Doubles]]:
    """Leaders from a label to its cell, the best first: straight, or with one bend at the rim."""
    places = request.places
    ports = np.array([_port(centre, request.size, spot) for spot in places])
    thin = _THIN * np.arange(len(places)) / max(len(places), 1)
    cost = np.hypot(*(places - ports).T) + thin
    cost = cost + _TRESPASS * territory.trespass(ports, places, request.cell)
    ways = [
        (float(one), np.array([port, spot]))
        for one, port, spot in zip(cost, ports, places, strict=True)
    ]
    base = np.arctan2(centre[1], centre[0])
    for turn in _TURNS.tolist():
        gate = 1.04 * np.array([np.cos(base + turn), np.sin(base + turn)])
        port = np.array(_port(centre, request.size, gate))
        gates = np.broadcast_to(gate, places.shape)
        cost = np.hypot(*(places - gates).T) + thin + float(np.hypot(*(gate - port)))
        cost = cost + _BEND * (1 + abs(turn))
        cost = cost + _TRESPASS * territory.trespass(gates, places, request.cell)
        ways += [
            (float(cost[best]), np.array([port, gate, places[best]]))
            for best in np.argsort(cost, kind="stable")[:_BENT].tolist()
        ]
    ways.sort(key=lambda pair: pair[0])
    return ways


def _frame(centre: Doubles, size: Doubles) -> Doubles:
    """The outline of a label, a little inside its box: [5, 2]."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    return np.asarray(centre + 0.48 * size * corners, np.float64)


def _port(centre: Doubles, size: Point, towards: Doubles) -> Point:
    """Where a line from a label's middle to a point leaves the label's box."""
    return _point(_ports(centre, np.array(size), towards))


def _ports(centres: Doubles, sizes: Doubles, towards: Doubles) -> Doubles:
    """Where lines from labels' middles to points leave the labels' boxes: [..., 2]."""
    step = towards - centres
    scale = (sizes / 2 / np.maximum(np.abs(step), 1e-9)).min(axis=-1, keepdims=True)
    return np.asarray(centres + np.minimum(scale, 1.0) * step, np.float64)


def _point(at: Doubles) -> Point:
    return float(at[0]), float(at[1])


def _touches(line: Doubles, others: Sequence[Doubles | None]) -> bool:
    """Whether a polyline meets one of others."""
    lines = [other for other in others if other is not None]
    if not lines:
        return False
    starts = np.concatenate([other[:-1] for other in lines])
    ends = np.concatenate([other[1:] for other in lines])
    return bool(_meet(line[:-1], line[1:], starts, ends).any())


def _meet(a: Doubles, b: Doubles, c: Doubles, d: Doubles) -> NDArray[np.bool_]:
    """Which closed segments a-b [n, 2] and c-d [m, 2] have a common point: [n, m]."""
    a, b, c, d = a[:, None], b[:, None], c[None], d[None]

    def side(p: Doubles, q: Doubles, r: Doubles) -> Doubles:
        u, v = q - p, r - p
        return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0], np.float64)

    def on(p: Doubles, q: Doubles, r: Doubles) -> NDArray[np.bool_]:
        within = (np.minimum(p, q) <= r) & (r <= np.maximum(p, q))
        return np.asarray(within.all(axis=-1) & (side(p, q, r) == 0), np.bool_)

    across = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return np.asarray(across | on(a, b, c) | on(a, b, d) | on(c, d, a) | on(c, d, b), np.bool_)
