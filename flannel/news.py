"""What the log says of leases and routes, in the original's words: part of :mod:`flannel.agent`. Pure.

A lease that came is told with what became of its route, as the original does, although here all routes are written
together: so a line waits until the pass that wrote its route is over. What was done without any news of a lease, such
as a repair, is told as felix tells it.

Source: flannel pkg/backend (vxlan_network, route_network, udp_network); netlink.Route's text in Go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from felix import changes_log
from felix.fib.model import AddRoute, DeleteRoute, Network, ReplaceRoute, Route
from felix.fib.status import Applied
from flannel.lease import Lease, Subnets


@dataclass(frozen=True, slots=True)
class Line:
    """``level`` is logging's."""

    text: str
    level: int = logging.INFO


class News:
    """``backend`` is the configuration's word for it. ``index_of`` a device, for the text of a route."""

    def __init__(self, backend: str, index_of: Callable[[str], int]) -> None:
        self._backend = backend
        self._index_of = index_of
        self._leases: dict[Subnets, Lease] = {}
        self._waiting: list[tuple[Network | None, str]] = []
        self._applied: list[Applied] = []

    def learn(self, leases: Iterable[Lease]) -> None:
        """``leases``: the peers', all of them."""
        peers = {lease.subnets: lease for lease in leases}
        for subnets in self._leases.keys() - peers.keys():
            self._waiting.append((subnets.v4 or subnets.v6, f"Subnet removed: {subnets}"))
        for subnets, lease in peers.items():
            if self._leases.get(subnets) != lease:
                self._waiting.append((subnets.v4 or subnets.v6, self._came(lease)))
        self._leases = peers

    def applied(self, done: Sequence[Applied]) -> None:
        self._applied += done

    def tell(self) -> Iterator[Line]:
        """What there is to say after a pass; each thing once."""
        waiting, done = self._waiting, self._applied
        self._waiting, self._applied = [], []
        routes = {_dst(one): one for one in done if isinstance(one.op, AddRoute | ReplaceRoute | DeleteRoute)}
        told = set()
        for dst, text in waiting:
            yield Line(text)
            if dst in routes:
                told.add(dst)
                yield from self._became(routes[dst])
        rest = [one for one in done if _dst(one) not in told]
        yield from (Line(text) for text in changes_log.lines(rest))

    def _came(self, lease: Lease) -> str:
        attributes = lease.attributes
        if self._backend == "vxlan" and attributes.backend == "vxlan":
            return _vxlan_line(lease)
        if self._backend in ("host-gw", "ipip", "vxlan") and attributes.backend != self._backend:
            return f"Ignoring non-{self._backend} subnet: type={attributes.backend}"
        if self._backend in ("host-gw", "ipip"):
            return f"Subnet added: {lease.subnets.v4 or lease.subnets.v6} via {_via(lease)}"
        return f"Subnet added: {lease.subnets}"

    def _became(self, done: Applied) -> Iterator[Line]:
        if done.refusal is not None:
            yield Line(f"Error adding route to {self._go_text(_route(done))}: {done.refusal}", logging.ERROR)
        elif isinstance(done.op, ReplaceRoute):
            before, after = self._go_text(done.op.over), self._go_text(done.op.route, table=0)
            yield Line(f"Replacing existing route to {before} with {after}", logging.WARNING)

    def _go_text(self, route: Route, *, table: int | None = None) -> str:
        """As Go prints a netlink.Route."""
        hop = route.hops[0] if route.hops else None
        index = 0 if hop is None else self._index_of(hop.device)
        via = "<nil>" if hop is None or hop.via is None else str(hop.via)
        flags = "[onlink]" if hop is not None and hop.onlink else "[]"
        number = route.table if table is None else table
        return f"{{Ifindex: {index} Dst: {route.dst} Src: <nil> Gw: {via} Flags: {flags} Table: {number} Realm: 0}}"


def _vxlan_line(lease: Lease) -> str:
    told = lease.attributes
    v6 = str(told.public_ipv6) if told.public_ipv6 is not None else "(nil)"
    fields = f"BackendType: vxlan, PublicIP: {told.public_ip or '0.0.0.0'}, PublicIPv6: {v6}"
    data = f"BackendData: {told.data or '(nil)'}, BackendV6Data: {told.data_v6 or '(nil)'}"
    return f"Received Subnet Event with VxLan: {fields}, {data}"


def _via(lease: Lease) -> object:
    return lease.attributes.public_ip if lease.subnets.v4 is not None else lease.attributes.public_ipv6


def _dst(done: Applied) -> Network | None:
    return _route(done).dst if isinstance(done.op, AddRoute | ReplaceRoute | DeleteRoute) else None


def _route(done: Applied) -> Route:
    assert isinstance(done.op, AddRoute | ReplaceRoute | DeleteRoute)
    return done.op.route
