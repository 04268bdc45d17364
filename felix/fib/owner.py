"""Whose a kernel route is: ours, another program's, or the kernel's own.

Every route is judged before anything is done to it, from the route itself and two sets, so that a process with an empty
memory recognises what an earlier one wrote (invariant 3) and leaves alone what it did not (invariant 4). What a route
of ours looks like is said by :mod:`felix.fib.marks`; for felix's own:

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

from felix.fib.marks import CALICO, Marks
from felix.fib.model import PROTOCOL_NAMES, Address, Network, Protocol, Route, RouteKey
from felix.prefixes import PrefixTable


class Owner(Enum):
    OURS = "ours"
    FOREIGN = "foreign"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Ownership:
    """What we may call ours.

    ``networks``: everything inside them that has the ``marks``. ``keys``: beside that, exactly these.
    """

    networks: frozenset[Network] = frozenset()
    keys: frozenset[RouteKey] = frozenset()
    marks: Marks = CALICO
    _inside: PrefixTable[Network] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_inside", PrefixTable((network, network) for network in self.networks))

    def claims(self, route: Route) -> bool:
        """Whether a route of our form is ours also to who only knows these. What it does not claim is journaled before
        it is written.
        """
        return (self._is_inside(route) and self.marks.is_plain(route)) or route.key in self.keys

    def adopts(self, route: Route) -> bool:
        return self.marks.is_adopted(route) and self._is_inside(route)

    def _is_inside(self, route: Route) -> bool:
        return self._inside.best(route.dst) is not None

    def is_pooled(self, address: Address) -> bool:
        """Whether it lies inside one of the networks."""
        return self._inside.best_at(address) is not None

    def has_tunnel(self, name: str, addresses: Iterable[Address]) -> bool:
        """Whether a tunnel of this name is ours, with these addresses on it."""
        return self.marks.is_tunnel(name) and (self.marks.is_alone or any(map(self.is_pooled, addresses)))

    def is_pod_device(self, name: str) -> bool:
        return self.marks.is_pod_device(name)


def is_ours(route: Route, ownership: Ownership) -> bool:
    return ownership.marks.has_our_form(route) and (ownership.claims(route) or ownership.adopts(route))


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is a few words for status and ``why``."""

    owner: Owner
    reason: str

    def __str__(self) -> str:
        return f"{self.owner.value}: {self.reason}"


_OF_THE_KERNEL = {1: "an ICMP redirect", Protocol.KERNEL: "made by the kernel", 9: "a router advertisement"}


def judge(route: Route, ownership: Ownership) -> Verdict:
    """Whose ``route`` is, and by which rule: :func:`is_ours` in words."""
    if route.protocol in _OF_THE_KERNEL:
        return Verdict(Owner.KERNEL, _OF_THE_KERNEL[route.protocol])
    if not ownership.marks.has_our_form(route):
        return Verdict(Owner.FOREIGN, f"{_mark(route)} is not how we write")
    if not is_ours(route, ownership):
        return Verdict(Owner.FOREIGN, "in no pool, and the journal does not name it")
    if route.protocol == Protocol.CALICO:
        return Verdict(Owner.OURS, "left by upstream's felix")
    return Verdict(Owner.OURS, _mark(route))


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
        if route.protocol == Protocol.BIRD and ownership.marks.has_our_form(route) and not ownership.claims(route)
    )
