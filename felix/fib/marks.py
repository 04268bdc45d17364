"""What the kernel objects of one program look like: by this a process with an empty memory tells them from all others.

felix writes as upstream's Felix and BIRD do, and flannel as flannel does (:mod:`flannel.marks`); the rest of the FIB is
the same for both. Where a route leads is no part of its look: :mod:`felix.fib.owner` asks that next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from felix.fib.model import MAIN_TABLE, Route, RouteType
from felix.fib.model import Protocol as RouteProtocol
from felix.fib.tunnel import IPIP_DEVICE, VXLAN_DEVICES


class Marks(Protocol):
    def is_pod_device(self, name: str) -> bool:
        """A device that we raise, and that comes and goes with a pod."""
        ...

    def is_tunnel(self, name: str) -> bool:
        """A device whose addresses and entries are ours."""
        ...

    def is_made(self, name: str) -> bool:
        """A tunnel that we make and take away; others are the kernel's own."""
        ...

    @property
    def is_alone(self) -> bool:
        """Nobody else on this machine makes tunnels of these names. Else one is ours with an address that is."""
        ...

    def has_our_form(self, route: Route) -> bool: ...

    def is_plain(self, route: Route) -> bool:
        """Nothing but a route of ours looks so, inside of our networks. Another needs the journal's word."""
        ...

    def is_adopted(self, route: Route) -> bool:
        """Not plain, and yet taken for ours inside of our networks: an earlier program of our kind wrote it.

        The journal gets its key as soon as it is wanted.
        """
        ...


@dataclass(frozen=True, slots=True)
class CalicoMarks:
    """Source: Calico felix, confd's BIRD templates. ``pod_prefix``: how the names of pods' devices begin."""

    pod_prefix: str = "cali"

    def is_pod_device(self, name: str) -> bool:
        return name.startswith(self.pod_prefix)

    def is_tunnel(self, name: str) -> bool:
        return name in VXLAN_DEVICES or name == IPIP_DEVICE

    def is_made(self, name: str) -> bool:
        return name in VXLAN_DEVICES

    @property
    def is_alone(self) -> bool:
        return True

    def has_our_form(self, route: Route) -> bool:
        if route.type not in _TYPES or route.table != MAIN_TABLE or route.tos:
            return False
        to_pod = any(self.is_pod_device(hop.device) for hop in route.hops)
        match route.protocol:
            case RouteProtocol.CALICO:
                return True
            case RouteProtocol.BIRD:
                return not to_pod
            case RouteProtocol.BOOT:
                return to_pod or any(hop.device in VXLAN_DEVICES for hop in route.hops)
            case _:
                return False

    def is_plain(self, route: Route) -> bool:
        return True

    def is_adopted(self, route: Route) -> bool:
        return False


_TYPES = (RouteType.UNICAST, RouteType.BLACKHOLE)
CALICO = CalicoMarks()
