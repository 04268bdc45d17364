"""Why a destination is routed as it is: what is wanted and by which rule, what the kernel holds and whose that is.

Pure: the answer is made from what the reconciler has at hand, in lines for a person.

    10.244.104.7 goes by 10.244.104.0/26
    10.244.104.0/26
      wanted   10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird
      because  pool default-ipv4-ippool, node node2, bgp 192.168.50.11
      state    in kernel
      kernel   10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird (ours: proto bird on ens33)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from felix.fib.model import Actual, Address, Desired, Network, Route, RouteKey, RouteType
from felix.fib.owner import Ownership, is_ours, judge
from felix.fib.status import Status
from felix.prefixes import PrefixTable


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known at this moment. ``status`` answers for wanted routes, None for others."""

    desired: Desired
    actual: Actual
    ownership: Ownership
    status: Callable[[RouteKey], Status | None]


def why_address(address: Address, evidence: Evidence) -> list[str]:
    """Which route carries packets to ``address`` here, and every other that is wanted or held for it, nearest first."""
    known = PrefixTable((dst, None) for dst in _destinations(evidence))
    lines = [_fate(address, evidence.actual)]
    for dst, _ in known.containing(address):
        lines += why_network(dst, evidence)
    return lines


def why_network(dst: Network, evidence: Evidence) -> list[str]:
    """All that is known of exactly this destination."""
    lines = [*_wanted(dst, evidence), *_held(dst, evidence)]
    return [str(dst), *(lines or [_line("wanted", "by nobody")])]


def _fate(address: Address, actual: Actual) -> str:
    routes = sorted(actual.routes.values(), key=lambda route: -route.metric)  # of equals the table keeps the last
    carrier = PrefixTable((route.dst, route) for route in routes).best_at(address)
    if carrier is None:
        return f"{address} goes nowhere: the kernel has no route"
    verb = "goes" if carrier.type is RouteType.UNICAST else "is refused"
    return f"{address} {verb} by {carrier.dst}"


def _destinations(evidence: Evidence) -> Iterator[Network]:
    yield from (key.dst for key in evidence.desired.routes)
    yield from evidence.desired.pending
    yield from (key.dst for key in evidence.actual.routes)


def _wanted(dst: Network, evidence: Evidence) -> Iterator[str]:
    for key, (route, why) in evidence.desired.routes.items():
        if key.dst == dst:
            yield _line("wanted", str(route))
            yield _line("because", str(why))
            yield _line("state", str(evidence.status(key) or "not asked for yet"))
    if (waits := evidence.desired.pending.get(dst)) is not None:
        yield _line("waits", str(waits))


def _held(dst: Network, evidence: Evidence) -> Iterator[str]:
    for key, first in evidence.actual.routes.items():
        if key.dst == dst:
            for route in (first, *evidence.actual.shadowed.get(key, ())):
                yield _line("kernel", f"{route} ({judge(route, evidence.ownership)}{_unwanted(route, evidence)})")


def _unwanted(route: Route, evidence: Evidence) -> str:
    if route.key in evidence.desired.routes or not is_ours(route, evidence.ownership):
        return ""
    return ", wanted by nobody"


def _line(word: str, text: str) -> str:
    return f"  {word:<8} {text}"
