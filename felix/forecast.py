"""What each node's kernel would hold, once all has settled, as the datastore's word alone foretells it. Pure.

The functions that decide on a node (:mod:`felix.desired`, :mod:`bgp.mesh`, :mod:`bgp.export`, :mod:`bgp.accept`) are
asked for every node, of one picture of the datastore. What only the node itself knows is assumed:

- one uplink in the node's own subnet, ``<uplink>`` unless the Node names it, and ``<router>`` as the way out of it;
- daemons run everywhere, sessions stand, and every tunnel address that is published is ready to receive;
- a neighbour of the same AS that is no node hands on what it is told: it is a route reflector;
- no FELIX_ variables. What other external neighbours announce is not known, and not foretold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network
from typing import Any

from bgp.accept import Own, refusal
from bgp.export import exports
from bgp.learned import InSync, LearnedRoute, Snapshot
from bgp.mesh import Cluster, mesh
from bgp.message import Attributes
from bgp.neighbour import Neighbour
from bgp.ownership import ownership
from bgp.passing import Audience, Policy, of_our_own
from datastore.codec import decode
from datastore.resource import Resource
from datastore.resources import (
    BGPConfiguration,
    BGPPeer,
    BlockAffinity,
    FelixConfiguration,
    IPAMBlock,
    IPPool,
    Node,
    WorkloadEndpoint,
)
from datastore.store import Rejected
from felix import mtu
from felix.confirm import confirmed
from felix.desired import desire
from felix.fib.mirror import Surroundings
from felix.fib.model import Address, Desired, Hop, InterfaceAddress, Link, Network, Protocol, Route, Scope
from felix.reach.local import endpoints, pod_name
from felix.tunnels import Tunnel
from felix.view import KINDS, View

UPLINK = "<uplink>"
ROUTER = "<router>"
HOST_MTU_BYTES = 1500

_ROUTERS: Mapping[int, Address] = {4: IPv4Address("0.0.0.1"), 6: IPv6Address("100::1")}
"""Stand for the node's router: no router can have them (RFC 1122 3.2.1.3, RFC 6666)."""

_TYPES: tuple[type[Any], ...] = (
    BGPConfiguration,
    BGPPeer,
    BlockAffinity,
    FelixConfiguration,
    IPAMBlock,
    IPPool,
    Node,
    WorkloadEndpoint,
)


class Stored:
    """What the datastore holds, as typed values. A document that cannot be read is as if it were not there."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        by_name = {kind.__name__: kind for kind in _TYPES}
        self._values: dict[str, list[Any]] = {name: [] for name in by_name}
        for resource in resources:
            if resource.kind in by_name:
                self._values[resource.kind] += _decoded(by_name[resource.kind], resource)

    def of(self, kind: str) -> list[Any]:
        return self._values[kind]

    @property
    def pools(self) -> list[IPPool]:
        return self._values["IPPool"]

    @property
    def nodes(self) -> list[Node]:
        return self._values["Node"]

    @property
    def affinities(self) -> list[BlockAffinity]:
        return self._values["BlockAffinity"]

    @property
    def blocks(self) -> list[IPAMBlock]:
        return self._values["IPAMBlock"]

    @property
    def endpoints(self) -> list[WorkloadEndpoint]:
        return self._values["WorkloadEndpoint"]


def _decoded(kind: type[Any], resource: Resource) -> list[Any]:
    try:
        return [decode(kind, resource)]
    except Rejected:
        return []


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is foretold of one node. ``pods`` are its pods' names, ``pod_mtu_bytes`` what the network offers to them."""

    node: str
    desired: Desired
    sessions: tuple[Neighbour, ...]
    tunnels: Mapping[Tunnel, Address]
    pods: tuple[str, ...]
    pod_mtu_bytes: int


def forecast(stored: Stored, *, host_mtu_bytes: int = HOST_MTU_BYTES) -> dict[str, Outlook]:
    """By the nodes' names. ``host_mtu_bytes`` is the MTU of every node's uplink."""
    views = {node.name: _view(stored, node, host_mtu_bytes) for node in stored.nodes}
    sessions = _sessions(stored)
    announced = {name: _announced(stored, view) for name, view in views.items()}
    return {name: _outlook(stored, view, sessions, announced) for name, view in views.items()}


def _outlook(
    stored: Stored,
    view: View,
    sessions: Mapping[str, _Sessions],
    announced: Mapping[str, tuple[Network, ...]],
) -> Outlook:
    view.hear(Snapshot(tuple(_learned(stored, view.node, sessions, announced))))
    view.hear(InSync())
    for kind in KINDS:
        view.listed(kind)
    return Outlook(
        node=view.node,
        desired=desire(view),
        sessions=sessions[view.node].all,
        tunnels={tunnel: address for tunnel, address in view.held.items() if address is not None},
        pods=tuple(sorted(pod_name(each) for each in endpoints(view))),
        pod_mtu_bytes=mtu.of_pods(view.surroundings.links.values(), stored.pools, view.settings),
    )


# --- what the node itself sees ------------------------------------------------------------------------------------


