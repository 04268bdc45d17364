"""View → Desired: everything that the kernel should hold of ours, each item with its Why. Pure and whole.

Outputs depend on what is known now, never on how it came to be known (invariant 5). Of several that have a destination
the nearest wins: a pod of this node, then a block of this node, then what others have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from felix import tunnel_devices
from felix.atlas import Atlas
from felix.choose import source_for
from felix.encap.way import NoWay
from felix.fib import rp_filter
from felix.fib.model import Desired, Network, Route, RouteKey, Why
from felix.reach import blocks, local
from felix.reach.reach import Reach, Source
from felix.view import View

_FORWARDING = Why("pods are routed")
_POD_SYSCTLS = {
    4: {
        "net/ipv4/conf/{}/route_localnet": "1",
        "net/ipv4/neigh/{}/proxy_delay": "0",
        "net/ipv4/conf/{}/proxy_arp": "1",
        "net/ipv4/conf/{}/forwarding": "1",
    },
    6: {
        "net/ipv6/conf/{}/accept_ra": "0",
        "net/ipv6/conf/{}/proxy_ndp": "1",
        "net/ipv6/conf/{}/forwarding": "1",
    },
}
_NODE_SYSCTLS = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}

_Placed = tuple[Route, Why] | Why | None
"""What became of a reach: a route; the reason that there is none now; or nothing, another source answers for it."""


def desire(view: View) -> Desired:
    return Desirer().desire(view)


class Desirer:
    """Answers what :func:`desire` answers. Keeps what became of each destination for as long as neither its reach nor
    the map changes, so that one change among thousands costs next to nothing for each of the others.
    """

    def __init__(self) -> None:
        self._atlas: Atlas | None = None
        self._placed: dict[int, tuple[Reach, _Placed]] = {}  # by the reach's id, which it keeps alive
        self._blocks = blocks.Blocks()

    def desire(self, view: View) -> Desired:
        routes: dict[RouteKey, tuple[Route, Why]] = {}
        pending: dict[Network, Why] = {}
        if view.can_place_remote:
            for dst, placed in self._remote(view):
                if isinstance(placed, Why):
                    pending[dst] = placed
                elif placed is not None:
                    routes[placed[0].key] = placed
        for route, why in chain(local.blackholes(view), local.pod_routes(view)):
            routes[route.key] = (route, why)
            pending.pop(route.dst, None)
        tunnels = dict(tunnel_devices.wanted(view))
        return Desired(
            routes, pending, _devices_up(view), dict(_sysctls(view, tunnels)), dict(_lenient(view, tunnels)), tunnels
        )

    def _remote(self, view: View) -> Iterator[tuple[Network, _Placed]]:
        """What other nodes and external neighbours have."""
        atlas = self._atlas_for(view)
        if len(self._placed) > 2 * (len(view.announced) + len(view.blocks)):
            self._placed = {}
        by_blocks = self._blocks.reaches(view, lambda dst: source_for(atlas.pool_of(dst)) is Source.BLOCKS)
        for reach in chain(view.announced.values(), by_blocks):
            known = self._placed.get(id(reach))
            if known is None:
                known = self._placed[id(reach)] = (reach, _place(reach, atlas))
            yield reach.dst, known[1]

    def _atlas_for(self, view: View) -> Atlas:
        if self._atlas is None or self._atlas.version != view.map_version:
            self._atlas = Atlas(view)
            self._placed = {}
        return self._atlas


def _place(reach: Reach, atlas: Atlas) -> _Placed:
    pool = atlas.pool_of(reach.dst)
    if source_for(pool) is not reach.source:
        return None
    way, why = atlas.way(reach, pool)
    if isinstance(way, NoWay):
        return why
    return way.to(reach.dst), why


def _devices_up(view: View) -> dict[str, Why]:
    """Whoever makes a device raises it when it is prepared: one that is up too early asks for its IPv6 address for a
    second and more, and answers no pod until then.
    """
    finished = (one for one in local.endpoints(view) if one.device not in view.unfinished)
    return {one.device: Why(f"pod {local.pod_name(one)}") for one in finished}


def _sysctls(view: View, tunnels: Iterable[str]) -> Iterator[tuple[str, tuple[str, Why]]]:
    yield _NODE_SYSCTLS[4], ("1", _FORWARDING)
    for device in tunnels:
        yield rp_filter.PATH.format(device), ("2", Why("packets may come through it that are answered another way"))
    for endpoint in local.endpoints(view):
        why = Why(f"pod {local.pod_name(endpoint)}")
        for version in sorted({network.version for network in endpoint.networks}):
            yield _NODE_SYSCTLS[version], ("1", _FORWARDING)
            for path, value in _POD_SYSCTLS[version].items():
                yield path.format(endpoint.device), (value, why)


def _lenient(view: View, tunnels: Mapping[str, object]) -> Iterator[tuple[str, Why]]:
    """A node that has not seen an edit, or cannot take part, sends as it did, and is answered through a tunnel."""
    if tunnels and view.me is not None and (own := view.me.ipv4) is not None:
        for device in (one.device for one in view.surroundings.addresses if one.address == own.ip):
            yield device, Why("packets that are answered through a tunnel may come through it")
