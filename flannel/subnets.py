"""Which subnet a node gets, where no Kubernetes says so: the range that a configuration leaves, and a free one of it.

The first subnet of a network is skipped, the last is used. Which of the free ones a node takes is left to chance, among
the first hundred, so that nodes that start together seldom meet; when they do, the datastore says who was first
(:mod:`flannel.etcd_manager`).

Pure: chance is handed in. Source: flannel pkg/subnet/config.go (CheckNetworkConfig), pkg/subnet/etcd/local_manager.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Generic, TypeVar

from flannel.go_json import BadDocument
from flannel.netconf import Cut, NetConf

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
N = TypeVar("N", IPv4Network, IPv6Network)

MOST_CANDIDATES = 100

Choose = Callable[[Sequence[N]], N]
"""Such as random.choice."""


@dataclass(frozen=True, slots=True)
class _Family:
    """``field`` is what the names in the document begin with."""

    kind: type[IPv4Network] | type[IPv6Network]
    field: str
    longest: int
    smallest_network: int
    usual: int


_FAMILIES = {4: _Family(IPv4Network, "", 30, 28, 24), 6: _Family(IPv6Network, "IPv6", 126, 124, 64)}


@dataclass(frozen=True, slots=True)
class Range(Generic[N]):
    """Subnets of ``length`` from the one at ``first`` to the one at ``last``, both included."""

    network: N
    length: int
    first: Address
    last: Address

    def has(self, subnet: N) -> bool:
        return subnet.prefixlen == self.length and int(self.first) <= int(subnet.network_address) <= int(self.last)

    def free(self, taken: Iterable[N], *, most: int = MOST_CANDIDATES) -> list[N]:
        """The first ``most`` subnets that overlap none of ``taken``."""
        found: list[N] = []
        size = 1 << (self.network.max_prefixlen - self.length)
        at, end = int(self.first), int(self.last)
        for start, stop in [*sorted((int(one[0]), int(one[-1])) for one in taken), (end + size, end + size)]:
            while at + size <= start and at <= end and len(found) < most:
                found.append(type(self.network)((at, self.length)))
                at += size
            at = max(at, (stop // size + 1) * size)
        return found

    def __str__(self) -> str:
        return f"{self.first} ... {self.last}"


@dataclass(frozen=True, slots=True)
class Ranges:
    """None for a family that is off."""

    v4: Range[IPv4Network] | None
    v6: Range[IPv6Network] | None


class OutOfSubnets(Exception):
    """Every subnet of the range is leased."""


def check(config: NetConf) -> Ranges:
    """Raises BadDocument, which names the field."""
    v4 = _range(config.network, config.cut, 4) if config.has_ipv4 else None
    v6 = _range(config.network_v6, config.cut_v6, 6) if config.has_ipv6 else None
    return Ranges(v4, v6)


def pick(range_: Range[N], taken: Iterable[N], choose: Choose[N]) -> N:
    """Raises OutOfSubnets."""
    candidates = range_.free(taken)
    if not candidates:
        raise OutOfSubnets(
            f"out of subnets: all of {range_} (/{range_.length}) are leased; "
            "nodes that are gone keep theirs for 24 hours, or until their keys are deleted"
        )
    return choose(candidates)


def _range(network: N | None, cut: Cut, version: int) -> Range[N]:
    family = _FAMILIES[version]
    if network is None:
        why = f"please define a correct {family.field}Network parameter in the flannel config"
        raise BadDocument(f"{family.field}Network", why)
    length = _length(network, cut, family)
    size = 1 << (network.max_prefixlen - length)
    first = cut.first or network.network_address + size
    last = cut.last or network.broadcast_address - (size - 1)
    for name, address in (("SubnetMin", first), ("SubnetMax", last)):
        _check_edge(f"{family.field}{name}", address, network, length, f"{family.field}Network")
    if int(first) > int(last):
        raise BadDocument(f"{family.field}SubnetMin", f"{first} is behind {family.field}SubnetMax, {last}")
    return Range(network, length, first, last)


def _length(network: Network, cut: Cut, family: _Family) -> int:
    name, prefix = f"{family.field}SubnetLen", network.prefixlen
    if cut.length is None:
        if prefix > family.smallest_network:
            why = f"network is too small. Minimum useful network prefix is /{family.smallest_network}"
            raise BadDocument(f"{family.field}Network", why)
        return family.usual if prefix <= family.usual - 2 else prefix + 2
    if cut.length > family.longest:
        raise BadDocument(name, f"SubnetLen must be less than /{family.longest + 1}")
    if cut.length < prefix + 2:
        why = f"/{cut.length} in {network}: network must be able to accommodate at least four subnets"
        raise BadDocument(name, why)
    return cut.length


def _check_edge(name: str, address: Address, network: Network, length: int, of: str) -> None:
    if address not in network:
        raise BadDocument(name, f"{address}: SubnetMin and SubnetMax must be in the range of the {of}, {network}")
    if int(address) % (1 << (network.max_prefixlen - length)):
        raise BadDocument(name, f"is not on a SubnetLen boundary: {address} with /{length}")
