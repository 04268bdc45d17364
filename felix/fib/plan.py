"""What to do so that the kernel holds what we want: the difference, as ops in a safe order.

Owns the decision and nothing else: it reads no kernel and writes none. The rules:

- Nothing foreign is touched. A foreign route that has a wanted route's key is a conflict: reported, left alone.
- In place where the kernel's key is the same, else what is new is written before what is old goes, so that a
  destination that both the old and the new state want is never without a route (invariant 6). To keep that true for
  addresses and not only for prefixes, the more specific is written first and removed last: a pod's /32 before its
  block turns into a blackhole, the blackhole of a block that went elsewhere before its last /32.
- A route goes only when the source that would want it is in sync (invariants 4 and 8), and not while its destination is
  wanted but waits for something: the old way is better than none.
- A route through a device that is absent or down waits, with the reason. Devices of pods are raised, no other is.
- What IPv6 asks for on the way from one device to another is written first and goes last (:mod:`felix.fib.foothold`).
- Tunnels and links before sysctls before routes: what is referred to is there before what refers to it, and goes
  after it (:mod:`felix.fib.tunnel_plan`).

Whatever cannot be told from the state alone has no place here, with one exception: ``displaced`` are keys at which our
own route was replaced by hand while we looked on. ``ip route replace`` without more writes proto boot, the mark of a
person; such a route gives way again. Another program's does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from felix.fib import rp_filter, tunnel_plan
from felix.fib.foothold import footholds
from felix.fib.model import (
    Actual,
    AddRoute,
    DeleteRoute,
    Desired,
    Network,
    Op,
    Protocol,
    RaiseLink,
    ReplaceRoute,
    Route,
    RouteKey,
    RouteType,
    Why,
    WriteSysctl,
)
from felix.fib.owner import Ownership, is_ours, judge


@dataclass(frozen=True, slots=True)
class InSync:
    """Which sources have told everything they know since their last interruption. Only those can make a route go.

    ``pods``: local endpoints, for routes on pods' devices. ``blocks``: our own affinities, for blackholes. ``remote``:
    what other nodes have and how it is reached (BGP, blocks, pools), for everything else. ``tunnels``: which of them
    this node needs, for their devices, addresses and entries.
    """

    pods: bool = False
    blocks: bool = False
    remote: bool = False
    tunnels: bool = False

    def covers(self, route: Route, ownership: Ownership) -> bool:
        if route.type is RouteType.BLACKHOLE:
            return self.blocks
        if any(ownership.is_pod_device(hop.device) for hop in route.hops):
            return self.pods
        return self.remote


NOTHING_IN_SYNC = InSync()
ALL_IN_SYNC = InSync(pods=True, blocks=True, remote=True, tunnels=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """``makes`` first, all of them; then ``removals``, less those that a failed make calls off (:func:`removable`);
    then ``cleanups``, what nothing refers to any more.

    ``footholds``: those of ``makes`` that nobody wants for themselves. ``unclaimed``: keys of ``makes``, and of routes
    that were found as they are wanted, that the ownership does not claim; into the journal before anything is written.
    ``pending``: wanted, but something is missing. ``conflicts``: wanted, but a foreign route has the key.
    """

    makes: tuple[Op, ...] = ()
    removals: tuple[DeleteRoute, ...] = ()
    cleanups: tuple[Op, ...] = ()
    footholds: Mapping[RouteKey, Why] = field(default_factory=dict)
    unclaimed: frozenset[RouteKey] = frozenset()
    pending: Mapping[RouteKey, str] = field(default_factory=dict)
    conflicts: Mapping[RouteKey, str] = field(default_factory=dict)

    @property
    def ops(self) -> tuple[Op, ...]:
        return (*self.makes, *self.removals, *self.cleanups)

    def __str__(self) -> str:
        return "".join(f"{op}\n" for op in self.ops)


def plan(
    desired: Desired,
    actual: Actual,
    *,
    ownership: Ownership,
    in_sync: InSync,
    displaced: Set[RouteKey] = frozenset(),
) -> Plan:
    """The ops that turn ``actual`` into ``desired``."""
    raised = {device for device in desired.devices_up if _must_be_raised(device, actual, ownership)}
    usable = {name for name, link in actual.links.items() if link.is_up} | raised
    writes = _writes(desired, actual, ownership, usable, displaced)
    waiting = {key.dst for key in writes.pending} | desired.pending.keys()
    needed = footholds((op.route for op in writes.ops), actual)
    writes.ops += [AddRoute(route) for key, (route, _) in needed.items() if key not in actual.routes]
    unwanted = _removals(desired, actual, ownership, in_sync, waiting)
    removals = sorted((op for op in unwanted if op.route.key not in needed), key=_least_specific_first)
    return Plan(
        makes=(
            *tunnel_plan.makes(desired, actual),
            *(RaiseLink(device) for device in sorted(raised)),
            *_sysctl_writes(desired, actual),
            *rp_filter.writes(desired, actual),
            *sorted(writes.ops, key=_most_specific_first),
        ),
        removals=tuple(removals),
        cleanups=tuple(tunnel_plan.removals(desired, actual, ownership)) if in_sync.tunnels else (),
        footholds={key: why for key, (_, why) in needed.items()},
        unclaimed=frozenset(op.route.key for op in writes.ops if not ownership.claims(op.route)) | writes.adopted,
        pending=writes.pending,
        conflicts=writes.conflicts,
    )


def _must_be_raised(device: str, actual: Actual, ownership: Ownership) -> bool:
    link = actual.links.get(device)
    return link is not None and not link.is_up and ownership.is_pod_device(device)


def _sysctl_writes(desired: Desired, actual: Actual) -> Iterator[WriteSysctl]:
    """Those that are there with another value. One that is not there belongs to a device that is not there."""
    for path, (value, _) in sorted(desired.sysctls.items()):
        if actual.sysctls.get(path, value) != value:
            yield WriteSysctl(path, value)


@dataclass(slots=True)
class _Writes:
    ops: list[AddRoute | ReplaceRoute] = field(default_factory=list)
    pending: dict[RouteKey, str] = field(default_factory=dict)
    conflicts: dict[RouteKey, str] = field(default_factory=dict)
    adopted: set[RouteKey] = field(default_factory=set)


def _writes(
    desired: Desired, actual: Actual, ownership: Ownership, usable: Set[str], displaced: Set[RouteKey]
) -> _Writes:
    writes = _Writes()
    for key, (route, _) in desired.routes.items():
        found = actual.routes.get(key)
        if found is route or found == route:
            if ownership.adopts(route) and not ownership.claims(route):
                writes.adopted.add(key)
            continue
        if found is not None and not _gives_way(found, ownership, is_displaced=key in displaced):
            writes.conflicts[key] = f"in the way: {found} ({judge(found, ownership)})"
        elif route in actual.shadowed.get(key, ()):
            continue  # it counts as soon as what stands before it is removed
        elif missing := _missing_device(route, actual, usable):
            writes.pending[key] = missing
        else:
            writes.ops.append(AddRoute(route) if found is None else ReplaceRoute(route, found))
    return writes


def _gives_way(found: Route, ownership: Ownership, *, is_displaced: bool) -> bool:
    return is_ours(found, ownership) or (is_displaced and found.protocol == Protocol.BOOT)


def _missing_device(route: Route, actual: Actual, usable: Set[str]) -> str:
    for hop in route.hops:
        if hop.device not in usable:
            return f"device {hop.device} is {'down' if hop.device in actual.links else 'not there'}"
    return ""


def _removals(
    desired: Desired, actual: Actual, ownership: Ownership, in_sync: InSync, waiting: Set[Network]
) -> Iterator[DeleteRoute]:
    for route in _unwanted(desired, actual):
        if route.dst not in waiting and in_sync.covers(route, ownership) and is_ours(route, ownership):
            yield DeleteRoute(route)


def _unwanted(desired: Desired, actual: Actual) -> Iterator[Route]:
    """Routes whose key nobody wants, and strays beside a wanted one. Of one key the hindmost first, so that none of
    them comes to the front on its way out.
    """
    for key, behind in actual.shadowed.items():
        wanted = desired.routes[key][0] if key in desired.routes else None
        yield from (route for route in reversed(behind) if route != wanted)
        if wanted in behind:
            yield actual.routes[key]
    for key, found in actual.routes.items():
        if key not in desired.routes:
            yield found


def _most_specific_first(op: AddRoute | ReplaceRoute) -> tuple[int, int, int]:
    dst = op.route.dst
    return dst.version, -dst.prefixlen, op.route.metric


def _least_specific_first(op: DeleteRoute) -> tuple[int, int, int]:
    dst = op.route.dst
    return dst.version, dst.prefixlen, -op.route.metric


def removable(removals: Iterable[DeleteRoute], failed: Collection[Network]) -> Iterator[DeleteRoute]:
    """The removals that may go ahead although writes to the destinations ``failed`` were refused.

    What overlaps with a failed one stays: it may be all that carries its packets.
    """
    return (op for op in removals if not any(_overlaps(op.route.dst, dst) for dst in failed))


def _overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
