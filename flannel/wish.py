"""Everything that this node's kernel should hold of flannel's, from what is known now. Pure.

Nothing goes before all leases are known. What somebody has, but nobody can read, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from felix.encap.way import Way
from felix.fib.mirror import Surroundings
from felix.fib.model import Network, Protocol, Route, RouteKey, RouteType, Why
from felix.fib.plan import ALL_IN_SYNC, NOTHING_IN_SYNC, InSync
from felix.fib.reconciler import Wish
from felix.fib.tunnel import TunnelDevice
from felix.ground import Ground
from flannel.backends.backend import Backend, Me
from flannel.lease import NO_SUBNETS, Lease
from flannel.marks import FLANNEL, FlannelMarks


@dataclass(frozen=True, slots=True)
class Peers:
    """The leases of others, and the subnets of those that nobody can read."""

    leases: tuple[Lease, ...] = ()
    unreadable: Mapping[Network, str] = field(default_factory=dict)


def wish(
    backend: Backend,
    me: Me,
    peers: Peers | None,
    around: Surroundings,
    *,
    keeps_tunnels: bool = False,
    is_whole: bool = True,
    drops_strays: bool = False,
    has_sysctls: bool = True,
) -> Wish:
    """``peers`` None: the leases were not listed yet. ``keeps_tunnels``: those of another backend go on receiving.
    ``is_whole``: whoever has no lease in ``peers`` has none.
    ``drops_strays``: what no pod has of our subnet is dropped. ``has_sysctls``: they can be written here.
    """
    found = Peers() if peers is None else peers
    desired = backend.desire(me, found.leases, Ground(around))
    unreadable = {network: Why(f"its lease cannot be read: {why}") for network, why in found.unreadable.items()}
    pending = {**desired.pending, **unreadable}
    routes = {**desired.routes, **(_blackholes(me) if drops_strays else {})}
    tunnels = {**(_old_tunnels(me, around) if keeps_tunnels else {}), **desired.tunnels}
    sysctls = desired.sysctls if has_sysctls else {}
    told = [lease.attributes for lease in found.leases]
    holders = {address for one in told for address in (one.public_ip, one.public_ipv6) if address is not None}
    return Wish(
        replace(desired, routes=routes, pending=pending, tunnels=tunnels, sysctls=sysctls),
        frozenset(network for network in (me.networks.v4, me.networks.v6) if network is not None),
        _in_sync(me, peers if is_whole else None),
        FlannelMarks(frozenset(holders)),
    )


def _in_sync(me: Me, peers: Peers | None) -> InSync:
    """Before the own subnet is known, nobody knows which address belongs on a tunnel."""
    if peers is None:
        return NOTHING_IN_SYNC
    return replace(ALL_IN_SYNC, tunnels=me.subnets != NO_SUBNETS)


def _old_tunnels(me: Me, around: Surroundings) -> dict[str, tuple[TunnelDevice, Why]]:
    """The tunnels that there are, as they are: peers that have not heard of the switch still send through them."""
    networks = [network for network in (me.networks.v4, me.networks.v6) if network is not None]
    own = {one.device: one.address for one in around.addresses if any(one.address in network for network in networks)}
    why = Why("peers may still send through it")
    return {
        name: (TunnelDevice(name, link.mtu_bytes, own[name], link.mac, link.vxlan, ipip=link.ipip), why)
        for name, link in around.links.items()
        if name in own and FLANNEL.is_tunnel(name)
    }


def _blackholes(me: Me) -> dict[RouteKey, tuple[Route, Why]]:
    subnets = [subnet for subnet in (me.subnets.v4, me.subnets.v6) if subnet is not None]
    made = [replace(Way((), protocol=Protocol.BOOT).to(subnet), type=RouteType.BLACKHOLE) for subnet in subnets]
    return {route.key: (route, Why("--ip-blackhole-route")) for route in made}