def _view(stored: Stored, me: Node, host_mtu_bytes: int) -> View:
    uplink = uplink_of(me)
    view = View(me.name, {"FELIX_MTUIFACEPATTERN": f"^{re.escape(uplink)}$"})
    for kind in KINDS:
        for value in stored.of(kind):
            if kind != "WorkloadEndpoint" or value.node == me.name:
                view.put(value)
    view.hold({tunnel: tunnel.published(me) for tunnel in Tunnel})
    view.see(_surroundings(me, uplink, host_mtu_bytes))
    return view


def uplink_of(node: Node) -> str:
    """The device that has the node's address, where its Node says so, or a word that stands for it."""
    own = {str(each.ip) for each in (node.ipv4, node.ipv6) if each is not None}
    for interface in node.resource.spec.get("interfaces") or ():
        if own & {str(address).partition("/")[0] for address in interface.get("addresses") or ()}:
            return str(interface.get("name") or UPLINK)
    return UPLINK


def _surroundings(me: Node, uplink: str, host_mtu_bytes: int) -> Surroundings:
    up = [tunnel.device for tunnel in Tunnel if tunnel.published(me) is not None]
    links = [Link(name, at, mtu_bytes=host_mtu_bytes, is_up=True) for at, name in enumerate((uplink, *up), 1)]
    own = [each for each in (me.ipv4, me.ipv6) if each is not None]
    return Surroundings(
        links={link.name: link for link in links},
        addresses=frozenset(InterfaceAddress(uplink, each.ip, each.network.prefixlen) for each in own),
        routes=tuple(route for each in own for route in _ground(each, uplink)),
    )


def _ground(own: IPv4Interface | IPv6Interface, uplink: str) -> Iterator[Route]:
    everywhere = ip_network("0.0.0.0/0" if own.version == 4 else "::/0")
    yield Route(own.network, (Hop(uplink),), protocol=Protocol.KERNEL, scope=Scope.LINK, source=own.ip)
    yield Route(everywhere, (Hop(uplink, _ROUTERS[own.version]),), protocol=Protocol.STATIC)


def text_of(route: Route) -> str:
    """As ``ip route`` prints it."""
    line = str(route)
    for router in _ROUTERS.values():
        line = line.replace(f"via {router} ", f"via {ROUTER} ")
    return line


# --- what it learns from its neighbours ---------------------------------------------------------------------------


class _Sessions:
    """Those of one node. ``nodes`` by the far end's name and the family; ``reflectors`` by address."""

    def __init__(self, neighbours: tuple[Neighbour, ...]) -> None:
        self.all = neighbours
        self.nodes = {(each.node, each.address.version): each for each in neighbours if each.node}
        self.reflectors = {each.address: each for each in neighbours if not each.node and each.is_internal}


def _sessions(stored: Stored) -> dict[str, _Sessions]:
    nodes = {each.name: each for each in stored.nodes}
    configurations = {each.resource.name: each for each in stored.of("BGPConfiguration")}
    found = {}
    for name in nodes:
        cluster = Cluster(name, nodes, configurations, tuple(stored.of("BGPPeer")))
        found[name] = _Sessions(tuple(each for version in (4, 6) for each in mesh(cluster, version=version).neighbours))
    return found


def _announced(stored: Stored, view: View) -> tuple[Network, ...]:
    """``view`` has what is the node's own, which its FIB will hold."""
    own = desire(view)
    held = {key: route for key, (route, _) in own.routes.items()}
    ours = exports(node=view.node, affinities=stored.affinities, pools=stored.pools, confirmed=confirmed(own, held))
    policy = Policy(closed=tuple(pool.cidr for pool in stored.pools if pool.disable_bgp_export))
    nodes = {version: Audience((version,), is_internal=True) for version in (4, 6)}
    return tuple(
        dst for dst, each in ours.items() if of_our_own(dst, each, to=nodes[dst.version], policy=policy) is not None
    )


def _learned(
    stored: Stored, me: str, sessions: Mapping[str, _Sessions], announced: Mapping[str, tuple[Network, ...]]
) -> Iterator[LearnedRoute]:
    judged_by = ownership(node=me, nodes=stored.nodes, affinities=stored.affinities, blocks=stored.blocks)
    by_name = {node.name: node for node in stored.nodes}
    for name, version, teller in _tellers(me, sessions):
        next_hop = _address(by_name[name], version)
        if next_hop is None:
            continue
        said = Attributes(next_hop)
        for dst in announced[name]:
            if dst.version != version:
                continue
            if refusal(dst, said, neighbour=teller, own=Own(IPv4Address(0)), ownership=judged_by) is None:
                yield LearnedRoute(dst, (next_hop,), str(teller.address))


def _tellers(me: str, sessions: Mapping[str, _Sessions]) -> Iterator[tuple[str, int, Neighbour]]:
    """Of which node, in which family, ``me`` hears the announcements, and from whom: from the node itself, else from a
    reflector that both have.
    """
    mine = sessions[me]
    for other, theirs in sessions.items():
        for version in (4, 6) if other != me else ():
            teller = mine.nodes.get((other, version)) if (me, version) in theirs.nodes else None
            common = (each for address, each in mine.reflectors.items() if address in theirs.reflectors)
            teller = teller or next((each for each in common if each.address.version == version), None)
            if teller is not None:
                yield other, version, teller


def _address(node: Node, version: int) -> Address | None:
    interface = node.ipv4 if version == 4 else node.ipv6
    return None if interface is None else interface.ip
