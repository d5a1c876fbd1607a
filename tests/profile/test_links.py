"""Links between IPUs: routes that lead where they should, and times worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.emulator.strict import home_tiles
from ipuc.profile.cycles import barrier_cycles, exchange_cycles, global_cycles, local_cycles
from ipuc.profile.exchange import Traffic, of_variable
from ipuc.profile.links import link_cycles, routes
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import CATALOGUE, MAX_IPUS, Target, several
from ipuc.types import Ints

#: A link carries exactly a byte in a cycle.
PLAIN = dataclasses.replace(
    CATALOGUE["tiny"], clock_hz=10**9, link_bits_per_second=8 * 10**9, link_percent=100
)


@pytest.mark.parametrize("ipus", [2, 3, 4, 7, MAX_IPUS])
def test_following_the_links_leads_from_every_ipu_to_every_other(ipus: int) -> None:
    used = routes(ipus).reshape(ipus, 4, ipus, ipus)
    for source, target in np.ndindex(ipus, ipus):
        links = {(int(at), int(kind)) for at, kind in np.argwhere(used[:, :, source, target])}
        reached = source
        while links:
            (at, kind) = next(link for link in links if link[0] == reached)
            links.remove((at, kind))
            reached = {0: at ^ 1, 1: at ^ 1, 2: at + 2, 3: at - 2}[kind]
            assert 0 <= reached < ipus
        assert reached == target


def bytes_between(ipus: int, **ways: int) -> Ints:
    crossing = np.zeros((ipus, ipus), np.int64)
    for way, count in ways.items():
        crossing[int(way[1]), int(way[3])] = count
    return crossing


@pytest.mark.parametrize(
    ("ways", "cycles"),
    [
        ({}, 0),
        ({"_0_1": 4000}, 1000),  # four links to the partner
        ({"_0_1": 4000, "_1_0": 4000}, 1000),  # both ways at once
        ({"_0_2": 4000}, 2000),  # two links up
        ({"_1_2": 4000}, 2000),  # two links across, then two up
        ({"_0_1": 4000, "_0_2": 1000}, 1000),  # other links
        ({"_0_2": 4000, "_1_2": 4000}, 4000),  # both go up from IPU 0
        ({"_0_2": 4000, "_2_0": 4000}, 2000),
        ({"_0_1": 1}, 1),
    ],
)
def test_the_busiest_links_take_their_time(ways: dict[str, int], cycles: int) -> None:
    assert link_cycles(several(PLAIN, 4), bytes_between(4, **ways)) == cycles


def test_published_rate_of_a_pair_of_ipus() -> None:
    """Four links of 128 * 2^30 bits a second, of which 85 % are payload: 58.4 GB/s."""
    target = several(CATALOGUE["gc200"], 2)
    second = link_cycles(target, bytes_between(2, _0_1=int(4 * 128 * 2**30 * 0.85 / 8)))
    assert second == pytest.approx(target.clock_hz, rel=1e-9)


def test_an_exchange_between_ipus_is_a_phase_of_its_own() -> None:
    target = several(PLAIN, 2)
    traffic = Traffic.none(8, 2)
    traffic.received[:] = [40, 0, 0, 0, 80, 0, 0, 0]
    traffic.came[4] = 80
    traffic.sent[:] = [80, 40, 0, 0, 0, 0, 0, 0]
    traffic.went[0] = 80
    traffic.links[0, 1] = 80
    # four bytes a cycle on the tile, and on four links
    assert global_cycles(target, traffic) == 20
    assert local_cycles(target, traffic) == 10
    assert exchange_cycles(target, traffic) == 30
    assert barrier_cycles(target, traffic) == target.sync_cycles + target.external_sync_cycles
    slow = dataclasses.replace(target, pair_links=1)
    assert global_cycles(slow, traffic) == 80
    for column in (traffic.came, traffic.went, traffic.links):
        column[:] = 0
    assert barrier_cycles(target, traffic) == target.sync_cycles
    assert global_cycles(target, traffic) == 0
    assert barrier_cycles(target, Traffic.none(8, 2)) == 0


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Variable, list[set[int]]]:
    """A variable on two IPUs of three tiles, and the elements that each tile touches."""
    size = draw(st.integers(1, 30))
    tiles = draw(st.lists(st.integers(0, 5), min_size=size, max_size=size))
    variable = Variable(0, "v", draw(st.sampled_from(["float32", "float16"])), (size,))
    variable.mapping = TileMapping(np.arange(size), np.array(tiles, np.int64))
    return variable, [draw(st.sets(st.integers(0, size - 1), max_size=8)) for _ in range(6)]


def traffic_of(variable: Variable, wanted: list[set[int]], *, writes: bool) -> Traffic:
    tile, begin = (
        np.array(
            [(tile, element) for tile in range(6) for element in sorted(wanted[tile])], np.int64
        )
        .reshape(-1, 2)
        .T
    )
    return of_variable(variable, tile, begin, begin + 1, 6, writes=writes, ipus=2)


@settings(deadline=None)
@given(wishes())
def test_reads_from_another_ipu_against_sets(case: tuple[Variable, list[set[int]]]) -> None:
    variable, wanted = case
    home, size = home_tiles(variable, 6), variable.itemsize
    remote = [{e for e in wanted[tile] if home[e] != tile} for tile in range(6)]
    came = [{e for e in remote[tile] if home[e] // 3 != tile // 3} for tile in range(6)]
    by_ipu = [set.union(*remote[:3]), set.union(*remote[3:])]
    traffic = traffic_of(variable, wanted, writes=False)
    assert traffic.received.tolist() == [size * len(one) for one in remote]
    assert traffic.came.tolist() == [size * len(one) for one in came]
    for tile in range(6):
        local, distant = (
            size * sum(home[e] == tile for e in by_ipu[ipu]) for ipu in (tile // 3, 1 - tile // 3)
        )
        assert traffic.went[tile] == distant
        assert traffic.sent[tile] == local + distant
    for source, target in np.ndindex(2, 2):
        crossed = sum(home[e] // 3 == source for e in by_ipu[target]) * (source != target)
        assert traffic.links[source, target] == size * crossed
    near = [one - two for one, two in zip(remote, came, strict=True)]
    both = [size * len(near[0] & near[1]), size * len(near[3] & near[4])]
    # the third tile of an IPU has no partner, least of all on the next IPU
    assert traffic.paired.tolist() == [both[0], both[0], 0, both[1], both[1], 0]


@settings(deadline=None)
@given(wishes())
def test_writes_to_another_ipu_against_sets(case: tuple[Variable, list[set[int]]]) -> None:
    variable, wanted = case
    home, size = home_tiles(variable, 6), variable.itemsize
    taken: set[int] = set()
    for tile in range(6):  # nothing is written twice
        wanted[tile] -= taken
        taken |= wanted[tile]
    traffic = traffic_of(variable, wanted, writes=True)
    links = np.zeros((2, 2), np.int64)
    for tile in range(6):
        away = {e for e in wanted[tile] if home[e] != tile}
        assert traffic.sent[tile] == size * len(away)
        assert traffic.went[tile] == size * sum(home[e] // 3 != tile // 3 for e in away)
        for e in away:
            links[tile // 3, home[e] // 3] += size
    np.fill_diagonal(links, 0)
    assert traffic.links.tolist() == links.tolist()
    assert traffic.came.reshape(2, 3).sum(axis=1).tolist() == links.sum(axis=0).tolist()


def test_targets_of_one_ipu_know_no_links() -> None:
    one = Traffic.none(4)
    one.received[:], one.sent[:] = 8, 8
    targets: list[Target] = [CATALOGUE["tiny"], several(CATALOGUE["tiny"], 1)]
    assert [exchange_cycles(target, one) for target in targets] == [2, 2]
