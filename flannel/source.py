"""The seam to where leases are: etcd (:mod:`flannel.etcd_leases`), Kubernetes (:mod:`flannel.kube_leases`), or a lab's
own (:mod:`flannel.file_leases`).

What all of them keep to: an outage takes nothing away. ``follow`` tells what is known, whole, each time that it is
another, and says nothing while the datastore is away; ``keep`` renews for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from flannel.lease import Attributes, Lease
from flannel.lease_table import Known
from flannel.netconf import NetConf


class NoLease(Exception):
    """The user's mistake: this node can have no lease. Says what to do."""


class Revoked(Exception):
    """Somebody deleted this node's lease."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the start. ``lists``: of all leases, read whole; ``bad``: leases that came and could not be read."""

    lists: int = 0
    watch_failures: int = 0
    renewals: int = 0
    renewal_failures: int = 0
    bad: int = 0


class Source(Protocol):
    """Methods raise StoreErrors where a datastore does not answer, but for ``follow`` and ``keep``."""

    async def config(self) -> NetConf:
        """Waits for one that can be used, where it may still come. Raises BadDocument where it may not."""
        ...

    async def asked_addresses(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        """Which public addresses an operator wants this node to have, where the datastore has a place to say so."""
        ...

    async def held(self, attributes: Attributes) -> Attributes | None:
        """What this node's lease of an earlier run says, if there is one. ``attributes``: by which it is known."""
        ...

    def is_own(self, lease: Lease, attributes: Attributes) -> bool:
        """Whether it is this node's, of this run or an earlier one. ``attributes`` as in :meth:`held`."""
        ...

    async def acquire(self, attributes: Attributes) -> Lease:
        """This node's lease, with these attributes. Raises NoLease, BadDocument."""
        ...

    async def follow(self, tell: Callable[[Known], None]) -> None:
        """Never returns. Raises Revoked, after :meth:`acquire`, where the datastore has no such lease any more."""
        ...

    async def keep(self) -> None:
        """Never returns."""
        ...

    async def running(self) -> None:
        """This node's network works: told to whoever waits for that."""
        ...

    @property
    def counters(self) -> Counters: ...

    async def close(self) -> None: ...
