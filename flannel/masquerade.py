"""This node's packet filter, kept as the flags ask: rules ─▶ felix's firewall loop ─▶ iptables or nftables.

A filter that cannot be written is told and tried again; it keeps nobody from the network for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from felix.firewall.choose import Mode, Modes
from felix.firewall.reconciler import Counters, Firewall, Machine
from flannel.flags import Flags
from flannel.lease import Subnets
from flannel.rules import NO_SEGMENTS, Wanted, rules

PATIENCE_S = 5.0
TRIES = 2
"""A second apart; what comes after them comes too late for a start."""

log = logging.getLogger("flannel")


class Masquerade:
    """:class:`flannel.world.Filter`."""

    def __init__(self, machine: Machine, flags: Flags, *, uses_nftables: bool) -> None:
        self._wanted = Wanted(flags.ip_masq, not flags.ip_masq_fully_random_disable, flags.iptables_forward_rules)
        self._modes = Modes(nftables=Mode.ENABLED if uses_nftables else Mode.DISABLED)
        self._told = ""
        self._place: tuple[Subnets, Subnets] | None = None
        self._segments = NO_SEGMENTS
        self._has_passed = asyncio.Event()
        self._firewall = Firewall(machine, on_pass=self._passed, refresh_s=float(max(1, flags.iptables_resync)))

    @property
    def counters(self) -> Counters:
        return self._firewall.counters

    async def run(self) -> None:
        await self._firewall.run()

    async def protect(self, networks: Subnets, subnets: Subnets) -> None:
        if self._wanted.masquerades:
            log.info("Setting up masking rules")
        if self._wanted.forwards:
            log.info("Changing default FORWARD chain policy to ACCEPT")
        self._place = networks, subnets
        self._want()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._until_settled()
        if not self._firewall.is_settled():
            log.error("The packet filter's rules are not in force yet: %s", self._firewall.trouble or "still writing")

    def clamp(self, segments: Mapping[str, int]) -> None:
        self._segments = segments
        self._want()

    def _want(self) -> None:
        if self._place is not None:
            self._firewall.want(rules(*self._place, self._wanted, self._segments), self._modes)

    async def _until_settled(self) -> None:
        """Or until waiting is of no use: there is no filter to choose, or it has refused both tries."""
        before = self._firewall.counters.failures
        while not self._firewall.is_settled():
            failures = self._firewall.counters.failures - before
            if failures >= TRIES or (failures and self._firewall.backend is None):
                return
            self._has_passed.clear()
            await self._has_passed.wait()

    def _passed(self) -> None:
        self._has_passed.set()
        trouble = self._firewall.trouble
        if trouble and trouble != self._told:
            log.error("Failed to set up the packet filter: %s (trying again)", trouble)
        elif self._told and not trouble:
            log.info("The packet filter's rules are in force")
        self._told = trouble
