"""RFC 4271's decision process: of the accepted paths to one destination, the best and those as good.

The steps are those of section 9.1.2, with RFC 4456's two for reflected routes. The metric to the next hop (step e) is
the kernel's business and counts as equal here. Paths that only differ in the last steps (router id, peer address) are
as good as the best, and their next hops are used together, as BIRD does with ``merge paths``.

MED is compared between paths of the same neighbouring AS only, by taking out every path that is beaten within its AS:
comparing in pairs would make the result depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bgp.message import Attributes

Address = IPv4Address | IPv6Address

MOST_NEXT_HOPS = 16
"""BIRD's limit of merged paths."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One path and what must be known of the neighbour that it came from. ``path_id``: of several from it."""

    peer: str
    attributes: Attributes
    is_internal: bool
    router_id: IPv4Address
    address: Address
    path_id: int = 0


def equally_good(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The best path first, then those that share its next-hop set. ``candidates`` has at least one."""
    if len(candidates) == 1:
        return list(candidates)
    left = _least(candidates, [-each.attributes.local_pref for each in candidates])
    left = _least(left, [len(each.attributes.as_path) for each in left])
    left = _least(left, [each.attributes.origin for each in left])
    left = _without_greater_med(left)
    left = _least(left, [each.is_internal for each in left])
    return sorted(left, key=_last_steps)


def next_hops(best: Sequence[Candidate], most: int = MOST_NEXT_HOPS) -> tuple[Address, ...]:
    """Each once, the lowest first; of no more than the first ``most`` paths."""
    if len(best) == 1 and best[0].attributes.next_hop is not None:
        return (best[0].attributes.next_hop,)
    hops = {each.attributes.next_hop for each in best[:most] if each.attributes.next_hop is not None}
    return tuple(sorted(hops, key=int))


def _least(candidates: Sequence[Candidate], measures: Sequence[int]) -> list[Candidate]:
    least = min(measures)
    return [each for each, measure in zip(candidates, measures, strict=True) if measure == least]


def _without_greater_med(candidates: list[Candidate]) -> list[Candidate]:
    least: dict[int, int] = {}
    for each in candidates:
        neighbour_as = each.attributes.neighbour_as
        least[neighbour_as] = min(each.attributes.med, least.get(neighbour_as, each.attributes.med))
    return [each for each in candidates if each.attributes.med == least[each.attributes.neighbour_as]]


def _last_steps(each: Candidate) -> tuple[int, int, int, str, int]:
    originator = each.attributes.originator or each.router_id
    return int(originator), len(each.attributes.clusters), int(each.address), each.peer, each.path_id


def why_best(best: Candidate, other: Candidate) -> str:
    """The step of the decision at which ``best`` beats ``other``, or that it beats it at none."""
    is_same_as = best.attributes.neighbour_as == other.attributes.neighbour_as
    for words, measure in _STEPS:
        if measure(best) != measure(other) and (is_same_as or measure is not _med):
            return words
    return "the lower address"


def _med(each: Candidate) -> int:
    return each.attributes.med


_STEPS: Sequence[tuple[str, Callable[[Candidate], int]]] = (
    ("the higher local preference", lambda each: -each.attributes.local_pref),
    ("the shorter AS path", lambda each: len(each.attributes.as_path)),
    ("the lower origin", lambda each: each.attributes.origin),
    ("the lower MED", _med),
    ("an external neighbour", lambda each: each.is_internal),
    ("the lower router id", lambda each: _last_steps(each)[0]),
    ("the shorter cluster list", lambda each: _last_steps(each)[1]),
)
