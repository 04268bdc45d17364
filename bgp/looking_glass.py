"""What the speaker knows, as JSON for people's tools: its neighbours and, destination by destination, why each path
was taken or refused. Reads the speaker and changes nothing.

``received`` are all routes that neighbours announced, each with its verdict; ``accepted`` those that were believed;
``advertised`` what neighbours are told; ``best`` what is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from bgp.best import Candidate, why_best
from bgp.bfd.watch import SessionStatus
from bgp.control import Commands
from bgp.export import Announcement
from bgp.learned import Network
from bgp.message import Attributes, Community, Numbered, Place, dst_of
from bgp.neighbour import Unbuilt
from bgp.peering import Peering
from bgp.session import State
from bgp.speaker import Speaker
from bgp.status import trouble_words

Json = dict[str, Any]


def peers(speaker: Speaker) -> list[Json]:
    return [_peer(speaker, each) for _, each in sorted(speaker.peerings.items())]


def status(
    speaker: Speaker, unbuilt: Iterable[Unbuilt] = (), waiting: str = "", unreadable: Sequence[str] = ()
) -> Json:
    """``unbuilt`` are neighbours that are not brought up, ``waiting`` is why nothing is spoken yet, ``unreadable`` what
    of the datastore cannot be read, in words.
    """
    return {
        "routerID": str(speaker.router_id),
        "waiting": waiting,
        "unbuilt": [{"name": each.name, "why": each.why} for each in unbuilt],
        "unreadable": list(unreadable),
        "recoversFrom": list(speaker.recovery.waits_for),
        "refusedConnections": dict(speaker.strangers),
        "peers": peers(speaker),
    }


def _peer(speaker: Speaker, peering: Peering) -> Json:
    neighbour, tally = peering.neighbour, speaker.rib.tally(peering.neighbour.name)
    established = peering.established
    counters = peering.counters + established.counters if established is not None else peering.counters
    found: Json = {
        "name": neighbour.name,
        "peerIP": str(neighbour.address),
        "asNumber": neighbour.peer_as,
        "state": peering.state.value,
        "since": peering.since_wall.isoformat(timespec="seconds"),
        "isPassive": neighbour.is_passive,
        "isShutDown": peering.is_barred,
        "lastError": trouble_words(peering.trouble),
        "lastErrorText": peering.trouble.text if peering.trouble is not None else "",
        "received": tally.received,
        "accepted": tally.accepted,
        "refused": dict(tally.refused),
        "stale": tally.stale,
        "leftOut": tally.left_out,
        "advertised": len(peering.told()) if peering.state is State.ESTABLISHED else 0,
        "timesEstablished": counters["established"],
        "updates": counters["updates"],
        "malformed": counters["malformed"],
    }
    if neighbour.is_watched:
        found["bfd"] = {**_bfd(speaker.bfd.get(neighbour.address)), "failures": counters["bfd-down"]}
    if peering.opened is not None:
        opened = peering.opened
        found |= {"routerID": str(opened.router_id), "holdTime": opened.hold_time_s}
        found |= {"capabilities": list(opened.capabilities), "families": [f"ipv{v}" for v in sorted(opened.versions)]}
    return found


def _bfd(status: SessionStatus | None) -> Json:
    if status is None:
        return {"state": "Unknown", "why": "no BFD process has said anything of it"}
    found: Json = {"state": status.state.word, "interval": status.interval_ms, "isIndependent": status.is_independent}
    if status.is_up:
        return found | {"detectionTime": status.detection_time_ms}
    return found | {"hasFailed": status.has_failed, "why": status.why}


def routes(speaker: Speaker, *, which: str = "best", prefix: str = "", peer: str = "") -> list[Json]:
    """Raises ValueError for words that mean nothing, and for a peer that is not there."""
    if which not in _SHOWN:
        raise ValueError(f"must be one of {', '.join(_SHOWN)}, not {which!r}")
    inside = ip_network(prefix, strict=False) if prefix else None
    found = _SHOWN[which](speaker, _chosen(speaker, peer))
    return [each for dst, each in sorted(found, key=_order) if inside is None or _matches(dst, inside, prefix)]


def _order(each: tuple[Network, Json]) -> tuple[int, int, int]:
    return each[0].version, int(each[0].network_address), each[0].prefixlen


def _matches(dst: Network, inside: Network, text: str) -> bool:
    """A prefix is asked for what lies in it, an address for what contains it."""
    if dst.version != inside.version:
        return False
    if "/" in text:
        return dst.prefixlen >= inside.prefixlen and dst.network_address in inside
    return inside.network_address in dst


def _chosen(speaker: Speaker, peer: str) -> Sequence[Peering]:
    if not peer:
        return tuple(speaker.peerings.values())
    return (find(speaker, peer),)


def find(speaker: Speaker, peer: str) -> Peering:
    """By name or address. Raises ValueError."""
    for name, each in speaker.peerings.items():
        if peer in (name, str(each.neighbour.address)):
            return each
    raise ValueError(f"there is no peer {peer!r}{_as_address(peer)}")


def _as_address(peer: str) -> str:
    try:
        ip_address(peer)
    except ValueError:
        return ", which is neither a name of one nor an address"
    return ""


def _received(speaker: Speaker, peerings: Sequence[Peering]) -> Iterator[tuple[Network, Json]]:
    for peering in peerings:
        name = peering.neighbour.name
        for place, attributes, refused, is_stale in speaker.rib.received(name):
            verdict = f"refused: {refused.value}" if refused is not None else "accepted"
            dst, number = dst_of(place), _numbered(place)
            yield dst, {**_shown(dst, name, attributes), **number, "isStale": is_stale, "why": verdict}


def _numbered(place: Place) -> Json:
    return {"pathID": place.path_id} if isinstance(place, Numbered) else {}


def _accepted(speaker: Speaker, peerings: Sequence[Peering]) -> Iterator[tuple[Network, Json]]:
    names = {each.neighbour.name for each in peerings}
    for dst, candidates in speaker.rib.paths():
        for each in candidates:
            if each.peer in names:
                yield dst, {**_shown(dst, each.peer, each.attributes), **_chosen_why(each, candidates)}


def _best(speaker: Speaker, peerings: Sequence[Peering]) -> Iterator[tuple[Network, Json]]:
    names = {each.neighbour.name for each in peerings}
    for dst, candidates in speaker.rib.paths():
        best = candidates[0]
        if best.peer in names:
            yield dst, {**_shown(dst, best.peer, best.attributes), **_chosen_why(best, candidates)}


def _advertised(speaker: Speaker, peerings: Sequence[Peering]) -> Iterator[tuple[Network, Json]]:
    for peering in peerings:
        if peering.state is State.ESTABLISHED:
            for place, told in peering.told().items():
                yield dst_of(place), _numbered(place) | _told(dst_of(place), peering.neighbour.name, told)


_SHOWN = {"best": _best, "received": _received, "accepted": _accepted, "advertised": _advertised}


def _chosen_why(path: Candidate, candidates: Sequence[Candidate]) -> Json:
    best = candidates[0]
    if path is best:
        return {"isBest": True, "why": why_best(best, candidates[1]) if len(candidates) > 1 else "the only path"}
    return {"isBest": False, "why": f"the best has {why_best(best, path)}"}


def _shown(dst: Network, peer: str, attributes: Attributes) -> Json:
    found: Json = {
        "prefix": str(dst),
        "peer": peer,
        "nextHop": str(attributes.next_hop) if attributes.next_hop is not None else "",
        "localPreference": attributes.local_pref,
        "asPath": list(attributes.as_path),
        "origin": attributes.origin.name.lower(),
        "med": attributes.med,
        "communities": _communities(attributes.communities),
    }
    if attributes.originator is not None:
        found |= {
            "originatorID": str(attributes.originator),
            "clusterList": [str(each) for each in attributes.clusters],
        }
    return found


def _told(dst: Network, peer: str, told: Announcement) -> Json:
    return {
        "prefix": str(dst),
        "peer": peer,
        "nextHop": str(told.next_hop) if told.next_hop is not None else "self",
        "localPreference": told.local_pref,
        "asPath": list(told.as_path),
        "origin": told.origin.name.lower(),
        "communities": _communities(told.communities),
    }


def _communities(communities: Sequence[Community]) -> list[str]:
    return [":".join(map(str, each)) for each in communities]


def commands(speaker: Speaker, tell_status: Callable[[], Json]) -> Commands:
    """For the control socket: what any speaker answers."""
    return {
        "status": lambda _: tell_status(),
        "routes": lambda asked: routes(
            speaker,
            which=str(asked.get("which", "best")),
            prefix=str(asked.get("prefix", "")),
            peer=str(asked.get("peer", "")),
        ),
    }
