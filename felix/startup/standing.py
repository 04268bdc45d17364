"""Keeps this node's object as start-up wrote it, for as long as the agent runs.

Kubernetes may delete a Node object and make it again under a running agent (a kubelet that registers anew): the new one
has no address, so nobody sends to it. An object that is there without an address is completed at once; one that is not
there is not made, because whoever deleted it meant that. Where IP or IP6 say ``autodetect`` the machine is also looked
at every AUTODETECT_POLL_INTERVAL, and a node that has moved is written; an address that is still there is kept.

Source: Calico node/pkg/lifecycle/startup (MonitorIPAddressSubnets) for the interval; upstream completes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from datastore.codec import encode
from datastore.resources import Node
from datastore.store import Store, StoreError
from felix.fib.kernel import KernelUnavailable
from felix.startup import environment
from felix.startup.environment import Backend, BadEnvironment, Environ
from felix.startup.node import decide
from felix.startup.registration import register
from felix.startup.run import ReadMachine, destinations

log = logging.getLogger("felix.node")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0


class Standing:
    """``me``: this node's object as last seen; ``poll_s``: how often the machine is looked at, None for not unless the
    object lacks its address. ``on_trouble`` hears what keeps it from being completed, and "" when nothing does;
    ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        environ: Environ,
        *,
        me: Callable[[], Node | None],
        read_machine: ReadMachine,
        poll_s: float | None,
        random: Callable[[], float],
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._node, self._store, self._environ = node, store, environ
        self._me, self._read_machine, self._poll_s = me, read_machine, poll_s
        self._random, self._on_trouble = random, on_trouble
        self._incomplete = asyncio.Event()
        self._failures = 0

    def changed(self) -> None:
        """This node's object may be another."""
        if self._lacks_address():
            self._incomplete.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._until_due()
            self._incomplete.clear()
            await self._look()

    async def _until_due(self) -> None:
        if self._failures:
            await asyncio.sleep(self._pause_s())
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s):
                await self._incomplete.wait()

    async def _look(self) -> None:
        me = self._me()
        if me is None:
            return
        try:
            machine = await self._read_machine(destinations(self._environ))
            if encode(decide(me, self._node, self._environ, machine).node) != encode(me):
                for line in await register(self._store, self._node, self._environ, machine, may_create=False):
                    log.info(line)
        except (BadEnvironment, StoreError, KernelUnavailable) as error:
            self._failures += 1
            self._on_trouble(str(error))
            return
        if self._failures:
            self._failures = 0
            self._on_trouble("")

    def _lacks_address(self) -> bool:
        me = self._me()
        is_bare = me is not None and me.ipv4 is None and me.ipv6 is None
        return is_bare and environment.backend(self._environ) is not Backend.NONE

    def _pause_s(self) -> float:
        longest = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 30), LONGEST_PAUSE_S)
        return longest * (1 + self._random()) / 2
