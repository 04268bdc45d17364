"""Short ways to write the datastore objects that the speaker reads."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from datastore import names
from datastore.codec import decode
from datastore.resource import Resource
from datastore.resources import BGPConfiguration, BGPFilter, BGPPeer, BlockAffinity, IPAMBlock, IPPool, Node


def node(name: str, ipv4: str = "", *, ipv6: str = "", labels: Mapping[str, str] | None = None, **bgp: Any) -> Node:
    spec: dict[str, Any] = {"bgp": dict(bgp)}
    if ipv4:
        spec["bgp"]["ipv4Address"] = ipv4
    if ipv6:
        spec["bgp"]["ipv6Address"] = ipv6
    return decode(Node, Resource("Node", name, spec=spec, labels=labels or {}))


def configuration(name: str = "default", **spec: Any) -> BGPConfiguration:
    return decode(BGPConfiguration, Resource("BGPConfiguration", name, spec=spec))


def peer(name: str, **spec: Any) -> BGPPeer:
    return decode(BGPPeer, Resource("BGPPeer", name, spec=spec))


def bgp_filter(name: str, **spec: Any) -> BGPFilter:
    return decode(BGPFilter, Resource("BGPFilter", name, spec=spec))


def pool(name: str, cidr: str, **spec: Any) -> IPPool:
    return decode(IPPool, Resource("IPPool", name, spec={"cidr": cidr, **spec}))


def affinity(owner: str, cidr: str, state: str = "confirmed") -> BlockAffinity:
    spec = {"node": owner, "cidr": cidr, "state": state, "type": "host", "deleted": "false"}
    return decode(BlockAffinity, Resource("BlockAffinity", names.of_affinity(owner, ip_network(cidr)), spec=spec))


def block(owner: str, cidr: str, **held_by: str) -> IPAMBlock:
    """``held_by``: slot ``s5="node2"`` says that the fifth address is held by a pod of node2."""
    size = ip_network(cidr).num_addresses
    slots: list[int | None] = [None] * size
    attributes = []
    for index, (slot, holder) in enumerate(held_by.items()):
        slots[int(slot[1:])] = index
        attributes.append({"handle_id": f"h{index}", "secondary": {"node": holder, "pod": f"p{index}"}})
    spec = {
        "cidr": cidr,
        "affinity": f"host:{owner}",
        "allocations": slots,
        "unallocated": [n for n in range(size) if slots[n] is None],
        "attributes": attributes,
    }
    return decode(IPAMBlock, Resource("IPAMBlock", names.of_cidr(ip_network(cidr)), spec=spec))
