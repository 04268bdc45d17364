"""Which BGP neighbours this node has: a pure function of nodes, BGPConfigurations and BGPPeers.

Three kinds, named as BIRD would be configured with them, because status readers know the names:

- ``Mesh_10_0_0_2``: every other node that has an address of the family, while the full mesh is on. A node with a route
  reflector cluster id takes no part in it, on either side.
- ``Global_10_0_0_9``: a BGPPeer without node and nodeSelector.
- ``Node_10_0_0_9``: a BGPPeer for some nodes, and the mirror of one that selects this node as the far end.

One of two nodes dials: the one whose address is the greater *as a string*. Both ends must decide it alike, so this is
the rule of confd and not a better one. A BGPPeer that asks for what is not built is listed with the reason and not
brought up: nothing that a user wrote is ignored in silence.

Source: Calico confd/pkg/backends/calico (bgp_processor.go, updatePeersV1 in client.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

from datastore import selector
from datastore.resources import BGPConfiguration, BGPPeer, Node

Address = IPv4Address | IPv6Address

DEFAULT_AS = 64512
DEFAULT_PORT = 179
DEFAULT_RESTART_TIME_S = 120
LONGEST_RESTART_TIME_S = 4095


class Kind(Enum):
    MESH = "Mesh"
    GLOBAL = "Global"
    NODE = "Node"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One BGP session that this node should have. ``name`` is its identity everywhere.

    ``local_address`` None leaves the source address to the kernel. ``node`` is the far end's name where it is a node.
    """

    name: str
    kind: Kind
    address: Address
    peer_as: int
    local_as: int
    local_address: Address | None = None
    port: int = DEFAULT_PORT
    is_passive: bool = False
    restart_time_s: int = DEFAULT_RESTART_TIME_S
    node: str = ""

    @property
    def is_internal(self) -> bool:
        return self.peer_as == self.local_as


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where neighbours dial this node. No addresses means all."""

    port: int = DEFAULT_PORT
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A neighbour that is not brought up, because ``why``."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Mesh:
    """The neighbours in order of their names, and those that this program cannot serve yet."""

    neighbours: tuple[Neighbour, ...] = ()
    unbuilt: tuple[Unbuilt, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the decision is made from. ``configurations`` by name: ``default`` and ``node.<name>``."""

    me: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    configurations: Mapping[str, BGPConfiguration] = field(default_factory=dict)
    peers: Sequence[BGPPeer] = ()

    def as_number(self, node: Node) -> int:
        default = self.configurations.get("default")
        return node.as_number or (default.as_number if default else DEFAULT_AS)

    def configured_port(self, node: str) -> int:
        """The port that somebody wrote down for this node, or 0."""
        for name in (f"node.{node}", "default"):
            configuration = self.configurations.get(name)
            if configuration is not None and "listenPort" in configuration.resource.spec:
                return configuration.listen_port
        return 0

    def address(self, node: Node, version: int) -> Address | None:
        interface = node.ipv4 if version == 4 else node.ipv6
        return None if interface is None else interface.ip


def mesh(cluster: Cluster, *, version: int) -> Mesh:
    """The neighbours of ``cluster.me`` over IPv``version``; none while the node has no such address.

    An explicit BGPPeer wins over the mesh, a global one over one for some nodes, a written one over a mirrored one.
    """
    me = cluster.nodes.get(cluster.me)
    mine = cluster.address(me, version) if me is not None else None
    if me is None or mine is None:
        return Mesh()
    found: dict[Place, Neighbour | Unbuilt] = {}
    for place, wanted in _explicit(cluster, me, version):
        found.setdefault(place, wanted)
    spoken_for = {address for address, _ in found}
    for place, wanted in _full_mesh(cluster, me, mine):
        if place[0] not in spoken_for:
            found[place] = wanted
    wanted_all = sorted(found.values(), key=lambda each: each.name)
    return Mesh(
        tuple(each for each in wanted_all if isinstance(each, Neighbour)),
        tuple(each for each in wanted_all if isinstance(each, Unbuilt)),
    )


Place = tuple[Address | str, int]
"""Where a neighbour is, which two wishes for it have in common: address and port, or what was written instead."""
Found = tuple[Place, Neighbour | Unbuilt]


def dials(mine: Address, theirs: Address) -> bool:
    """Whether this node opens the connection: 10.0.0.9 dials 10.0.0.10."""
    return str(mine) > str(theirs)


