"""The status of a CalicoNodeStatus: what the speaker says of itself, its sessions and its routes, in Calico's words.

Somebody asks with an object that names a node and classes (Agent, BGP, Routes); the node answers into the same object.
What was not asked for stays as it stood. Pure; who writes it is :mod:`bgp.node_reports`.

Source: Calico api v3 nodestatus.go, node/pkg/status/populators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from bgp.rib import STATIC
from bgp.session import State
from bgp.status import VERSION, PathStatus, PeerStatus, SpeakerStatus, WayOut, moment, since

Json = dict[str, Any]

_TYPES = {"Mesh": "NodeMesh", "Node": "NodePeer", "Global": "GlobalPeer"}
_NOWHERE = "N/A"
EMPTY: Mapping[str, Any] = {
    "lastUpdated": None,
    "agent": {"birdV4": {}, "birdV6": {}},
    "bgp": {f"number{which}V{version}": 0 for version in (4, 6) for which in ("Established", "NotEstablished")},
    "routes": {},
}


def answer(
    classes: Collection[str], speakers: Mapping[int, SpeakerStatus], way_out: WayOut, *, before: Mapping[str, Any]
) -> Json:
    """``speakers`` by IP version. Without a new time: see :func:`at`."""
    found: Json = {**EMPTY, **before}
    if "Agent" in classes:
        found["agent"] = {f"birdV{version}": _agent(each) for version, each in speakers.items()}
    if "BGP" in classes:
        found["bgp"] = {name: value for version, each in speakers.items() for name, value in _sessions(version, each)}
    if "Routes" in classes:
        every = {f"routesV{version}": list(_routes(each, way_out)) for version, each in speakers.items()}
        found["routes"] = {name: routes for name, routes in every.items() if routes}
    return found


def at(wall: datetime, status: Json) -> Json:
    """RFC 3339, in UTC and whole seconds."""
    return {**status, "lastUpdated": wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _agent(speaker: SpeakerStatus) -> Json:
    if speaker.waiting:
        return {"state": "NotReady", "version": VERSION}
    return {
        "state": "Ready",
        "version": VERSION,
        "routerID": str(speaker.router_id or "0.0.0.0"),
        "lastBootTime": moment(speaker.started_wall),
        "lastReconfigurationTime": moment(speaker.configured_wall),
    }


def _sessions(version: int, speaker: SpeakerStatus) -> Iterator[tuple[str, Any]]:
    counts = Counter(peer.state is State.ESTABLISHED for peer in speaker.peers)
    yield f"numberEstablishedV{version}", counts[True]
    yield f"numberNotEstablishedV{version}", counts[False]
    if speaker.peers:
        yield f"peersV{version}", [_peer(speaker, peer) for peer in speaker.peers]


def _peer(speaker: SpeakerStatus, peer: PeerStatus) -> Json:
    """One that is not brought up has no address that could be said."""
    found = {"peerIP": str(peer.address)} if peer.address is not None else {}
    words = {"type": _type_of(peer.name), "state": peer.state.value, "since": since(speaker, peer.since_wall)}
    return {**found, **words}


def _type_of(name: str) -> str:
    return _TYPES[name.partition("_")[0]]


def _routes(speaker: SpeakerStatus, way_out: WayOut) -> Iterator[Json]:
    own = [(dst, [_own(str(dst))]) for dst in speaker.exports]
    learned = [
        (dst, [_learned(str(dst), path, way_out, is_best=path is paths[0]) for path in paths])
        for dst, paths in speaker.paths
    ]
    for _, routes in sorted([*own, *learned], key=lambda each: (each[0].version, each[0])):
        yield from routes


def _own(dst: str) -> Json:
    source = {"sourceType": "Static"}
    return {
        "type": "FIB",
        "destination": dst,
        "gateway": _NOWHERE,
        "interface": "blackhole",
        "learnedFrom": source,
    }


def _learned(dst: str, path: PathStatus, way_out: WayOut, *, is_best: bool) -> Json:
    hop = path.attributes.next_hop
    found = way_out(hop) if hop is not None else None
    kind = "NodeMesh" if path.peer.startswith("Mesh_") else "BGPPeer"
    return {
        "type": "FIB" if is_best else "RIB",
        "destination": dst,
        "gateway": str(found[1] or hop) if found is not None else _NOWHERE,
        "interface": found[0] if found is not None else "unreachable",
        "learnedFrom": {"sourceType": "Static"}
        if path.peer == STATIC
        else {"sourceType": kind, "peerIP": str(path.address)},
    }
