"""The kernel's ipsets, which iptables rules refer to: hash:net, named as upstream names them.

Ours are the sets whose names begin with ``cali40`` or ``cali60``. Members are added before rules that need them are
written, and taken after; a set goes only when no rule refers to it any more, which the kernel sees to.
Source: Calico felix/ipsets/ipset_defs.go; pyroute2's AsyncIPSet.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from felix.fib.pyroute import AsyncIPSet, NetlinkError
from felix.firewall.model import FamilyRules, FirewallUnavailable, Network

_KIND = "hash:net"
_MOST_MEMBERS = 1 << 20
_BUSY = 4100  # IPSET_ERR_BUSY
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
Sets = Mapping[str, frozenset[Network]]


@dataclass(frozen=True, slots=True)
class SetChange:
    """``is_new``: make the set first."""

    name: str
    is_new: bool = False
    add: frozenset[Network] = field(default_factory=frozenset)
    remove: frozenset[Network] = field(default_factory=frozenset)


def changes(family: FamilyRules, held: Sets) -> list[SetChange]:
    found = [
        SetChange(name, name not in held, members - held.get(name, frozenset()), held.get(name, frozenset()) - members)
        for name, members in family.sets.items()
    ]
    return [change for change in found if change.is_new or change.add or change.remove]


def unwanted(family: FamilyRules, held: Sets) -> list[str]:
    """Sets of ours that nothing needs; upstream's policies leave many."""
    return [name for name in held if name.startswith(f"cali{family.version}") and name not in family.sets]


class IpSets:
    """Each method raises FirewallUnavailable."""

    async def read(self) -> Sets:
        """Ours, of both IP versions. A set of another kind has no members here."""
        async with _opened() as ipset:
            return {name: members async for name, members in _each(ipset)}

    async def make(self, change: SetChange, version: int) -> None:
        async with _opened() as ipset:
            if change.is_new:
                await ipset.create(change.name, stype=_KIND, family=_FAMILIES[version], maxelem=_MOST_MEMBERS)
            for network in sorted(change.add):
                await ipset.add(change.name, str(network), family=_FAMILIES[version], etype="net", exclusive=False)

    async def take(self, change: SetChange, version: int) -> None:
        async with _opened() as ipset:
            for network in sorted(change.remove):
                await ipset.delete(change.name, str(network), family=_FAMILIES[version], etype="net", exclusive=False)

    async def destroy(self, name: str) -> bool:
        """Whether it is gone: a set that somebody's rule refers to stays."""
        async with _opened() as ipset:
            try:
                await ipset.destroy(name)
            except NetlinkError as error:
                if error.code != _BUSY:
                    raise
                return False
            return True


@asynccontextmanager
async def _opened() -> AsyncIterator[Any]:
    try:
        async with AsyncIPSet() as ipset:
            yield ipset
    except (NetlinkError, OSError) as error:
        raise FirewallUnavailable(f"ipset: {error}") from error


async def _each(ipset: Any) -> AsyncIterator[tuple[str, frozenset[Network]]]:
    """A long set comes in several messages."""
    found: dict[str, set[Network]] = {}
    async for message in await ipset.list():
        name = message.get_attr("IPSET_ATTR_SETNAME")
        if name.startswith(("cali4", "cali6")):
            found.setdefault(name, set()).update(_members(message))
    for name, members in found.items():
        yield name, frozenset(members)


def _members(message: Any) -> list[Network]:
    listed = message.get_attr("IPSET_ATTR_ADT")
    if message.get_attr("IPSET_ATTR_TYPENAME") != _KIND or listed is None:
        return []
    return [_network(data) for data in listed.get_attrs("IPSET_ATTR_DATA")]


def _network(data: Any) -> Network:
    address = data.get_attr("IPSET_ATTR_IP_FROM")
    text = address.get_attr("IPSET_ATTR_IPADDR_IPV4") or address.get_attr("IPSET_ATTR_IPADDR_IPV6")
    return ip_network((text, data.get_attr("IPSET_ATTR_CIDR")))
