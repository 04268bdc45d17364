"""The decision process, step by step."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from itertools import permutations

from bgp.best import MOST_NEXT_HOPS, Candidate, equally_good, next_hops
from bgp.message import Attributes, Origin


def candidate(
    peer: str, via: str = "", *, is_internal: bool = True, router_id: str = "", **attributes: object
) -> Candidate:
    """Peers are named after the last number of their address: ``p2`` is 10.0.0.2, and its own next hop."""
    address = f"10.0.0.{peer[1:]}"
    found = replace(Attributes(ip_address(via or address)), **attributes)  # type: ignore[arg-type]
    return Candidate(peer, found, is_internal, IPv4Address(router_id or address), ip_address(address))


def order(*candidates: Candidate) -> list[str]:
    """The peers of the equally good paths, best first, whatever order they are given in."""
    (found,) = {tuple(each.peer for each in equally_good(given)) for given in permutations(candidates)}
    return list(found)


def test_the_greater_local_preference_wins_over_everything() -> None:
    assert order(candidate("p2", local_pref=200, as_path=(1,) * 9), candidate("p3", local_pref=100)) == ["p2"]


def test_then_the_shorter_path() -> None:
    assert order(candidate("p2", as_path=(1,), origin=Origin.INCOMPLETE), candidate("p3", as_path=(1, 2))) == ["p2"]


def test_a_set_counts_as_one_as() -> None:
    assert order(candidate("p2", as_path=(1, (2, 3, 4))), candidate("p3", as_path=(1, 2, 3))) == ["p2"]


def test_then_the_lower_origin() -> None:
    assert order(candidate("p2", origin=Origin.EGP), candidate("p3", origin=Origin.IGP)) == ["p3"]


def test_then_the_lower_med_of_the_same_neighbouring_as() -> None:
    assert order(candidate("p2", as_path=(1,), med=5), candidate("p3", as_path=(1,), med=9)) == ["p2"]
    assert order(candidate("p2", as_path=(1,), med=5), candidate("p3", as_path=(2,), med=9)) == ["p2", "p3"]


def test_med_does_not_make_the_result_depend_on_the_order() -> None:
    a = candidate("p2", as_path=(1,), med=10, router_id="1.0.0.3")
    b = candidate("p3", as_path=(2,), med=5, router_id="1.0.0.2")
    c = candidate("p4", as_path=(1,), med=5, router_id="1.0.0.9")
    assert order(a, b, c) == ["p3", "p4"]


def test_then_the_external_one() -> None:
    assert order(candidate("p2"), candidate("p3", is_internal=False)) == ["p3"]


def test_the_rest_are_equally_good_and_sorted_by_router_id_and_address() -> None:
    assert order(candidate("p2", router_id="9.0.0.1"), candidate("p3", router_id="1.0.0.1")) == ["p3", "p2"]
    assert order(candidate("p2", router_id="1.0.0.1"), candidate("p3", router_id="1.0.0.1")) == ["p2", "p3"]


def test_a_reflected_path_counts_by_its_originator_and_then_by_its_clusters() -> None:
    origin, one, two = IPv4Address("1.0.0.1"), IPv4Address("1.1.1.1"), IPv4Address("1.1.1.2")
    far = candidate("p2", originator=origin, clusters=(one, two))
    near = candidate("p3", originator=origin, clusters=(one,))
    assert order(far, near) == ["p3", "p2"]
    assert order(candidate("p2", originator=IPv4Address("9.0.0.1")), candidate("p3")) == ["p2", "p3"]


def test_next_hops_of_equally_good_paths_are_merged_lowest_first() -> None:
    found = equally_good([candidate("p9"), candidate("p2", "10.0.0.200"), candidate("p3", "10.0.0.9")])
    assert [str(hop) for hop in next_hops(found)] == ["10.0.0.9", "10.0.0.200"]


def test_no_more_next_hops_than_bird_merges() -> None:
    assert len(next_hops(equally_good([candidate(f"p{n}") for n in range(2, 40)]))) == MOST_NEXT_HOPS
