"""Invariant 5: the incremental routing table equals one that computes everything anew, over random histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.accept import Own, refusal
from bgp.best import Candidate, equally_good, next_hops
from bgp.learned import LearnedRoute, Network
from bgp.message import Attributes, Learned, Numbered, Origin, Place
from bgp.neighbour import Kind, Neighbour
from bgp.ownership import Ownership, ownership
from bgp.rib import FOREVER, Rib
from tests.unit.bgp.cluster import affinity, block, node

ME = IPv4Address("10.0.0.1")
NODES = [node(f"node{n}", f"10.0.0.{n}/24") for n in range(1, 5)]
NEIGHBOURS = [
    Neighbour("Mesh_10_0_0_2", Kind.MESH, ip_address("10.0.0.2"), 64512, 64512, ME),
    Neighbour("Mesh_10_0_0_3", Kind.MESH, ip_address("10.0.0.3"), 64512, 64512, ME),
    Neighbour("Node_10_0_0_4", Kind.NODE, ip_address("10.0.0.4"), 64512, 64512, ME),
    Neighbour("Global_10_0_0_250", Kind.GLOBAL, ip_address("10.0.0.250"), 65000, 64512, ME),
    Neighbour("Global_10_0_0_251", Kind.GLOBAL, ip_address("10.0.0.251"), 65001, 64512, ME),
]
DESTINATIONS: list[Network] = [
    *map(ip_network, ("10.244.1.0/26", "10.244.2.0/26", "10.244.3.0/26", "10.244.1.5/32", "10.244.2.5/32")),
    *map(ip_network, ("0.0.0.0/0", "192.0.2.0/24")),
]
VIEWS = [
    ownership(node="node1", nodes=NODES, affinities=affinities, blocks=blocks)
    for affinities, blocks in (
        ([], []),
        ([affinity("node2", "10.244.2.0/26"), affinity("node1", "10.244.1.0/26")], []),
        ([affinity("node3", "10.244.2.0/26"), affinity("node2", "10.244.1.0/26")],
         [block("node3", "10.244.2.0/26", s5="node2"), block("node2", "10.244.1.0/26", s5="node3")]),
        ([affinity("node2", "10.244.2.0/26"), affinity("node1", "10.244.1.0/26")],
         [block("node2", "10.244.2.0/26", s5="node3"), block("node1", "10.244.1.0/26", s5="node2")]),
    )
]  # fmt: skip
MOST_ROUTES = 4


@dataclass
class Naive:
    """Every path in the order it came, and nothing derived from them."""

    view: Ownership = field(default_factory=Ownership)
    paths: dict[tuple[str, Place], Attributes] = field(default_factory=dict)
    stale: dict[tuple[str, Place], float] = field(default_factory=dict)

    def of(self, name: str) -> list[tuple[str, Place]]:
        return [key for key in self.paths if key[0] == name]

    def learn(self, name: str, learned: Learned) -> None:
        for dst in learned.withdrawn:
            self.remove((name, dst))
        for dst in learned.announced:
            if (name, dst) in self.paths or len(self.of(name)) < MOST_ROUTES:
                assert learned.attributes is not None
                self.paths[name, dst] = learned.attributes
                self.stale.pop((name, dst), None)

    def remove(self, key: tuple[str, Place]) -> None:
        self.paths.pop(key, None)
        self.stale.pop(key, None)

    def sweep(self, name: str, now: float) -> None:
        for key in [key for key, until in self.stale.items() if key[0] == name and until <= now]:
            self.remove(key)

    def mark(self, name: str, until: float) -> None:
        for key in self.of(name):
            self.stale[key] = min(until, self.stale.get(key, FOREVER))

    def drop(self, name: str) -> None:
        for key in self.of(name):
            self.remove(key)

    def best(self) -> dict[Network, LearnedRoute]:
        accepted: dict[Network, list[Candidate]] = {}
        for (name, place), attributes in self.paths.items():
            dst, path_id = place if isinstance(place, Numbered) else (place, 0)
            who = next(each for each in NEIGHBOURS if each.name == name)
            if refusal(dst, attributes, neighbour=who, own=Own(ME), ownership=self.view) is None:
                router_id = IPv4Address(int(who.address))
                candidate = Candidate(name, attributes, who.is_internal, router_id, who.address, path_id)
                accepted.setdefault(dst, []).append(candidate)
        chosen = {dst: equally_good(candidates) for dst, candidates in accepted.items()}
        return {dst: LearnedRoute(dst, next_hops(best), best[0].peer) for dst, best in chosen.items()}


attributes = st.builds(
    Attributes,
    next_hop=st.sampled_from([ip_address(f"10.0.0.{n}") for n in (1, 2, 3, 4, 250, 251)]),
    local_pref=st.sampled_from([100, 200]),
    as_path=st.sampled_from([(), (65000,), (65001,), (64512,), (65000, (65001, 65002)), (65000, (64512, 65001))]),
    origin=st.sampled_from(Origin),
    med=st.integers(0, 1),
)
PLACES = [*DESTINATIONS, *(Numbered(dst, number) for dst in DESTINATIONS[1:3] for number in (1, 2))]
some = st.lists(st.sampled_from(PLACES), max_size=6).map(tuple)
names = st.sampled_from([each.name for each in NEIGHBOURS])
learned = st.builds(Learned, withdrawn=some, announced=some, attributes=attributes)
events = st.one_of(
    st.tuples(st.just("learn"), names, learned),
    st.tuples(st.sampled_from(["mark", "sweep"]), names, st.sampled_from([1.0, 2.0, 3.0, FOREVER])),
    st.tuples(st.sampled_from(["drop", "look"]), names, st.none()),
    st.tuples(st.just("judge"), names, st.sampled_from(VIEWS)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=40))
def test_invariant_5_the_table_is_a_function_of_what_is_known_now(history: list[tuple[str, str, object]]) -> None:
    rib, naive, told = Rib(ME, MOST_ROUTES), Naive(), dict[Network, LearnedRoute]()
    for each in NEIGHBOURS:
        rib.meet(each, IPv4Address(int(each.address)))
    for what, name, detail in [*history, ("look", "", None)]:
        match what, detail:
            case "learn", Learned() as update:
                rib.learn(name, update)
                naive.learn(name, update)
            case "judge", Ownership() as view:
                rib.judge_by(view)
                naive.view = view
            case "mark", float() as until:
                rib.mark(name, until=until)
                naive.mark(name, until)
            case "sweep", float() as now:
                rib.sweep(name, now=now)
                naive.sweep(name, now)
            case "drop", _:
                rib.drop(name)
                naive.drop(name)
            case _:
                look(rib, told)
                assert told == naive.best()
                assert {route.dst: route for route in rib.routes()} == naive.best()


def look(rib: Rib, told: dict[Network, LearnedRoute]) -> None:
    """As felix does: apply the difference to what is known. It names each destination once and nothing in vain."""
    delta = rib.changes()
    assert len({*delta.gone, *(route.dst for route in delta.best)}) == len(delta.gone) + len(delta.best)
    for dst in delta.gone:
        del told[dst]
    for route in delta.best:
        assert told.get(route.dst) != route
        told[route.dst] = route
