"""This node's tunnel devices, as :mod:`felix.tunnel_addresses` sees them: what they hold, and when they can receive.

What is not known is answered with no: before the first pass nothing was compared with the kernel, so nothing is ready
and nothing idle.
"""

from __future__ import annotations

from collections.abc import Callable

from felix.dataplane import Dataplane
from felix.fib.model import Address
from felix.tunnels import Held, Tunnel, peers_may_send


class Receivers:
    """``admits_members``: the packet filter holds what is wanted of it now, for a version of IP."""

    def __init__(self, dataplane: Dataplane, *, admits_members: Callable[[int], bool]) -> None:
        self._dataplane, self._admits_members = dataplane, admits_members

    def hold(self, held: Held) -> None:
        self._dataplane.view.hold(held)
        self._dataplane.changed()

    def is_ready(self, tunnel: Tunnel, address: Address) -> bool:
        around = self._dataplane.view.surroundings
        link = around.links.get(tunnel.device)
        on_device = {
            one.address
            for one in around.addresses
            if one.device == tunnel.device and one.address.version == tunnel.version and not one.address.is_link_local
        }
        return link is not None and link.is_up and on_device == {address} and self._admits_members(tunnel.version)

    def is_idle(self, tunnel: Tunnel) -> bool:
        reconciler = self._dataplane.reconciler
        if not (reconciler.report().has_planned and self._dataplane.view.can_place_remote):
            return False
        wanted = (route for route, _ in reconciler.desired.routes.values())
        held = reconciler.mirror.actual.routes.values()
        return not any(
            hop.device == tunnel.device for routes in (wanted, held) for route in routes for hop in route.hops
        )

    def is_quiet(self, tunnel: Tunnel) -> bool:
        view = self._dataplane.view
        return not peers_may_send(view.nodes.values(), view.node, tunnel)
