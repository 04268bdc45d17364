"""felix as a process: builds the parts, joins them, and runs them under one TaskGroup. Decides nothing.

    datastore ─feed─▶ view ─▶ desired ─▶ reconciler ─▶ kernel          bgp.sock ─▶ view
    cni.sock ─▶ commands ─▶ pods ─▶ ipam, veths, datastore, view       reconciler ─▶ confirmed ─▶ bgp.sock

A part that fails ends the process; the supervisor starts it again, and the first pass finds everything by reading.
SIGTERM ends it too and leaves the dataplane as it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from datastore.store import Store, StoreError
from felix import changes_log, health_server, mtu
from felix.bgp_client import BgpClient
from felix.cni import result
from felix.cni.commands import Commands
from felix.cni.server import CniServer
from felix.cni.spool import Spool
from felix.config import FelixConfig
from felix.confirm import confirmed
from felix.dataplane import Dataplane
from felix.feed import Feed
from felix.fib.journal import FileJournal
from felix.fib.kernel import Kernel
from felix.fib.netlink import NetlinkKernel
from felix.fib.status import Applied
from felix.fib.veth import Veths
from felix.health import Health, Part
from felix.local_endpoints import LocalEndpoints
from felix.pods import Pods, Surroundings
from felix.why import why_address
from ipam.allocator import Allocator, Assigned
from ipam.block import Holder
from ipam.choose import NoPool
from ipam.group_commit import GroupCommit
from ipam.records import Contention, Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

log = logging.getLogger("felix")

Connect = Callable[[ThreadPoolExecutor], Store]


async def run(config: FelixConfig, connect: Connect, *, on_ready: Callable[[], None]) -> None:
    """Until SIGTERM. ``on_ready`` is called once, when the node can take pods and its own routes are in the kernel."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore")
    kernel = await NetlinkKernel.open()
    store, veths = connect(executor), Veths()
    agent = Agent(config, store, kernel, veths, on_ready=on_ready)
    running = asyncio.create_task(agent.run(), name="agent")
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    log.info("felix.stopped routes are left as they are")


class Agent:
    def __init__(
        self, config: FelixConfig, store: Store, kernel: Kernel, veths: Veths, *, on_ready: Callable[[], None]
    ) -> None:
        self._config, self._on_ready, self._is_announced = config, on_ready, False
        self.health = Health(Part.DATASTORE, Part.DATAPLANE, Part.CNI)
        self._dataplane = Dataplane(
            config.node,
            kernel,
            FileJournal(config.state_folder / "felix-routes"),
            on_pass=self._after_pass,
            on_applied=_log_changes,
            refresh_s=config.refresh_s,
            rng=random.Random(),
        )
        self._feed = Feed(store, self._dataplane, random=random.random, on_touch=self._on_touch)
        self._bgp = BgpClient(self._hear, self._on_bgp)
        self._commit, self._allocator = self._addresses(store)
        local = LocalEndpoints(self._dataplane)
        addresses = _Addresses(self._commit, self._allocator)
        self._pods = Pods(self._surroundings(), store=store, addresses=addresses, veths=veths, local=local)
        self._commands = Commands(self._pods, Spool(), self.health.why_not)

    async def run(self) -> None:
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "feed": self._feed.run(),
            "reconciler": self._dataplane.reconciler.run(),
            "bgp": self._bgp.run(),
            "addresses": self._commit.run(),
            "cni": self._serve_cni(),
        }
        if self._config.health_port:
            host, port = self._config.health_host, self._config.health_port
            parts["health"] = health_server.serve(self.health, self._why, host, port)
        async with asyncio.TaskGroup() as tasks:
            for name, part in parts.items():
                tasks.create_task(part, name=name)

    # --- parts that are put together from others -----------------------------------------------------------------

    def _addresses(self, store: Store) -> tuple[GroupCommit, Allocator]:
        records = Records(store)
        writer = BlockWriter(records)
        allocator = Allocator(records, self._config.node, facts=self._feed.facts, wall_ns=time.time_ns, writer=writer)
        releaser = Releaser(store, writer, facts=self._feed.facts, wall_ns=time.time_ns)
        return GroupCommit(allocator, releaser), allocator

    def _surroundings(self) -> Surroundings:
        view = self._dataplane.view

        def pool_by_name(name: str) -> Network:
            for pool in view.pools.values():
                if pool.name == name and not pool.disabled:
                    return pool.cidr
            raise NoPool(f"error getting IPPool {name}: it does not exist, or is not enabled")

        return Surroundings(
            node=self._config.node,
            host_mtu_bytes=lambda: mtu.of_host(view.surroundings.links.values()),
            pool_by_name=pool_by_name,
            new_mac=_new_mac,
            timestamp=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f000 +0000 UTC"),
        )

    async def _serve_cni(self) -> None:
        """Pods are taken only once all kinds were listed: before that a pool looks missing and a block full."""
        await self._feed.listed()
        try:
            await self._commands.drain()
        except (StoreError, Contention) as error:
            log.warning("cni.spool.waiting why=%r", str(error))
        self._report(Part.CNI, is_ready=True)
        await CniServer(self._commands.handle, result.of_error).run()

    # --- what parts tell each other --------------------------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        self._dataplane.view.hear(message)
        self._dataplane.changed()

    def _after_pass(self) -> None:
        reconciler = self._dataplane.reconciler
        report = reconciler.report()
        is_complete = report.has_planned and not self._feed.missing
        if is_complete:  # before that an empty set would withdraw what an earlier felix had confirmed
            self._bgp.confirm(confirmed(reconciler.desired, reconciler.mirror.actual.routes))
        is_ready = is_complete and not report.trouble and not report.failed
        problems = [report.trouble] if report.trouble else []
        problems += [
            f"{count} routes {word}"
            for count, word in (
                (report.pending, "pending"),
                (report.failed, "refused by the kernel"),
                (report.conflicts, "have a foreign route in their way"),
            )
            if count
        ]
        self._report(Part.DATAPLANE, is_ready=is_ready, why="; ".join(problems))

    def _why(self, address: Address) -> str:
        return "".join(f"{line}\n" for line in why_address(address, self._dataplane.evidence()))

    def _on_touch(self, why: str) -> None:
        self._report(Part.DATASTORE, is_ready=not why, why=why)

    def _on_bgp(self, why: str) -> None:
        """A speaker that is away is told, but the node still works with what it learned."""
        self._report(Part.BGP, is_ready=True, why=why)

    def _report(self, part: Part, *, is_ready: bool, why: str = "") -> None:
        if self.health.report(part, is_ready=is_ready, why=why):
            log.info("health.%s ready=%s why=%r", part.name.lower(), is_ready, why)
        if self.health.is_ready and not self._is_announced:
            self._is_announced = True
            self._on_ready()


class _Addresses:
    """What pods.py asks of ipam: addresses in groups, and one by name."""

    def __init__(self, commit: GroupCommit, allocator: Allocator) -> None:
        self.assign, self.release = commit.assign, commit.release
        self._allocator = allocator

    async def assign_address(self, address: Address, holder: Holder) -> Assigned:
        return await self._allocator.assign_address(address, holder)


def _log_changes(applied: Sequence[Applied]) -> None:
    for line in changes_log.lines(applied):
        log.info(line)


def _new_mac() -> str:
    """A locally administered unicast address."""
    raw = bytearray(os.urandom(6))
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