def name_of(kind: Kind, address: Address, port: int = 0) -> str:
    name = f"{kind.value}_{re.sub('[.:]', '_', str(address))}"
    return f"{name}_port_{port}" if port else name


def _full_mesh(cluster: Cluster, me: Node, mine: Address) -> Iterator[Found]:
    default = cluster.configurations.get("default")
    if me.reflector_cluster_id or (default is not None and not default.mesh_enabled):
        return
    needs = _mesh_needs(default)
    for node in cluster.nodes.values():
        theirs = cluster.address(node, mine.version)
        if theirs is None or theirs == mine or node.name == me.name or node.reflector_cluster_id:
            continue
        port = cluster.configured_port(node.name) or DEFAULT_PORT
        name = name_of(Kind.MESH, theirs)
        if needs:
            yield (theirs, port), Unbuilt(name, needs)
            continue
        yield (
            (theirs, port),
            Neighbour(
                name=name,
                kind=Kind.MESH,
                address=theirs,
                peer_as=cluster.as_number(node),
                local_as=cluster.as_number(me),
                local_address=mine,
                port=port,
                is_passive=not dials(mine, theirs),
                restart_time_s=_restart_time_s(default.node_mesh_max_restart_time if default else ""),
                node=node.name,
            ),
        )


def _mesh_needs(default: BGPConfiguration | None) -> str:
    if default is not None and (default.resource.spec.get("nodeMeshPassword") or {}).get("secretKeyRef"):
        return "not built yet: nodeMeshPassword"
    return ""


def _explicit(cluster: Cluster, me: Node, version: int) -> Iterator[Found]:
    ordered: list[BGPPeer] = []
    for peer in sorted(cluster.peers, key=lambda peer: (not _is_global(peer), peer.name)):
        wrong = _what_is_wrong(peer)
        if wrong and peer.node in ("", me.name):
            yield (peer.name, 0), Unbuilt(f"{_kind(peer).value}_{peer.name}", wrong)
        elif not wrong:
            ordered.append(peer)
    for peer in ordered:
        if _is_for(peer, me):
            for far in _far_ends(cluster, peer, version):
                yield from _explicit_one(cluster, me, peer, far, _kind(peer))
    for peer in ordered:
        if peer.resource.spec.get("reversePeering") != "Manual" and _reaches(cluster, peer, me, version):
            for node in _near_ends(cluster, peer):
                near = _FarEnd.of_node(cluster, node, version)
                if near is not None:
                    yield from _explicit_one(cluster, me, peer, near, Kind.NODE)


@dataclass(frozen=True, slots=True)
class _FarEnd:
    """``port`` 0 means that nobody wrote one down. ``node`` is set where it was named by address or selected."""

    address: Address
    peer_as: int
    port: int = 0
    node: str = ""
    was_given_by_address: bool = False

    @staticmethod
    def of_node(cluster: Cluster, node: Node, version: int) -> _FarEnd | None:
        address = cluster.address(node, version)
        if address is None:
            return None
        return _FarEnd(address, cluster.as_number(node), cluster.configured_port(node.name), node.name)


def _is_global(peer: BGPPeer) -> bool:
    return not peer.node and not peer.node_selector


def _kind(peer: BGPPeer) -> Kind:
    return Kind.GLOBAL if _is_global(peer) else Kind.NODE


def _is_for(peer: BGPPeer, node: Node) -> bool:
    if peer.node_selector:
        return selector.parse(peer.node_selector).matches(node.resource.labels)
    return not peer.node or peer.node == node.name


def _what_is_wrong(peer: BGPPeer) -> str:
    """Why this one cannot be read at all, so that nobody can say whose neighbour it is; or ""."""
    if peer.peer_ip and split_port(peer.peer_ip) is None:
        return f"peerIP is no address: {peer.peer_ip!r}"
    for name, text in (("nodeSelector", peer.node_selector), ("peerSelector", peer.peer_selector)):
        try:
            selector.parse(text)
        except selector.Malformed as error:
            return f"{name}: {error}"
    return ""


def _near_ends(cluster: Cluster, peer: BGPPeer) -> Iterable[Node]:
    return (node for node in cluster.nodes.values() if _is_for(peer, node))


