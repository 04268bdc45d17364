"""Whose a kernel route is: ours, another program's, or the kernel's own.

Every route is judged before anything is done to it, from the route itself and two sets, so that a process with an empty
memory recognises what an earlier one wrote (invariant 3) and leaves alone what it did not (invariant 4):

- inside one of our networks (the pools; networks that were pools and still have routes):
    proto bird   through any device but a pod's, and blackholes
    proto boot   on a pod's device (cali*), whatever the metric: upstream's Felix gives them 1024; on a VXLAN device
    proto 80     unicast and blackholes, on any device: upstream's Felix. Recognised, never written
- anywhere else the same, but only for the exact keys that the journal names: an administrator's own BIRD writes there
  too.

The journal is written before the route is, so a crash in between leaves an entry without a route and never a route
without an entry. Networks enter it as well: a pool that was deleted while nobody looked still tells whose its routes
are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from felix.fib.model import MAIN_TABLE, PROTOCOL_NAMES, Address, Network, Protocol, Route, RouteKey, RouteType
from felix.fib.tunnel import VXLAN_DEVICES
from felix.prefixes import PrefixTable


class Owner(Enum):
    OURS = "ours"
    FOREIGN = "foreign"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Ownership:
    """What we may call ours.

    ``networks``: everything inside them. ``keys``: outside of them, exactly these. ``pod_prefix``: how the
    names of pods' devices begin.
    """

    networks: frozenset[Network] = frozenset()
    keys: frozenset[RouteKey] = frozenset()
    pod_prefix: str = "cali"
    _inside: PrefixTable[Network] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inside", PrefixTable((network, network) for network in self.networks))

    def claims(self, key: RouteKey) -> bool:
        """Whether a route of our form with that key is ours. What it does not claim is journaled before it is
        written.
        """
        return self._inside.best(key.dst) is not None or key in self.keys

    def is_pooled(self, address: Address) -> bool:
        """Whether it lies inside one of the networks."""
        return self._inside.best_at(address) is not None

    def is_pod_device(self, name: str) -> bool:
        return name.startswith(self.pod_prefix)


def is_ours(route: Route, ownership: Ownership) -> bool:
    return _has_our_form(route, ownership) and ownership.claims(route.key)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is a few words for status and ``why``."""

    owner: Owner
    reason: str

    def __str__(self) -> str:
        return f"{self.owner.value}: {self.reason}"


_OF_THE_KERNEL = {1: "an ICMP redirect", Protocol.KERNEL: "made by the kernel", 9: "a router advertisement"}
_OUR_TYPES = (RouteType.UNICAST, RouteType.BLACKHOLE)


def judge(route: Route, ownership: Ownership) -> Verdict:
    """Whose ``route`` is, and by which rule: :func:`is_ours` in words."""
    if route.protocol in _OF_THE_KERNEL:
        return Verdict(Owner.KERNEL, _OF_THE_KERNEL[route.protocol])
    if not _has_our_form(route, ownership):
        return Verdict(Owner.FOREIGN, f"{_mark(route)} is not how we write")
    if not ownership.claims(route.key):
        return Verdict(Owner.FOREIGN, "in no pool, and the journal does not name it")
    if route.protocol == Protocol.CALICO:
        return Verdict(Owner.OURS, "left by upstream's felix")
    return Verdict(Owner.OURS, _mark(route))


def _has_our_form(route: Route, ownership: Ownership) -> bool:
    if route.type not in _OUR_TYPES or route.table != MAIN_TABLE or route.tos:
        return False
    to_pod = any(ownership.is_pod_device(hop.device) for hop in route.hops)
    match route.protocol:
        case Protocol.CALICO:
            return True
        case Protocol.BIRD:
            return not to_pod
        case Protocol.BOOT:
            return to_pod or any(hop.device in VXLAN_DEVICES for hop in route.hops)
        case _:
            return False


def _mark(route: Route) -> str:
    protocol = PROTOCOL_NAMES.get(route.protocol, str(route.protocol))
    where = " and ".join(hop.device for hop in route.hops)
    return f"proto {protocol} on {where}" if where else f"proto {protocol} {route.type.name.lower()}"


def left_by_bird(routes: Iterable[Route], ownership: Ownership) -> frozenset[RouteKey]:
    """Destinations outside our networks that carry BIRD's mark: at an explicit takeover of a node they go into the
    journal.

    Without that they stay foreign, because an administrator's own BIRD looks the same.
    """
    return frozenset(
        route.key
        for route in routes
        if route.protocol == Protocol.BIRD and _has_our_form(route, ownership) and not ownership.claims(route.key)
    )
