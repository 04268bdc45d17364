"""Which BGP neighbours this node has: a pure function of nodes, BGPConfigurations and BGPPeers.

Three kinds, named as BIRD would be configured with them, because status readers know the names:

- ``Mesh_10_0_0_2``: every other node that has an address of the family, while the full mesh is on. A node with a route
  reflector cluster id takes no part in it, on either side.
- ``Global_10_0_0_9``: a BGPPeer without node and nodeSelector.
- ``Node_10_0_0_9``: a BGPPeer for some nodes, and the mirror of one that selects this node as the far end.

One of two nodes dials: the one whose address is the greater *as a string*. Both ends must decide it alike, so this is
the rule of confd and not a better one. A BGPPeer that cannot be had as it is asked for is listed with the reason and
not brought up: nothing that a user wrote is ignored in silence. So it is with a password that cannot be read, where
Calico makes an unprotected session.

Source: Calico confd/pkg/backends/calico (bgp_processor.go, updatePeersV1 in client.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from bgp.filters import Filter, Unreadable
from bgp.neighbour import DEFAULT_PORT, DEFAULT_RESTART_TIME_S, Kind, Mesh, Neighbour, NextHopMode, Unbuilt
from bgp.session import HOLD_TIME_S
from datastore import selector
from datastore.resources import BGPConfiguration, BGPPeer, Node

Address = IPv4Address | IPv6Address

DEFAULT_AS = 64512
LONGEST_RESTART_TIME_S = 4095
BFD_IF_CONNECTED = "BFDIfDirectlyConnected"
"""The failureDetectionMode that there is, beside None."""
LONGEST_PASSWORD_BYTES = 80
"""TCP_MD5SIG_MAXKEYLEN."""


Secrets = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the decision is made from. ``configurations`` by name: ``default`` and ``node.<name>``.

    ``secrets`` by name and key; None where the datastore is one that has none. A filter that is not there is as good as
    one without rules, as in Calico. ``node_hold_time_s`` is what this node offers to other nodes.
    """

    me: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    configurations: Mapping[str, BGPConfiguration] = field(default_factory=dict)
    peers: Sequence[BGPPeer] = ()
    secrets: Secrets | None = None
    filters: Mapping[str, Filter | Unreadable] = field(default_factory=dict)
    node_hold_time_s: int = HOLD_TIME_S

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
    password = _password(cluster, default.node_mesh_password if default is not None else {})
    for node in cluster.nodes.values():
        theirs = cluster.address(node, mine.version)
        if theirs is None or theirs == mine or node.name == me.name or node.reflector_cluster_id:
            continue
        port = cluster.configured_port(node.name) or DEFAULT_PORT
        name = name_of(Kind.MESH, theirs)
        if isinstance(password, _Refused):
            yield (theirs, port), Unbuilt(name, password.why)
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
                password=password,
                is_watched=True,
                hold_time_s=cluster.node_hold_time_s,
            ),
        )


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str


def _password(cluster: Cluster, wanted: Mapping[str, Any]) -> str | _Refused:
    """What ``wanted`` (a BGPPassword) refers to; "" when there is to be none."""
    selector = wanted.get("secretKeyRef")
    if not selector:
        return ""
    name, key = str(selector.get("name") or ""), str(selector.get("key") or "")
    password = None if cluster.secrets is None else cluster.secrets.get((name, key))
    if password is None and selector.get("optional"):
        return ""
    if cluster.secrets is None:
        return _Refused(f"password: the secret {name} is in Kubernetes, and this datastore is not")
    if password is None:
        return _Refused(f"password: no secret {name} with a key {key}")
    if len(password.encode()) > LONGEST_PASSWORD_BYTES:
        return _Refused(f"password: {key} of the secret {name} is longer than {LONGEST_PASSWORD_BYTES} bytes")
    return password


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
        if peer.reverse_peering != "Manual" and _reaches(cluster, peer, me, version):
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
    reflector_cluster_id: str = ""

    @staticmethod
    def of_node(cluster: Cluster, node: Node, version: int) -> _FarEnd | None:
        address = cluster.address(node, version)
        if address is None:
            return None
        return _FarEnd(
            address,
            cluster.as_number(node),
            cluster.configured_port(node.name),
            node.name,
            reflector_cluster_id=node.reflector_cluster_id,
        )


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
    yield _FarEnd(
        address,
        peer.as_number,
        port,
        node_there.name if node_there else "",
        was_given_by_address=True,
        reflector_cluster_id=node_there.reflector_cluster_id if node_there else "",
    )


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
    password = _password(cluster, peer.password)
    if isinstance(password, _Refused):
        yield place, Unbuilt(name, password.why)
    elif peer.local_workload_selector:
        yield place, Unbuilt(name, "not built yet: localWorkloadSelector")
    elif wrong := [str(each) for each in _filters(cluster, peer) if isinstance(each, Unreadable)]:
        yield place, Unbuilt(name, "; ".join(wrong))
    else:
        wanted = _neighbour(cluster, me, peer, far, name=name, kind=kind, mine=mine)
        yield place, replace(wanted, password=password)


