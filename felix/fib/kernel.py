"""The seam to the kernel: read it, hear of its changes, change it.

Two implementations: :mod:`felix.fib.netlink` is the real one, :mod:`felix.fib.model_kernel` a model of Linux's rules
for tests and simulation. One contract suite runs over both (tests/contract/test_kernel.py). Its rules:

- ``take_changes`` hands out what happened, in the kernel's order and including our own writes, up to and including
  everything that was answered before the call. So a state that takes them after ``apply`` has seen its own ops.
- It may leave out what Linux leaves out: when a device goes down or its last IPv4 address is deleted, IPv4 routes
  vanish without a word. Whoever keeps a state reads again after LinkNow (down), LinkGone and AddressGone.
- ``Lost`` says that changes were dropped (ENOBUFS): read everything again.
- ``apply`` does the ops in order and goes on after a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from felix.fib.model import Actual, InterfaceAddress, Link, Op, Refusal, Route
from felix.fib.tunnel import Entry


@dataclass(frozen=True, slots=True)
class LinkNow:
    """New or changed; a device that was renamed comes with its old index."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkGone:
    name: str
    index: int


@dataclass(frozen=True, slots=True)
class AddressNow:
    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class AddressGone:
    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class RouteNow:
    """``in_place``: it took the place of the first route of its key, if there was one."""

    route: Route
    in_place: bool


@dataclass(frozen=True, slots=True)
class RouteGone:
    route: Route


@dataclass(frozen=True, slots=True)
class EntryNow:
    """A permanent entry of a VXLAN device of ours; a neighbour takes the place of what its address had."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class EntryGone:
    """Of a neighbour the MAC may be missing."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Some sysctl of ``device`` ("all", "default" or a device) was written. Linux tells that of some and not of
    others.
    """

    device: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Some changes were dropped."""


Change = (
    LinkNow | LinkGone | AddressNow | AddressGone | RouteNow | RouteGone | EntryNow | EntryGone | SettingsChanged | Lost
)


class KernelUnavailable(Exception):
    """The world: no netlink socket, no permission, out of memory. Retry with backoff, health degraded."""


class Kernel(Protocol):
    def listen(self, wake: Callable[[], None]) -> None:
        """From now on ``wake`` is called, soon and from the loop, when there are changes. Once, at the start."""
        ...

    def take_changes(self) -> Sequence[Change]:
        """What happened since the last call. Never blocks."""
        ...

    async def read(self) -> Actual:
        """Links, addresses, the main table and tunnels' entries, but no sysctls. Raises KernelUnavailable."""
        ...

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        """Those of ``paths`` (below /proc/sys) that exist, without the newline."""
        ...

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        """Each op's result in its place, None for done. Raises KernelUnavailable, when any of them may have been
        done.
        """
        ...

    async def close(self) -> None: ...
