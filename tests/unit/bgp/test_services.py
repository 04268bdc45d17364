"""Which addresses of Services a node announces, as confd decides it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from bgp.passing import Policy
from bgp.services import EXCLUDED, EndpointSlice, Ranges, Service, announced, ranges
from bgp.view import KINDS, View
from datastore.codec import Typed, decode
from datastore.follow import Batch
from datastore.resource import Resource
from tests.speakers import World, explicit_neighbour, raw_session, until
from tests.unit.bgp.bgp_bytes import USUAL, nlri, open_message, update
from tests.unit.bgp.cluster import affinity, configuration, node, pool
from tests.virtual_time import virtually

CLUSTER, EXTERNAL, BALANCED = "10.96.0.0/12", "203.0.113.0/24", "198.51.100.0/24"
ALL: dict[str, Any] = {
    "serviceClusterIPs": [{"cidr": CLUSTER}],
    "serviceExternalIPs": [{"cidr": EXTERNAL}],
    "serviceLoadBalancerIPs": [{"cidr": BALANCED}],
}
WHOLE = [CLUSTER, EXTERNAL, BALANCED]


def service(name: str = "web", *, ingress: str = "", **more: Any) -> Service:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"], **more}
    status = {"loadBalancer": {"ingress": [{"ip": ingress}]}} if ingress else {}
    return decode(Service, Resource("Service", name, "default", spec={**spec, "status": status}))


def endpoints(*nodes: str, ready: bool | None = True, family: str = "IPv4", of: str = "web") -> EndpointSlice:
    given = [{"nodeName": each, "conditions": {} if ready is None else {"ready": ready}} for each in nodes]
    labels = {"kubernetes.io/service-name": of}
    name = f"{of}-{family}-{'-'.join(nodes)}-{ready}"
    spec = {"addressType": family, "endpoints": given}
    return decode(EndpointSlice, Resource("EndpointSlice", name, "default", spec=spec, labels=labels))


def of(spec: dict[str, Any], *objects: Service | EndpointSlice, **labels: str) -> list[str]:
    found = announced(
        node="node1",
        labels=labels,
        ranges=ranges(configuration(**spec)),
        services=[each for each in objects if isinstance(each, Service)],
        slices=[each for each in objects if isinstance(each, EndpointSlice)],
    )
    return sorted(map(str, found))


LOCAL: dict[str, Any] = {"externalTrafficPolicy": "Local"}
HERE, THERE = endpoints("node1"), endpoints("node2")
APART: dict[str, Any] = {**ALL, "serviceLoadBalancerAggregation": "Disabled"}
ONE: dict[str, Any] = {
    "serviceLoadBalancerIPs": [{"cidr": "198.51.100.9/32"}],
    "serviceExternalIPs": [{"cidr": "203.0.113.9/32"}],
}
BALANCER: dict[str, Any] = {"type": "LoadBalancer", "ingress": "198.51.100.9"}

CASES: list[tuple[str, list[str], list[str]]] = [
    ("nothing is configured", of({}, service(**LOCAL), HERE), []),
    ("the ranges go out whole", of(ALL), WHOLE),
    ("a range of one address is none", of(ONE), []),
    ("policy Cluster goes with the range", of(ALL, service(), HERE), WHOLE),
    ("policy Local, an endpoint here", of(ALL, service(**LOCAL), HERE), [*WHOLE, "10.96.0.7/32"]),
    ("policy Local, an endpoint elsewhere", of(ALL, service(**LOCAL), THERE), WHOLE),
    ("policy Local, one here among many", of(ALL, service(**LOCAL), THERE, HERE), [*WHOLE, "10.96.0.7/32"]),
    ("policy Local, the one here is not ready", of(ALL, service(**LOCAL), endpoints("node1", ready=False)), WHOLE),
    ("policy Local, nobody says whether it is ready", of(ALL, service(**LOCAL), endpoints("node1", ready=None)),
     [*WHOLE, "10.96.0.7/32"]),
    ("policy Local, of another family", of(ALL, service(**LOCAL), endpoints("node1", family="IPv6")), WHOLE),
    ("policy Local, another service's", of(ALL, service(**LOCAL), endpoints("node1", of="other")), WHOLE),
    ("without endpoints", of(ALL, service(**LOCAL)), WHOLE),
    ("without a cluster IP", of(ALL, service(clusterIP="None", **LOCAL), HERE), WHOLE),
    ("of type ExternalName", of(ALL, service(type="ExternalName", **LOCAL), HERE), WHOLE),
    ("external addresses inside the range", of(ALL, service(externalIPs=["203.0.113.5", "192.0.2.1"], **LOCAL), HERE),
     [*WHOLE, "10.96.0.7/32", "203.0.113.5/32"]),
    ("a balancer's address", of(ALL, service(**BALANCER, **LOCAL), HERE), [*WHOLE, "10.96.0.7/32", "198.51.100.9/32"]),
    ("a balancer's address outside the range",
     of(ALL, service(type="LoadBalancer", ingress="192.0.2.1", **LOCAL), HERE),
     [*WHOLE, "10.96.0.7/32"]),
    ("cluster IPs are not announced when no range of them is",
     of({"serviceExternalIPs": [{"cidr": EXTERNAL}]}, service(externalIPs=["203.0.113.5"], **LOCAL), HERE),
     [EXTERNAL, "203.0.113.5/32"]),
    ("a balancer's address that is a range", of(ONE, service(**BALANCER, externalTrafficPolicy="Cluster"), THERE),
     ["198.51.100.9/32"]),
    ("an external address that is a range",
     of(ONE, service(externalIPs=["203.0.113.9"], externalTrafficPolicy="Cluster"), THERE), ["203.0.113.9/32"]),
    ("balancers apart: their range stays", of(APART), [CLUSTER, EXTERNAL]),
    ("balancers apart: any ready endpoint", of(APART, service(**BALANCER, externalTrafficPolicy="Cluster"), THERE),
     [CLUSTER, EXTERNAL, "10.96.0.7/32", "198.51.100.9/32"]),
    ("balancers apart: none is ready",
     of(APART, service(**BALANCER, externalTrafficPolicy="Cluster"), endpoints("node2", ready=False)),
     [CLUSTER, EXTERNAL]),
    ("both families", of(ALL, service(clusterIPs=["10.96.0.7", "fd00:96::7"], **LOCAL), HERE),
     [*WHOLE, "10.96.0.7/32", "fd00:96::7/128"]),
    ("a node that is none for balancers", of(ALL, service(**LOCAL), HERE, **{EXCLUDED: "true"}), []),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_node_announces_of_services(found: list[str], expected: list[str]) -> None:
    assert found == sorted(expected)


def test_the_environment_may_say_which_cluster_ips() -> None:
    assert ranges(configuration(**ALL), "10.0.0.0/16").cluster == (ip_network("10.0.0.0/16"),)
    assert ranges(None, "10.0.0.0/16,fd00::/108").cluster == (ip_network("10.0.0.0/16"), ip_network("fd00::/108"))
    assert ranges(None) == Ranges()


def view_of(*objects: Typed) -> View:
    found = View("node1")
    for kind in (*KINDS, "Service", "EndpointSlice"):
        found.apply(Batch(kind, True, tuple(each.resource for each in objects if each.resource.kind == kind)))
    return found


def test_they_go_out_beside_the_blocks_and_need_nothing_in_the_fib() -> None:
    view = view_of(node("node1", "10.0.0.1/24"), configuration(**ALL), service(**LOCAL), HERE,
                   pool("p", "10.244.0.0/16"), affinity("node1", "10.244.1.0/26"))  # fmt: skip
    found = view.exports(frozenset({ip_network("10.244.1.0/26")}))
    assert sorted(map(str, found)) == sorted([*WHOLE, "10.96.0.7/32", "10.244.1.0/26"])
    assert {each.local_pref for each in found.values()} == {2147482623}


@virtually
async def test_what_is_learned_inside_the_ranges_is_passed_on_and_not_written() -> None:
    one = World().station(1)
    one.policy = Policy(ranges=(ip_network(EXTERNAL),))
    one.neighbours = (explicit_neighbour(one, "10.0.0.9"), explicit_neighbour(one, "10.0.0.8", peer_as=65001))
    await one.start()
    one.speaker.rib.keep_out([ip_network(EXTERNAL)])
    inside = await raw_session(one, 9)
    outside = await raw_session(one, 8, opening=open_message(my_as=65001, router_id="10.0.0.8", parameters=b""))
    inside.say(update(USUAL, nlri("203.0.113.5/32", "192.0.2.0/24")))
    await until(lambda: nlri("203.0.113.5/32") in outside.heard)
    assert one.table() == ["192.0.2.0/24 via 10.0.0.2"]
