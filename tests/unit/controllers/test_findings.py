"""Which addresses, blocks and handles look as if nobody needed them, and which are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from controllers.docket import Docket
from controllers.evidence import Claims, Evidence, use
from controllers.findings import Suspect, find
from datastore.resource import Resource
from datastore.resources import AffinityState, AllocationAttribute, BlockAffinity, IPAMBlock, IPAMHandle
from ipam import block as blocks
from ipam.block import Holder

BLOCK = ip_network("10.0.0.0/29")
POD = {"namespace": "default", "node": "n1", "pod": "web", "timestamp": "2026-01-01"}
TUNNEL = {"node": "n1", "type": "ipipTunnelAddress"}


def endpoint(node: str = "n1", pod: str = "web", networks: Any = ("10.0.0.0/32",)) -> Resource:
    spec = {"node": node, "pod": pod, "ipNetworks": list(networks) if isinstance(networks, tuple) else networks}
    return Resource("WorkloadEndpoint", f"{node}-k8s-{pod}-eth0", "default", spec=spec)


def block(*owners: Mapping[str, str], cidr: str = str(BLOCK), node: str = "n1", handle: str = "net.c") -> IPAMBlock:
    made = blocks.fresh(ip_network(cidr), node, sequence=7, claimed_at="2026-01-01T00:00:00Z")
    for number, owner in enumerate(owners):
        taken = blocks.take_next(made, Holder(f"{handle}{number}", owner))
        assert taken is not None
        made = blocks.written(taken[0])
    return made


def affinity(cidr: str = str(BLOCK), node: str = "n1", kind: str = "host") -> BlockAffinity:
    made = Resource("BlockAffinity", f"{node}-{cidr}", revision="3")
    state = AffinityState.CONFIRMED
    return BlockAffinity(resource=made, node=node, cidr=ip_network(cidr), state=state, type=kind)


def handle(name: str) -> IPAMHandle:
    return IPAMHandle(resource=Resource("IPAMHandle", name, revision="4"), handle=name, blocks={str(BLOCK): 1})


def evidence(*found: IPAMBlock, nodes: str = "n1", endpoints: tuple[Resource, ...] = (), **rest: Any) -> Evidence:
    rest.setdefault("grace_s", 900.0)
    claims = Claims.of(endpoints)
    return Evidence(frozenset(nodes.split()), claims, {each.cidr: each for each in found}, **rest)


def told(suspects: list[Suspect]) -> list[str]:
    return [f"{each.what.value} {each.name}: {each.why}, {each.patience_s:.0f} s" for each in suspects]


def test_an_address_that_no_endpoint_has_is_suspect_for_the_grace_of_its_node() -> None:
    assert told(find(evidence(block(POD)))) == ["address 10.0.0.0 of net.c0 at 7: no endpoint, 900 s"]
    assert told(find(evidence(block(POD), endpoints=(endpoint(),)))) == []


def test_what_a_node_that_is_gone_had_goes_sooner_and_its_tunnel_address_too() -> None:
    assert told(find(evidence(block(POD, TUNNEL), nodes="n2", affinities=[affinity()]))) == [
        "node n1: it is not there, 20 s",
        "address 10.0.0.0 of net.c0 at 7: node gone, no endpoint, 10 s",
        "address 10.0.0.1 of net.c1 at 8: node gone, no endpoint, 10 s",
    ]
    assert told(find(evidence(block(), nodes="n2", affinities=[affinity()]))) == [
        "node n1: it is not there, 20 s",
        "affinity 10.0.0.0/29 of n1: node gone, 0 s",
    ]


def test_a_node_that_is_gone_and_still_has_an_endpoint_keeps_all_that_is_its() -> None:
    known = evidence(block(POD, TUNNEL), nodes="n2", endpoints=(endpoint(),), affinities=[affinity()])
    assert told(find(known)) == ["node n1: it is not there, 20 s"]


def test_what_other_nodes_borrowed_does_not_keep_a_block_owned_by_a_node_that_is_gone() -> None:
    lent = block({**POD, "node": "n2"})
    known = evidence(lent, nodes="n2", endpoints=(endpoint("n2"),), affinities=[affinity()])
    assert "affinity 10.0.0.0/29 of n1: node gone, 0 s" in told(find(known))


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        ({}, "who made it is not known here"),
        ({"node": "n1"}, "who made it is not known here"),
        ({"node": "n1", "service": "web", "type": "loadBalancer"}, "who made it is not known here"),
        ({**POD, "vmi-name": "vm"}, "who made it is not known here"),
        (TUNNEL, "its node is there"),
        (POD, ""),
        ({"node": "n1", "timestamp": "2026"}, ""),
    ],
)
def test_only_what_can_be_judged_is_ever_taken(owner: dict[str, str], why: str) -> None:
    assert use(evidence(), ip_address("10.0.0.0"), AllocationAttribute("h", owner)) == why


def test_an_address_on_its_way_to_another_node_or_kept_by_windows_is_left_alone() -> None:
    moving = AllocationAttribute("h", POD, {"alternateOwnerAttrs": {"node": "n2"}})
    windows = AllocationAttribute("windows-reserved-ipam-handle", POD)
    for attribute in (moving, windows):
        assert use(evidence(), ip_address("10.0.0.0"), attribute)


def test_an_endpoint_that_cannot_be_read_keeps_every_address_of_its_node() -> None:
    for broken in ("10.0.0.1/32", [7], ["10.0.0.x"]):
        known = evidence(block(POD), endpoints=(endpoint(pod="other", networks=broken),))
        assert told(find(known)) == []
    assert told(find(evidence(block(POD), endpoints=(endpoint("n2", "other", [7]),)))) != []


def test_a_pod_without_an_address_yet_keeps_what_was_given_to_it() -> None:
    assert told(find(evidence(block(POD), endpoints=(endpoint(networks=()),)))) == []


def test_a_holder_that_uses_one_of_its_addresses_keeps_both() -> None:
    made = blocks.fresh(BLOCK, "n1", sequence=7, claimed_at="2026-01-01T00:00:00Z")
    for _ in range(2):
        taken = blocks.take_next(made, Holder("net.c", POD))
        assert taken is not None
        made = taken[0]
    assert told(find(evidence(made, endpoints=(endpoint(),)))) == []


def test_an_empty_block_is_spare_only_beside_another_of_the_same_family() -> None:
    empty, other, v6 = block(), block(POD, cidr="10.0.0.8/29"), block(cidr="fd00::/122")
    used = (endpoint(networks=("10.0.0.8/32",)),)
    assert told(find(evidence(empty, v6))) == []
    assert told(find(evidence(empty, other, v6, endpoints=used))) == [
        "block 10.0.0.0/29 of n1 at 7: empty, and its node has another, 900 s"
    ]
    both = evidence(empty, block(cidr="10.0.0.8/29"))
    assert len(find(both)) == 1


def test_handles_and_affinities_that_a_crash_left_are_found() -> None:
    known = evidence(block(POD), endpoints=(endpoint(),), handles=[handle("net.c0"), handle("net.old")])
    known = replace(known, affinities=[affinity(), affinity("10.0.0.8/29"), affinity(node="n2")])
    assert told(find(replace(known, nodes=frozenset(("n1", "n2"))))) == [
        "affinity 10.0.0.8/29 of n1 at 3: its block is not there, or another's, 900 s",
        "affinity 10.0.0.0/29 of n2 at 3: its block is not there, or another's, 900 s",
        "handle net.old at 4: it holds nothing, 900 s",
    ]


def test_the_affinity_of_no_node_is_nobodys_business() -> None:
    assert find(evidence(affinities=[affinity(node="load-balancer", kind="virtual")])) == []


def test_without_a_grace_period_only_what_gone_nodes_left_is_collected() -> None:
    assert find(evidence(block(POD), handles=[handle("net.old")], grace_s=None)) == []
    assert find(evidence(block(POD), nodes="", grace_s=None)) != []


def test_no_grace_is_shorter_than_an_add_may_take() -> None:
    assert told(find(evidence(block(POD), grace_s=1.0))) == ["address 10.0.0.0 of net.c0 at 7: no endpoint, 30 s"]


# --- over time ----------------------------------------------------------------------------------------------------


def due(docket: Docket, now: float) -> list[str]:
    return [each.name for each in docket.due(now=now)]


def test_a_leak_is_due_when_its_grace_is_over_and_not_before() -> None:
    docket = Docket().look(find(evidence(block(POD))), now=100)
    assert docket.next_at(now=100) == 1000
    assert due(docket, 999.9) == []
    assert due(docket, 1000) == ["10.0.0.0 of net.c0 at 7"]


def test_who_looks_innocent_once_starts_anew() -> None:
    guilty, innocent = find(evidence(block(POD))), find(evidence(block(POD), endpoints=(endpoint(),)))
    docket = Docket().look(guilty, now=0).look(innocent, now=500).look(guilty, now=501)
    assert due(docket, 1400) == []
    assert due(docket, 1401) != []


def test_an_address_given_out_again_is_another_suspect() -> None:
    again = replace(block(POD), taken_at={0: 8})
    docket = Docket().look(find(evidence(block(POD))), now=0).look(find(evidence(again)), now=899)
    assert due(docket, 901) == []


def test_a_node_that_is_back_in_time_loses_nothing() -> None:
    gone, back = find(evidence(block(POD), nodes="")), find(evidence(block(POD)))
    docket = Docket().look(gone, now=0)
    assert due(docket, 19) == []
    assert due(docket, 20) == ["10.0.0.0 of net.c0 at 7"]
    assert due(docket.look(back, now=19), 100) == []


def test_a_pod_that_outlives_its_node_holds_its_address_and_ten_seconds_more() -> None:
    gone = evidence(block(POD), nodes="", endpoints=(endpoint(),))
    docket = Docket().look(find(gone), now=0).look(find(evidence(block(POD), nodes="")), now=50)
    assert due(docket, 59) == []
    assert due(docket, 60) == ["10.0.0.0 of net.c0 at 7"]


def test_a_young_address_of_a_holder_holds_up_its_old_one() -> None:
    made = block(POD)
    taken = blocks.take_next(made, Holder("net.c0", POD))
    assert taken is not None
    docket = Docket().look(find(evidence(made)), now=0).look(find(evidence(taken[0])), now=899)
    assert due(docket, 901) == []
    assert len(due(docket, 1799)) == 2