def _far_ends(cluster: Cluster, peer: BGPPeer, version: int) -> Iterator[_FarEnd]:
    if peer.peer_selector:
        chosen = selector.parse(peer.peer_selector)
        for node in cluster.nodes.values():
            far = _FarEnd.of_node(cluster, node, version)
            if far is not None and chosen.matches(node.resource.labels):
                yield far
        return
    place = split_port(peer.peer_ip)
    if place is None or place[0].version != version:
        return
    address, port = place
    node_there = _node_at(cluster, address)
    if not port and node_there is not None and _speaks_as(cluster, peer, node_there):
        port = cluster.configured_port(node_there.name)
    yield _FarEnd(address, peer.as_number, port, node_there.name if node_there else "", was_given_by_address=True)


def _reaches(cluster: Cluster, peer: BGPPeer, me: Node, version: int) -> bool:
    """Whether ``me`` is a far end of this BGPPeer, so that it needs the mirrored session."""
    if peer.peer_selector:
        return selector.parse(peer.peer_selector).matches(me.resource.labels)
    place = split_port(peer.peer_ip)
    if place is None or cluster.address(me, version) != place[0] or not _speaks_as(cluster, peer, me):
        return False
    configured = cluster.configured_port(me.name)
    return not place[1] or not configured or configured == place[1]


def _speaks_as(cluster: Cluster, peer: BGPPeer, node: Node) -> bool:
    default = cluster.configurations.get("default")
    return cluster.as_number(node) == (peer.as_number or (default.as_number if default else DEFAULT_AS))


def _node_at(cluster: Cluster, address: Address) -> Node | None:
    for node in cluster.nodes.values():
        if cluster.address(node, address.version) == address:
            return node
    return None


def _explicit_one(cluster: Cluster, me: Node, peer: BGPPeer, far: _FarEnd, kind: Kind) -> Iterator[Found]:
    mine = cluster.address(me, far.address.version)
    if mine is None or far.address == mine:
        return
    place = (far.address, far.port)
    name = name_of(kind, far.address, far.port)
    lacking = _needs(peer)
    if lacking:
        yield place, Unbuilt(name, f"not built yet: {', '.join(lacking)}")
        return
    yield place, _neighbour(cluster, me, peer, far, name=name, kind=kind, mine=mine)


def _neighbour(
    cluster: Cluster, me: Node, peer: BGPPeer, far: _FarEnd, *, name: str, kind: Kind, mine: Address
) -> Neighbour:
    is_given_node = far.was_given_by_address and bool(far.node)
    wanted = Neighbour(
        name=name,
        kind=kind,
        address=far.address,
        peer_as=far.peer_as,
        local_as=peer.local_as_number or cluster.as_number(me),
        local_address=mine,
        port=far.port or DEFAULT_PORT,
        is_passive=kind is Kind.GLOBAL and is_given_node and not dials(mine, far.address),
        restart_time_s=_restart_time_s(str(peer.resource.spec.get("maxRestartTime") or "")),
        node=far.node,
    )
    return replace(wanted, local_address=None) if peer.resource.spec.get("sourceAddress") == "None" else wanted


_UNBUILT = (
    "password",
    "ttlSecurity",
    "reachableBy",
    "filters",
    "numAllowedLocalASNumbers",
    "localWorkloadSelector",
    "keepaliveTime",
)
"""What a BGPPeer may ask for and nobody here does. Next hop modes are not among them: they speak of passed-on routes,
and nothing is passed on."""


def _needs(peer: BGPPeer) -> list[str]:
    return [name for name in _UNBUILT if peer.resource.spec.get(name)]


def split_port(text: str) -> tuple[Address, int] | None:
    """``10.0.0.9``, ``10.0.0.9:1790``, ``fd00::9``, ``[fd00::9]:1790``; port 0 where there is none, None for else."""
    bracketed = re.fullmatch(r"\[(.+)\]:(\d+)", text) or re.fullmatch(r"([\d.]+):(\d+)", text)
    host, port = (bracketed[1], int(bracketed[2])) if bracketed else (text, 0)
    try:
        return ip_address(host), port
    except ValueError:
        return None


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _restart_time_s(duration: str) -> int:
    """Go's duration text in whole seconds; BIRD's default where there is none or it cannot be read."""
    parts = re.findall(r"([\d.]+)(h|ms|us|µs|ns|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return DEFAULT_RESTART_TIME_S
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return min(int(seconds), LONGEST_RESTART_TIME_S)
