"""Everything that this node's kernel should hold of flannel's, from what is known now. Pure.

Nothing goes before all leases are known. What somebody has, but nobody can read, stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

from felix.encap.way import Way
from felix.fib.mirror import Surroundings
from felix.fib.model import Network, Protocol, Route, RouteKey, RouteType, Why
from felix.fib.plan import ALL_IN_SYNC, NOTHING_IN_SYNC
from felix.fib.reconciler import Wish
from felix.ground import Ground
from flannel.backends.backend import Backend, Me
from flannel.lease_table import Known
from flannel.marks import FlannelMarks


def wish(backend: Backend, me: Me, known: Known | None, around: Surroundings, *, drops_strays: bool = False) -> Wish:
    """``known`` None: the leases were not listed yet. ``drops_strays``: what no pod has of our subnet is dropped."""
    peers = () if known is None else known.but(me.subnets)
    desired = backend.desire(me, peers, Ground(around))
    pending = {**desired.pending, **_unreadable(known)}
    routes = {**desired.routes, **(_blackholes(me) if drops_strays else {})}
    told = [lease.attributes for lease in peers]
    holders = {address for one in told for address in (one.public_ip, one.public_ipv6) if address is not None}
    return Wish(
        replace(desired, routes=routes, pending=pending),
        frozenset(network for network in (me.networks.v4, me.networks.v6) if network is not None),
        NOTHING_IN_SYNC if known is None else ALL_IN_SYNC,
        FlannelMarks(frozenset(holders)),
    )


def _unreadable(known: Known | None) -> dict[Network, Why]:
    found = {} if known is None else known.unreadable
    return {network: Why(f"its lease cannot be read: {why}") for network, why in found.items()}


def _blackholes(me: Me) -> dict[RouteKey, tuple[Route, Why]]:
    subnets = [subnet for subnet in (me.subnets.v4, me.subnets.v6) if subnet is not None]
    made = [replace(Way((), protocol=Protocol.BOOT).to(subnet), type=RouteType.BLACKHOLE) for subnet in subnets]
    return {route.key: (route, Why("--ip-blackhole-route")) for route in made}
