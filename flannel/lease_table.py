"""What is known of all leases, kept from what a datastore tells, piece by piece or whole.

What cannot be read costs nobody a route: a subnet whose lease was readable before keeps that, another one is known to
be somebody's and no more, and what is not even a subnet's is passed over. Each is told once.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from felix.fib.model import Network
from flannel.go_json import BadDocument
from flannel.lease import Lease, Subnets


@dataclass(frozen=True, slots=True)
class Known:
    """``leases`` of all nodes, in the order of their names; ``unreadable``: subnets that somebody has, and why no more
    is known.
    """

    leases: tuple[Lease, ...] = ()
    unreadable: Mapping[Network, str] = field(default_factory=dict)

    def but(self, is_own: Callable[[Lease], bool]) -> tuple[Lease, ...]:
        """The peers'."""
        return tuple(lease for lease in self.leases if not is_own(lease))


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of the datastore. ``read`` raises BadDocument; ``subnets`` is what can be told without it, or None."""

    name: str
    subnets: Subnets | None
    read: Callable[[], Lease]


class LeaseTable:
    """``bad`` counts what could not be read, since the start."""

    def __init__(self, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        self.bad = 0
        self._on_trouble = on_trouble
        self._leases: dict[str, Lease] = {}
        self._unreadable: dict[str, tuple[Subnets, str]] = {}
        self._troubles: dict[str, str] = {}

    def load(self, entries: Iterable[Entry]) -> None:
        """These are all there are."""
        found = list(entries)
        for name in (self._leases.keys() | self._unreadable.keys()) - {entry.name for entry in found}:
            self.drop(name)
        for entry in found:
            self.put(entry)

    def put(self, entry: Entry) -> None:
        try:
            self._leases[entry.name] = entry.read()
            self._unreadable.pop(entry.name, None)
            self._troubles.pop(entry.name, None)
        except BadDocument as error:
            self._note_trouble(entry, str(error))

    def drop(self, name: str) -> None:
        self._leases.pop(name, None)
        self._unreadable.pop(name, None)
        self._troubles.pop(name, None)

    def known(self) -> Known:
        unreadable = {
            network: why
            for subnets, why in self._unreadable.values()
            for network in (subnets.v4, subnets.v6)
            if network is not None
        }
        return Known(tuple(lease for _, lease in sorted(self._leases.items())), unreadable)

    def _note_trouble(self, entry: Entry, why: str) -> None:
        self.bad += 1
        if entry.name not in self._leases and entry.subnets is not None:
            self._unreadable[entry.name] = entry.subnets, why
        if self._troubles.get(entry.name) != why:
            self._troubles[entry.name] = why
            self._on_trouble(f"Ignoring bad subnet node: {entry.name!r}: {why}")