def _filters(cluster: Cluster, peer: BGPPeer) -> Iterator[Filter | Unreadable]:
    return (cluster.filters[name] for name in peer.filters if name in cluster.filters)


def _neighbour(
    cluster: Cluster, me: Node, peer: BGPPeer, far: _FarEnd, *, name: str, kind: Kind, mine: Address
) -> Neighbour:
    is_given_node = far.was_given_by_address and bool(far.node)
    local_as = peer.local_as_number or cluster.as_number(me)
    is_internal = far.peer_as == local_as
    return Neighbour(
        name=name,
        kind=kind,
        address=far.address,
        peer_as=far.peer_as,
        local_as=local_as,
        local_address=None if peer.source_address == "None" else mine,
        port=far.port or DEFAULT_PORT,
        is_passive=kind is Kind.GLOBAL and is_given_node and not dials(mine, far.address),
        restart_time_s=_restart_time_s(peer.max_restart_time),
        node=far.node,
        keepalive_time_s=int(seconds_of(peer.keepalive_time) or 0),
        ttl_hops=peer.ttl_security,
        gateway=_gateway(peer.reachable_by, far.address),
        cluster_id=_client_of(me, far) if is_internal else None,
        next_hop_mode=_next_hop_mode(peer, is_internal=is_internal),
        allowed_local_as=peer.num_allowed_local_as,
        filters=tuple(each for each in _filters(cluster, peer) if isinstance(each, Filter)),
        is_watched=_is_watched(peer, far),
        hold_time_s=cluster.node_hold_time_s if far.node else HOLD_TIME_S,
    )


def _is_watched(peer: BGPPeer, far: _FarEnd) -> bool:
    """Where somebody asks for it, and between nodes unless somebody does not want it."""
    return bool(far.node) if not peer.failure_detection_mode else peer.failure_detection_mode == BFD_IF_CONNECTED


def _client_of(me: Node, far: _FarEnd) -> IPv4Address | None:
    """The cluster in which the far end is our client: ours, unless it is another reflector of the same cluster."""
    if not me.reflector_cluster_id or far.reflector_cluster_id == me.reflector_cluster_id:
        return None
    return cluster_id_of(me)


def cluster_id_of(node: Node) -> IPv4Address | None:
    """The node's cluster as a reflector; None where it is none, or where what stands there is no cluster id."""
    try:
        return IPv4Address(node.reflector_cluster_id)
    except ValueError:
        return None


def _next_hop_mode(peer: BGPPeer, *, is_internal: bool) -> NextHopMode:
    if peer.keep_original_next_hop and not is_internal:
        return NextHopMode.KEEP
    return NextHopMode(peer.next_hop_mode) if peer.next_hop_mode in ("Self", "Keep") else NextHopMode.AUTO


def _gateway(text: str, far: Address) -> Address | None:
    place = split_port(text)
    return place[0] if place is not None and place[0].version == far.version else None


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
    """BIRD's default where there is none or it cannot be read."""
    seconds = seconds_of(duration)
    return DEFAULT_RESTART_TIME_S if seconds is None else min(int(seconds), LONGEST_RESTART_TIME_S)


def seconds_of(duration: str) -> float | None:
    """Go's duration text."""
    parts = re.findall(r"([\d.]+)(h|ms|us|µs|ns|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
