"""What monitoring is told of the speaker, in Prometheus' text format: some lines a neighbour, however many its routes.

Pure: it reads what :func:`bgp.looking_glass.status` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from datastore.monitoring import exposition
from datastore.monitoring.exposition import Family, Labels, Type

Json = Mapping[str, Any]
Sample = tuple[Labels, float]


def text(status: Json) -> str:
    peers = status["peers"]
    families = [
        _family("bgp_peers", Type.GAUGE, "Neighbours, by state.", _by_state(peers)),
        _family("bgp_peer_up", Type.GAUGE, "1 while the session is established.", _each(peers, _is_up)),
        _family("bgp_peer_established_total", Type.COUNTER, "Sessions so far.", _each(peers, _of("timesEstablished"))),
        _family("bgp_peer_routes_received", Type.GAUGE, "Routes that it announces.", _each(peers, _of("received"))),
        _family("bgp_peer_routes_accepted", Type.GAUGE, "Those that are believed.", _each(peers, _of("accepted"))),
        _family("bgp_peer_routes_refused", Type.GAUGE, "Those that are not, by reason.", _refused(peers)),
        _family("bgp_peer_routes_advertised", Type.GAUGE, "Routes that it is told.", _each(peers, _of("advertised"))),
        _family("bgp_peer_routes_stale", Type.GAUGE, "Kept over its restart.", _each(peers, _of("stale"))),
        _family("bgp_peer_routes_left_out", Type.GAUGE, "Beyond what it may fill.", _each(peers, _of("leftOut"))),
        _family("bgp_peer_updates_total", Type.COUNTER, "UPDATEs from it.", _each(peers, _of("updates"))),
        _family(
            "bgp_peer_malformed_total", Type.COUNTER, "Messages with errors from it.", _each(peers, _of("malformed"))
        ),
        _family("bgp_peer_bfd_up", Type.GAUGE, "1 while BFD hears it, of those watched.", _bfd(peers, _is_heard)),
        _family("bgp_peer_bfd_failures_total", Type.COUNTER, "Sessions that BFD ended.", _bfd(peers, _of("failures"))),
        _family("bgp_refused_connections_total", Type.COUNTER, "From strangers.", _strangers(status)),
        _family("bgp_objects_unreadable", Type.GAUGE, "Objects of the datastore that cannot be read.", _unread(status)),
        _family("bgp_recovering_from", Type.GAUGE, "Neighbours without End-of-RIB yet.", _recovering(status)),
    ]
    return exposition.text(families)


def _family(name: str, kind: Type, about: str, samples: Iterable[Sample]) -> Family:
    return Family(name, kind, about, dict(samples))


def _labels(peer: Json) -> Labels:
    return ("peer", str(peer["peerIP"])), ("as", str(peer["asNumber"]))


def _each(peers: Sequence[Json], value: Callable[[Json], float]) -> Iterator[Sample]:
    return ((_labels(peer), value(peer)) for peer in peers)


def _of(name: str) -> Callable[[Json], float]:
    return lambda peer: float(peer[name])


def _is_up(peer: Json) -> float:
    return float(peer["state"] == "Established")


def _bfd(peers: Sequence[Json], value: Callable[[Json], float]) -> Iterator[Sample]:
    return ((_labels(peer), value(peer["bfd"])) for peer in peers if "bfd" in peer)


def _is_heard(bfd: Json) -> float:
    return float(bfd["state"] == "Up")


def _by_state(peers: Sequence[Json]) -> Iterator[Sample]:
    counted = Counter(str(peer["state"]) for peer in peers)
    return (((("state", state),), count) for state, count in sorted(counted.items()))


def _refused(peers: Sequence[Json]) -> Iterator[Sample]:
    for peer in peers:
        for reason, count in sorted(peer["refused"].items()):
            yield (*_labels(peer), ("reason", reason)), count


def _strangers(status: Json) -> Iterator[Sample]:
    yield (), sum(status["refusedConnections"].values())


def _unread(status: Json) -> Iterator[Sample]:
    yield (), len(status["unreadable"])


def _recovering(status: Json) -> Iterator[Sample]:
    yield (), len(status["recoversFrom"])
