"""What is outside of the agent, and what the flags say of it: the seams between :mod:`flannel.agent` and a machine.

On a real one :mod:`flannel.start` fills them in; in tests models do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from felix.fib.journal import Journal
from felix.fib.kernel import Kernel
from felix.fib.reconciler import REFRESH_S
from felix.firewall.reconciler import Counters as FilterCounters
from flannel import subnet_file
from flannel.backends.backend import Me
from flannel.lease import Lease, Subnets
from flannel.source import Source


class Filter(Protocol):
    """This node's packet filter."""

    async def protect(self, networks: Subnets, subnets: Subnets) -> None:
        """Returns when the rules are in force, or with a word in the log when that takes too long."""
        ...

    def clamp(self, segments: Mapping[str, int]) -> None:
        """From now on TCP through these devices opens with segments of at most so many bytes."""
        ...

    @property
    def counters(self) -> FilterCounters: ...

    async def run(self) -> None: ...


class Carrier(Protocol):
    """Who forwards packets in place of the kernel, where a backend needs that. ``counts``: packets dropped, by why."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    def carry(self, me: Me, peers: Sequence[Lease]) -> None: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class World:
    source: Source
    kernel: Kernel
    journal: Journal
    filter: Filter
    carrier: Carrier | None
    random: Random


@dataclass(frozen=True, slots=True)
class Options:
    subnet_file: Path = subnet_file.FILE
    masquerades: bool = False
    drops_strays: bool = False
    has_sysctls: bool = True
    refresh_s: float = REFRESH_S
