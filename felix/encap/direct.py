"""Plain IP: ``10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird``, without metric and without onlink."""

from __future__ import annotations

from collections.abc import Sequence

from felix.encap.way import NoWay, Way
from felix.fib.model import Address
from felix.ground import Ground


def way_to(next_hops: Sequence[Address], ground: Ground) -> Way | NoWay:
    """Through those of ``next_hops`` that can be found; NoWay if none can."""
    found = [ground.find(next_hop) for next_hop in next_hops]
    ways = [answer for answer in found if not isinstance(answer, NoWay)]
    if len(ways) == 1:
        return Way(ways[0])
    if ways:
        return Way(tuple(dict.fromkeys(hop for hops in ways for hop in hops)))
    return next((answer for answer in found if isinstance(answer, NoWay)), NoWay("no next hop"))
