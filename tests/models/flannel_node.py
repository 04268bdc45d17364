"""A node with flanneld: the real agent and leases, on a model of the kernel, of etcd and of the packet filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Interface, IPv4Network, ip_interface
from pathlib import Path
from random import Random
from typing import NamedTuple

from felix.fib.journal import MemoryJournal
from felix.fib.model import AddRoute, Hop, Route
from felix.fib.model_kernel import ModelKernel
from felix.firewall.choose import Backend as FilterBackend
from felix.firewall.choose import Modes
from felix.firewall.model import NOTHING, FirewallUnavailable, RuleSet
from flannel import netconf, subnet_file
from flannel.agent import Agent
from flannel.backends import catalogue
from flannel.backends.backend import Uplink
from flannel.etcd_leases import EtcdLeases
from flannel.flags import Flags
from flannel.lease import Subnets
from flannel.marks import FLANNEL
from flannel.masquerade import Masquerade
from flannel.world import Options, World
from tests.models.etcd_model import EtcdModel, ModelClient

PREFIX = "/coreos.com/network"
ADDRESS = IPv4Interface("192.168.99.1/24")


class ModelFilter:
    """:class:`felix.firewall.reconciler.Machine` with one writer. ``lack``: why it has none; ``refusal``: why it writes
    nothing.
    """

    def __init__(self) -> None:
        self.held: RuleSet = NOTHING
        self.lack, self.refusal = "", ""

    async def choose(self, modes: Modes) -> FilterBackend:
        if self.lack:
            raise FirewallUnavailable(self.lack)
        return FilterBackend.NFT

    def writer(self, backend: FilterBackend) -> ModelFilter:
        return self

    def others(self, backend: FilterBackend) -> tuple[ModelFilter, ...]:
        return ()

    def listen(self, wake: Callable[[], None]) -> None:
        pass

    async def write(self, wanted: RuleSet) -> int:
        if self.refusal:
            raise FirewallUnavailable(self.refusal)
        is_new, self.held = wanted != self.held, wanted
        return int(is_new)

    async def remove(self) -> int:
        return 0


class Running(NamedTuple):
    """A daemon, and what it ends with."""

    agent: Agent
    task: asyncio.Task[None]


class FlannelNode:
    """What outlives its daemons: kernel, journal, subnet.env."""

    def __init__(self, etcd: EtcdModel, folder: Path, *, kernel: ModelKernel | None = None) -> None:
        self.etcd, self.folder, self.kernel = etcd, folder, kernel or ModelKernel()
        self.filter = ModelFilter()
        self.journal = MemoryJournal()
        self.kernel.add_link("eth0")
        self.kernel.set_up("eth0")
        self.kernel.add_address("eth0", ADDRESS)
        gateway = ip_interface("192.168.99.254/24").ip
        assert self.kernel.do(AddRoute(Route(IPv4Network("0.0.0.0/0"), (Hop("eth0", gateway),)))) is None

    @asynccontextmanager
    async def daemon(self, *, margin_s: float = 3600.0) -> AsyncIterator[Running]:
        """From when it is ready to the end of the block. Raises what it ended with, if that came before."""
        source = EtcdLeases(
            ModelClient(self.etcd), PREFIX, previous=self._previous(), renew_margin_s=margin_s, random=Random(1)
        )
        config = await source.config()
        ready = asyncio.Event()
        agent = self._agent(config, source, ready.set)
        task = asyncio.create_task(agent.run())
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield Running(agent, task)
        finally:
            for each in (task, waiting):
                each.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _agent(self, config: netconf.NetConf, source: EtcdLeases, on_ready: Callable[[], None]) -> Agent:
        uplink = Uplink("eth0", 1500, ADDRESS.ip, None, ADDRESS.ip)
        world = World(
            source=source,
            kernel=self.kernel,
            journal=self.journal,
            filter=Masquerade(self.filter, Flags(ip_masq=True, iptables_resync=3600), uses_nftables=True),
            carrier=None,
            random=Random(2),
        )
        options = Options(self.folder / "subnet.env", masquerades=True, has_sysctls=False)
        backend = catalogue.configure(config, uplink)
        return Agent(world, config, uplink, backend, options=options, on_ready=on_ready)

    def _previous(self) -> Subnets:
        return subnet_file.previous(self.folder / "subnet.env").subnets

    async def state(self) -> str:
        """All that leases lead to, a line each."""
        held = await self.kernel.read()
        routes = [str(route) for route in held.routes.values() if FLANNEL.has_our_form(route) and route.dst.prefixlen]
        return "\n".join(sorted([*routes, *map(str, held.entries)]))
