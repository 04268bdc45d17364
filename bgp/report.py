"""The speaker's state at one moment, as the values that :mod:`bgp.status` puts into words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bgp.learned import Network
from bgp.neighbour import Mesh
from bgp.peering import Peering
from bgp.speaker import Speaker
from bgp.status import PathStatus, PeerStatus, SpeakerStatus


def report(
    speaker: Speaker,
    mesh: Mesh,
    *,
    version: int,
    now_wall: datetime,
    started_wall: datetime,
    configured_wall: datetime,
    waiting: str,
    recovery_time_s: int,
) -> SpeakerStatus:
    """Of the neighbours and routes of one family; a neighbour that is not brought up stands with the IPv4 ones."""
    peers = [_peer(speaker, each) for each in speaker.peerings.values() if each.neighbour.address.version == version]
    if version == 4:
        peers += [PeerStatus(each.name, configured_wall, unbuilt=each.why) for each in mesh.unbuilt]
    deadline = speaker.recovery.deadline
    return SpeakerStatus(
        now_wall=now_wall,
        started_wall=started_wall,
        configured_wall=configured_wall,
        router_id=speaker.router_id,
        peers=tuple(sorted(peers, key=lambda peer: peer.name)),
        exports=tuple(dst for dst in speaker.exports if dst.version == version),
        paths=tuple(_paths(speaker, version)),
        recovers=speaker.recovery.waits_for,
        recovery_left_s=int(deadline - speaker.loop.time()) if deadline is not None else recovery_time_s,
        recovery_time_s=recovery_time_s,
        waiting=waiting,
        strangers=speaker.strangers.total(),
    )


def _peer(speaker: Speaker, peering: Peering) -> PeerStatus:
    neighbour, established = peering.neighbour, peering.established
    return PeerStatus(
        name=neighbour.name,
        since_wall=peering.since_wall,
        state=peering.state,
        is_passive=neighbour.is_passive,
        address=neighbour.address,
        peer_as=neighbour.peer_as,
        is_internal=neighbour.is_internal,
        local_address=established.local_address if established is not None else neighbour.local_address,
        opened=peering.opened,
        trouble=peering.trouble,
        tally=speaker.rib.tally(neighbour.name),
        counters=peering.counters + established.counters if established is not None else peering.counters,
        exported=len(peering.told()),
    )


def _paths(speaker: Speaker, version: int) -> Iterator[tuple[Network, tuple[PathStatus, ...]]]:
    for dst, candidates in speaker.rib.paths():
        if dst.version == version:
            yield dst, tuple(PathStatus(each.peer, each.attributes, each.address) for each in candidates)
