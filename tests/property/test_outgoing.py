"""What each neighbour is told does not depend on the order in which things came to be known."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from bgp.export import NOTHING, Announcement, Exports
from bgp.mesh import Kind, Neighbour
from bgp.message import Attributes
from bgp.outgoing import TRIM_AT, Difference, Outgoing, Table, difference
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
)


@dataclass(frozen=True)
class Learn:
    dst: Network
    winner: Winner | None


@dataclass(frozen=True)
class Announce:
    blocks: frozenset[Network]
    policy: Policy


@dataclass(frozen=True)
class Ask:
    neighbour: Neighbour


steps = st.lists(
    st.builds(Learn, st.sampled_from(DESTINATIONS), st.none() | winners)
    | st.builds(Announce, st.frozensets(st.sampled_from(DESTINATIONS), max_size=2), st.sampled_from(POLICIES))
    | st.builds(Ask, st.sampled_from(NEIGHBOURS)),
    max_size=25,
)


@given(steps)
def test_step_by_step_is_as_all_at_once(steps: list[Learn | Announce | Ask]) -> None:
    outgoing, known, last = Outgoing(), dict[Network, Winner](), Announce(frozenset(), CLOSED)
    for step in steps:
        match step:
            case Learn(dst, winner):
                known = {**known, dst: winner} if winner else {each: known[each] for each in known if each != dst}
                outgoing.learn(known, [dst])
            case Announce():
                last = step
                outgoing.announce(own(last), last.policy)
            case Ask(neighbour):
                outgoing.to(neighbour)
    afresh = Outgoing()
    afresh.announce(own(last), last.policy)
    afresh.learn(known, known)
    for each in NEIGHBOURS:
        told = outgoing.to(each)
        assert dict(told) == dict(afresh.to(each))
        assert told is outgoing.to(each)
        assert not [dst for dst in told if dst not in last.blocks and known[dst].neighbour == each]


@given(steps)
def test_the_differences_that_a_neighbour_is_sent_add_up(steps: list[Learn | Announce | Ask]) -> None:
    """Whenever it is sent one, also after it missed many, and whatever became of the tables meanwhile."""
    outgoing, known = Outgoing(), dict[Network, Winner]()
    sent: dict[str, Exports] = {each.name: NOTHING for each in NEIGHBOURS}
    has: dict[str, dict[Network, Announcement]] = {each.name: {} for each in NEIGHBOURS}

    def send(to: Neighbour) -> None:
        told = outgoing.to(to)
        what = difference(sent[to.name], told)
        for dst in what.withdrawn:
            has[to.name].pop(dst, None)
        has[to.name].update(what.announced)
        sent[to.name] = told
        assert has[to.name] == dict(told)
        assert difference(told, told) == Difference()

    for step in steps:
        match step:
            case Learn(dst, winner):
                known = {**known, dst: winner} if winner else {each: known[each] for each in known if each != dst}
                outgoing.learn(known, [dst])
            case Announce():
                outgoing.announce(own(step), step.policy)
            case Ask(neighbour):
                send(neighbour)
    for each in NEIGHBOURS:
        send(each)


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
