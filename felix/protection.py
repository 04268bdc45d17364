"""The packet filter, kept as the view asks for: view ─admission─▶ facts ─rules─▶ rule set ─▶ Firewall.

Pods, blocks and routes are no matter of the packet filter's: it is asked anew only when the map changes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from felix.admission import facts
from felix.firewall.choose import Backend
from felix.firewall.model import NOTHING
from felix.firewall.reconciler import Counters, Firewall, Machine
from felix.firewall.rules import Facts, rules
from felix.firewall_options import modes, options
from felix.view import View


class Protection:
    """Run :meth:`run`. ``has_large_pods``: whether a pod of this node sends larger packets than the network takes;
    ``on_pass`` is called after each pass of the filter.
    """

    def __init__(
        self,
        view: View,
        machine: Machine,
        *,
        has_large_pods: Callable[[], bool],
        on_pass: Callable[[], None],
        rng: Random,
    ) -> None:
        self._view, self._has_large_pods, self._on_pass = view, has_large_pods, on_pass
        self._firewall = Firewall(machine, on_pass=self._passed, rng=rng)
        self._asked: tuple[int, Backend | None] | None = None
        self._clamps = False
        self._facts, self._rules = Facts(), NOTHING

    async def run(self) -> None:
        """Until cancelled; then the rules stay."""
        await self._firewall.run()

    def update(self) -> None:
        """The view may be another. Before everything is known that admits a packet, nothing is asked for."""
        if not self._view.can_place_remote:
            return
        question, clamps = (self._view.map_version, self._firewall.backend), self._has_large_pods()
        if (question, clamps) != (self._asked, self._clamps):
            self._asked, self._clamps = question, clamps
            settings = self._view.settings
            found = facts(self._view, options(settings, self._firewall.backend or Backend.NFT), clamps=clamps)
            if found != self._facts:  # of most changes to nodes it does not matter
                self._facts, self._rules = found, rules(found)
            self._firewall.want(self._rules, modes(settings))

    def is_current(self, version: int) -> bool:
        """The kernel holds, for this version of IP, what follows from the view as it is now."""
        is_asked = self._asked == (self._view.map_version, self._firewall.backend)
        return is_asked and self._firewall.is_settled(version)

    @property
    def counters(self) -> Counters:
        return self._firewall.counters

    @property
    def trouble(self) -> str:
        return self._firewall.trouble

    def _passed(self) -> None:
        self.update()  # which backend it is may be news
        self._on_pass()
