"""This node's tunnel devices, as :mod:`felix.tunnel_addresses` sees them: what they hold, and when they can receive."""

from __future__ import annotations

from collections.abc import Callable

from felix.dataplane import Dataplane
from felix.fib.model import Address
from felix.tunnels import Held, Tunnel


class Receivers:
    """``admits_members``: the packet filter holds what is wanted of it now."""

    def __init__(self, dataplane: Dataplane, *, admits_members: Callable[[], bool]) -> None:
        self._dataplane, self._admits_members = dataplane, admits_members

    def hold(self, held: Held) -> None:
        self._dataplane.view.hold(held)
        self._dataplane.changed()

    def is_ready(self, tunnel: Tunnel, address: Address) -> bool:
        around = self._dataplane.view.surroundings
        link = around.links.get(tunnel.device)
        on_device = {one.address for one in around.addresses if one.device == tunnel.device}
        return link is not None and link.is_up and address in on_device and self._admits_members()

    def is_idle(self, tunnel: Tunnel) -> bool:
        wanted = (route for route, _ in self._dataplane.reconciler.desired.routes.values())
        held = self._dataplane.reconciler.mirror.actual.routes.values()
        return not any(
            hop.device == tunnel.device for routes in (wanted, held) for route in routes for hop in route.hops
        )
