"""What each neighbour is told does not depend on the order in which things came to be known."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from bgp.export import NOTHING, Announcement, Told
from bgp.message import Attributes, Numbered, Place, dst_of
from bgp.neighbour import Kind, Neighbour
from bgp.outgoing import TRIM_AT, Difference, Outgoing, Table, TableFor, difference
from bgp.passing import CLOSED, Policy, Winner

Network = IPv4Network | IPv6Network
CLUSTER = IPv4Address("1.0.0.1")
ME = ip_address("10.0.0.1")
NEIGHBOURS = tuple(
    Neighbour(f"n{number}", Kind.NODE, ip_address(f"10.0.0.{number}"), peer_as, 64512, ME, cluster_id=cluster)
    for number, peer_as, cluster in (
        (2, 64512, None), (3, 64512, None), (4, 64512, CLUSTER), (5, 64512, CLUSTER), (6, 65000, None), (7, 65000, None)
    )
)  # fmt: skip
DESTINATIONS = tuple(ip_network(f"10.244.{number}.0/26") for number in range(5))
POLICIES = (
    Policy(pools=(ip_network("10.244.0.0/16"),), cluster_id=CLUSTER),
    Policy(pools=(ip_network("10.244.0.0/23"),), cluster_id=CLUSTER),
    Policy(),
)

winners = st.builds(
    Winner,
    st.sampled_from(NEIGHBOURS),
    st.just(IPv4Address("10.0.0.99")),
    st.builds(Attributes, st.just(ip_address("10.0.0.9")), st.sampled_from((100, 200))),
    st.sampled_from((0, 1)),
)
ALL_PATHS = {"n3": frozenset({4}), "n5": frozenset({4}), "n7": frozenset({4})}
"""Who is told of every path; the others of the best alone."""


def _source_of(winner: Winner) -> tuple[str, int]:
    return winner.neighbour.name, winner.path_id


def told_to(outgoing: Outgoing, neighbour: Neighbour) -> Told:
    return outgoing.to(neighbour, ALL_PATHS.get(neighbour.name, frozenset()))


def without_numbers(told: Told) -> list[str]:
    """They are given in the order in which paths come."""
    return sorted(f"{dst_of(place)} {announcement}" for place, announcement in told.items())


@dataclass(frozen=True)
class Learn:
    """``winners``: the accepted paths, the best first."""

    dst: Network
    winners: list[Winner]


class Known:
    """The accepted paths of every destination."""

    def __init__(self) -> None:
        self.best: dict[Network, Winner] = {}
        self.others: dict[Network, tuple[Winner, ...]] = {}

    def learn(self, step: Learn) -> None:
        self.best = {dst: each for dst, each in self.best.items() if dst != step.dst}
        self.others = {dst: each for dst, each in self.others.items() if dst != step.dst}
        if step.winners:
            self.best[step.dst], *others = step.winners
            self.others |= {step.dst: tuple(others)} if others else {}


@dataclass(frozen=True)
class Announce:
    blocks: frozenset[Network]
    policy: Policy


@dataclass(frozen=True)
class Ask:
    neighbour: Neighbour


steps = st.lists(
    st.builds(Learn, st.sampled_from(DESTINATIONS), st.lists(winners, max_size=3, unique_by=_source_of))
    | st.builds(Announce, st.frozensets(st.sampled_from(DESTINATIONS), max_size=2), st.sampled_from(POLICIES))
    | st.builds(Ask, st.sampled_from(NEIGHBOURS)),
    max_size=25,
)


@given(steps)
def test_step_by_step_is_as_all_at_once(steps: list[Learn | Announce | Ask]) -> None:
    outgoing, known, last = Outgoing(), Known(), Announce(frozenset(), CLOSED)
    for step in steps:
        match step:
            case Learn(dst):
                known.learn(step)
                outgoing.learn(known.best, [dst], known.others)
            case Announce():
                last = step
                outgoing.announce(own(last), last.policy)
            case Ask(neighbour):
                told_to(outgoing, neighbour)
    afresh = Outgoing()
    afresh.announce(own(last), last.policy)
    afresh.learn(known.best, known.best, known.others)
    for each in NEIGHBOURS:
        told = told_to(outgoing, each)
        assert without_numbers(told) == without_numbers(told_to(afresh, each))
        assert told is told_to(outgoing, each)
        if each.name not in ALL_PATHS:
            assert not [dst for dst in told if dst not in last.blocks and known.best[dst].neighbour == each]


@given(steps)
def test_the_differences_that_a_neighbour_is_sent_add_up(steps: list[Learn | Announce | Ask]) -> None:
    """Whenever it is sent one, also after it missed many, and whatever became of the tables meanwhile."""
    outgoing, known = Outgoing(), Known()
    sent: dict[str, Told] = {each.name: NOTHING for each in NEIGHBOURS}
    has: dict[str, dict[Place, Announcement]] = {each.name: {} for each in NEIGHBOURS}

    def send(to: Neighbour) -> None:
        told = told_to(outgoing, to)
        what = difference(sent[to.name], told)
        for dst in what.withdrawn:
            has[to.name].pop(dst, None)
        has[to.name].update(what.announced)
        sent[to.name] = told
        assert has[to.name] == dict(told)
        assert difference(told, told) == Difference()

    for step in steps:
        match step:
            case Learn(dst):
                known.learn(step)
                outgoing.learn(known.best, [dst], known.others)
            case Announce():
                outgoing.announce(own(step), step.policy)
            case Ask(neighbour):
                send(neighbour)
    for each in NEIGHBOURS:
        send(each)


def test_a_path_keeps_its_number_while_others_come_and_go() -> None:
    outgoing, dst = Outgoing(), DESTINATIONS[1]
    outgoing.announce({}, POLICIES[0])
    hearer, every = NEIGHBOURS[4], frozenset({4})
    a, b, c = (Winner(each, IPv4Address("10.0.0.99"), Attributes(ME, med=1)) for each in NEIGHBOURS[:3])

    def sources() -> dict[int, str]:
        table = outgoing.to(hearer, every)
        assert isinstance(table, TableFor)
        return {place.path_id: table.table.source_of[place] for place in table if isinstance(place, Numbered)}

    outgoing.learn({dst: a}, [dst], {dst: (b,)})
    assert sources() == {1: "n2", 2: "n3"}
    outgoing.learn({dst: b}, [dst], {dst: (a,)})
    assert sources() == {1: "n2", 2: "n3"}
    outgoing.learn({dst: b}, [dst])
    assert sources() == {2: "n3"}
    outgoing.learn({dst: c}, [dst], {dst: (b,)})
    assert sources() == {1: "n4", 2: "n3"}
    outgoing.learn({}, [dst])
    assert sources() == {}


def test_changes_are_noted_for_as_long_as_somebody_missed_them() -> None:
    table = Table()
    table.put(DESTINATIONS[0], Announcement(), "")
    table.put(DESTINATIONS[1], Announcement(), "")
    slow = table.to("n2")
    table.put(DESTINATIONS[1], None, "")
    for number in range(5 * TRIM_AT):
        table.put(DESTINATIONS[2], Announcement(number), "")
    found = difference(slow, table.to("n2"))
    assert found == Difference((DESTINATIONS[1],), ((DESTINATIONS[2], Announcement(5 * TRIM_AT - 1)),))
    del slow
    for number in range(6 * TRIM_AT):
        table.put(DESTINATIONS[2], Announcement(number), "")
    assert len(table.log) <= TRIM_AT


def test_nobody_is_sent_a_withdrawal_of_what_only_came_from_it() -> None:
    table = Table()
    table.put(DESTINATIONS[0], Announcement(), "n3")
    old = table.to("n3")
    table.put(DESTINATIONS[1], Announcement(), "n3")
    table.put(DESTINATIONS[0], None, "")
    assert difference(old, table.to("n3")) == Difference()


def own(last: Announce) -> dict[Network, Announcement]:
    return {dst: Announcement() for dst in last.blocks}


def test_neighbours_of_one_audience_are_told_the_same_object() -> None:
    outgoing = Outgoing()
    outgoing.announce({DESTINATIONS[0]: Announcement()}, POLICIES[0])
    one, other, client = NEIGHBOURS[0], NEIGHBOURS[1], NEIGHBOURS[2]
    assert outgoing.to(one) is outgoing.to(other)
    winner = Winner(client, IPv4Address("10.0.0.99"), Attributes(ip_address("10.0.0.4")))
    assert outgoing.learn({DESTINATIONS[1]: winner}, [DESTINATIONS[1]])
    assert outgoing.to(one) is outgoing.to(other)
    assert set(outgoing.to(one)) - set(outgoing.to(client)) == {DESTINATIONS[1]}
    assert not outgoing.learn({DESTINATIONS[1]: winner}, [DESTINATIONS[1]])


def test_a_route_that_comes_from_another_neighbour_now_is_told_the_one_before() -> None:
    outgoing = Outgoing()
    outgoing.announce({}, POLICIES[0])
    one, other = NEIGHBOURS[2], NEIGHBOURS[3]
    winner = Winner(one, IPv4Address("10.0.0.99"), Attributes(ip_address("10.0.0.4")))
    outgoing.learn({DESTINATIONS[1]: winner}, [DESTINATIONS[1]])
    assert (set(outgoing.to(one)), set(outgoing.to(other))) == (set(), {DESTINATIONS[1]})
    outgoing.learn({DESTINATIONS[1]: replace(winner, neighbour=other)}, [DESTINATIONS[1]])
    assert (set(outgoing.to(one)), set(outgoing.to(other))) == ({DESTINATIONS[1]}, set())
