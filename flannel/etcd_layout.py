"""Where flannel's things are in etcd, and what follows from the keys that are there. Pure.

    PREFIX/config                 net-conf.json
    PREFIX/subnets/10.5.52.0-24   a lease

Nothing else is ever written below the prefix: the original's daemons complain of each key that they cannot read.
Source: flannel pkg/subnet/etcd.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from datastore.etcd_wire import Range, Stored
from flannel import lease as lease_text
from flannel.go_json import BadDocument
from flannel.lease import Lease, Subnets
from flannel.lease_table import Entry
from flannel.subnets import Ranges


class Layout:
    def __init__(self, prefix: str) -> None:
        whole = "/" + "/".join(part for part in prefix.split("/") if part)
        self.config = f"{whole}/config".encode()
        self._subnets = f"{whole}/subnets/".encode()

    def key(self, subnets: Subnets) -> bytes:
        return self._subnets + lease_text.key(subnets).encode()

    def all(self) -> Range:
        """Of all leases."""
        return Range(self._subnets, self._subnets[:-1] + bytes((self._subnets[-1] + 1,)))


def name(stored: Stored) -> str:
    return stored.key.decode(errors="replace")


def entry(stored: Stored) -> Entry:
    text = name(stored)
    return Entry(text, lease_text.read_key(text), lambda: lease_text.read_lease(text, stored.value))


def of_node(public_ip: IPv4Address | None, stored: Iterable[Stored]) -> tuple[Stored, Lease] | None:
    """The first lease that names this address."""
    for one in stored:
        try:
            found = lease_text.read_lease(name(one), one.value)
        except BadDocument:
            continue
        if public_ip is not None and found.attributes.public_ip == public_ip:
            return one, found
    return None


def taken(stored: Iterable[Stored]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    """The subnets that somebody has, whatever the values say."""
    found = [subnets for one in stored if (subnets := lease_text.read_key(name(one))) is not None]
    return [one.v4 for one in found if one.v4 is not None], [one.v6 for one in found if one.v6 is not None]


def is_compatible(found: Subnets, ranges: Ranges) -> bool:
    fits_v4 = ranges.v4 is not None and found.v4 is not None and ranges.v4.has(found.v4)
    if ranges.v6 is None:
        return fits_v4 and found.v6 is None
    return fits_v4 and found.v6 is not None and ranges.v6.has(found.v6)


def is_free(wanted: Subnets, v4: Sequence[IPv4Network], v6: Sequence[IPv6Network]) -> bool:
    hits_v4 = wanted.v4 is not None and any(wanted.v4.overlaps(one) for one in v4)
    hits_v6 = wanted.v6 is not None and any(wanted.v6.overlaps(one) for one in v6)
    return not hits_v4 and not hits_v6
