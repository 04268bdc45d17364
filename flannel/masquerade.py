"""This node's packet filter, kept as the flags ask: rules ─▶ felix's firewall loop ─▶ iptables or nftables.

A filter that cannot be written is told and tried again; it keeps nobody from the network for long.
"""

from __future__ import annotations

import asyncio
import logging

from felix.firewall.choose import Mode, Modes
from felix.firewall.reconciler import Firewall, Machine
from flannel.flags import Flags
from flannel.lease import Subnets
from flannel.rules import Wanted, rules

PATIENCE_S = 5.0

log = logging.getLogger("flannel")


class Masquerade:
    """:class:`flannel.agent.Filter`."""

    def __init__(self, machine: Machine, flags: Flags, *, uses_nftables: bool) -> None:
        self._wanted = Wanted(flags.ip_masq, not flags.ip_masq_fully_random_disable, flags.iptables_forward_rules)
        self._modes = Modes(nftables=Mode.ENABLED if uses_nftables else Mode.DISABLED)
        self._told = ""
        self._firewall = Firewall(machine, on_pass=self._passed, refresh_s=float(max(1, flags.iptables_resync)))

    async def run(self) -> None:
        await self._firewall.run()

    async def protect(self, networks: Subnets, subnets: Subnets) -> None:
        if self._wanted.masquerades:
            log.info("Setting up masking rules")
        if self._wanted.forwards:
            log.info("Changing default FORWARD chain policy to ACCEPT")
        self._firewall.want(rules(networks, subnets, self._wanted), self._modes)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._firewall.settled()
        except TimeoutError:
            log.error("The packet filter's rules are not in force yet: %s", self._firewall.trouble or "still writing")

    def _passed(self) -> None:
        trouble = self._firewall.trouble
        if trouble and trouble != self._told:
            log.error("Failed to set up the packet filter: %s (trying again)", trouble)
        elif self._told and not trouble:
            log.info("The packet filter's rules are in force")
        self._told = trouble
