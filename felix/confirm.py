"""What the speaker may announce: destinations of this node that its FIB holds. Pure.

A block's blackhole is in the kernel before its announcement leaves (invariant 9), and so is a pod's /32. A pod inside a
block of this node is reached by the block, so only pods with borrowed addresses are named one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from felix.fib.model import Desired, Network, Route, RouteKey, RouteType
from felix.prefixes import PrefixTable


def confirmed(desired: Desired, held: Mapping[RouteKey, Route], *, pod_prefix: str = "cali") -> frozenset[Network]:
    """``held`` is what the kernel holds."""
    ours = [route for key, (route, _) in desired.routes.items() if held.get(key) == route]
    blocks = [route.dst for route in ours if route.type is RouteType.BLACKHOLE]
    inside = PrefixTable((dst, None) for dst in blocks)
    pods = (
        route.dst
        for route in ours
        if any(hop.device.startswith(pod_prefix) for hop in route.hops) and not any(inside.covering(route.dst))
    )
    return frozenset([*blocks, *pods])
