"""flanneld, put together: builds the parts and joins them.

    source ─leases─▶ wish ─▶ reconciler ─▶ kernel
    lease, configuration ─▶ subnet.env, firewall

Whatever is outside of it is handed in as a :class:`flannel.world.World`. A part that fails ends the whole; the
supervisor starts it again, and the first pass finds everything by reading. At the end all is left as it is: routes,
devices, lease, files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from datastore.store import Unavailable
from felix.fib import metrics as fib
from felix.fib.mirror import Surroundings
from felix.fib.model import Network
from felix.fib.reconciler import Reconciler, Wish
from felix.fib.status import Applied, NotSettled, State
from flannel import subnet_file
from flannel.backends import vxlan
from flannel.backends.backend import Backend, Me, Refused, Uplink
from flannel.large_pods import LargePod, large_pods, segments
from flannel.lease import NO_SUBNETS, Attributes, Subnets
from flannel.lease_table import Known
from flannel.marks import FLANNEL
from flannel.metrics import Figures
from flannel.netconf import NetConf
from flannel.news import News
from flannel.repairs import Repairs
from flannel.subnet_env import SubnetEnv
from flannel.wish import Peers, wish
from flannel.world import Options, World

T = TypeVar("T")

GRACE_S = 10.0
"""For which the tunnel of an earlier backend goes on receiving after the last news."""

DOUBT_S = 300.0
"""For which nothing is taken away where the datastore has forgotten this node: others may come back to it as late as a
kubelet restarts what has failed often.
"""

SWITCH_PATIENCE_S = 2.0
"""A peer that cannot be reached for longer does not keep this node from joining."""

_RETRY_S = 1.0
_HOPELESS = ("ENOTSUP", "EEXIST")
"""What the kernel will say tomorrow as well. The first is Python's word for EOPNOTSUPP: they are one number."""

log = logging.getLogger("flannel")


class Agent:
    """``on_ready`` is called once: subnet.env is written."""

    def __init__(
        self,
        world: World,
        config: NetConf,
        uplink: Uplink,
        backend: Backend,
        *,
        options: Options,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_ready = False
        self._world, self._config, self._uplink, self._backend = world, config, uplink, backend
        self._options, self._on_ready = options, on_ready
        self._me = Me(Subnets(config.network, config.network_v6))
        self._peers: Peers | None = None
        self._around = Surroundings()
        self._told: dict[Network, str] = {}
        self._large: tuple[LargePod, ...] = ()
        self._repairs = Repairs()
        self._keeps_tunnels_until = 0.0
        self._end_of_grace: asyncio.TimerHandle | None = None
        self._doubts_until = 0.0
        self._passed, self._learned = asyncio.Event(), asyncio.Event()
        self._news = News(config.backend, self._index_of)
        self.reconciler = Reconciler(
            world.kernel,
            world.journal,
            on_surroundings=self._see,
            on_pass=self._after_pass,
            on_applied=self._note_applied,
            marks=FLANNEL,
            refresh_s=options.refresh_s,
            rng=world.random,
        )

    async def run(self) -> None:
        """Until cancelled. Raises Refused, NoLease, BadDocument, StoreErrors: it cannot start. Raises Revoked."""
        self._me = replace(self._me, macs=await self._macs())
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "reconciler": self.reconciler.run(),
            "filter": self._world.filter.run(),
            "node": self._join(),
        }
        if self._world.carrier is not None:
            parts["carrier"] = self._world.carrier.run()
        async with asyncio.TaskGroup() as tasks:
            for name, part in parts.items():
                tasks.create_task(part, name=name)

    # --- what it says of itself ------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        world, reconciler = self._world, self.reconciler
        peers = Peers() if self._peers is None else self._peers
        report = reconciler.report()
        return Figures(
            backend=self._config.backend,
            is_ready=self.is_ready,
            peers=len(peers.leases),
            unreadable=len(peers.unreadable),
            kernel=fib.Figures(reconciler.desired, reconciler.mirror, reconciler.ownership, report),
            repairs=self._repairs.count,
            large_pods=self._large,
            source=world.source.counters,
            filter=world.filter.counters,
            drops={} if world.carrier is None else world.carrier.counts,
        )

    def notes(self) -> list[str]:
        """What a person should know of the network, although the daemon works."""
        return [*(f"Subnet {dst}: {why}" for dst, why in self._troubles().items()), *map(str, self._large)]

    # --- joining the network ----------------------------------------------------------------------------------------

    async def _macs(self) -> dict[str, str]:
        """Of the tunnel devices: what they have, or had, or else a new one."""
        links = (await self._world.kernel.read()).links
        found = {name: links[name].mac for name in self._backend.devices if name in links}
        missing = [name for name in self._backend.devices if name not in found]
        held = await self._held() if missing else None
        for name in missing:
            data = "" if held is None else held.data_v6 if "-v6" in name else held.data
            found[name] = vxlan.vtep_mac(data) or _new_mac(self._world.random)
        return found

    async def _held(self) -> Attributes | None:
        return await self._persistently(lambda: self._world.source.held(self._attributes()))

    def _attributes(self) -> Attributes:
        data, data_v6 = self._backend.data(self._me.macs)
        public_v6 = self._uplink.public_v6 if self._config.has_ipv6 else None
        return Attributes(self._uplink.public, public_v6, self._backend.lease_type, data, data_v6)

    async def _join(self) -> None:
        self._changed()
        await self._until_devices_are_up()
        await self._look_whether_we_are_known()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._world.source.follow(self._learn), name="leases")
            await self._until_peers_are_reached()
            await self._take_lease()
            tasks.create_task(self._world.source.keep(), name="renewal")

    async def _look_whether_we_are_known(self) -> None:
        """A datastore that has forgotten this node's lease may have forgotten those of others, who still need a way."""
        previous = subnet_file.previous(self._options.subnet_file).subnets
        if previous == NO_SUBNETS or await self._held() is not None:
            return
        log.warning("No lease of this node's %s is known any more: routes stay for %d s", previous, DOUBT_S)
        loop = asyncio.get_running_loop()
        self._doubts_until = loop.time() + DOUBT_S
        loop.call_at(self._doubts_until + 0.01, self._changed)

    async def _take_lease(self) -> None:
        lease = await self._persistently(lambda: self._world.source.acquire(self._attributes()))
        self._me = replace(self._me, subnets=lease.subnets)
        self._look_at_pods()
        self._carry()
        self._keep_tunnels()
        self._changed()
        await self._world.source.running()
        await self._world.filter.protect(self._me.networks, self._me.subnets)
        self._write_subnet_file()
        self.is_ready = True
        self._on_ready()
        log.info("Running backend.")
        log.info("Waiting for all goroutines to exit")
        log.info("Watching for new subnet leases")
        self._tell_news()

    async def _until_peers_are_reached(self) -> None:
        """The lease tells others that they may take their old ways down: so ours leads the new way by then."""
        with suppress(TimeoutError, NotSettled):
            async with asyncio.timeout(SWITCH_PATIENCE_S):
                await self._learned.wait()
                await self.reconciler.settled(self._wish().desired.routes)

    async def _until_devices_are_up(self) -> None:
        """Raises Refused where the kernel cannot make one. Their MACs go into the lease."""
        while missing := [one for one, _ in self._wish().desired.tunnels.values() if not self._is_up(one.name)]:
            await self._passed.wait()
            self._passed.clear()
            for tunnel in missing:
                for op, why in self.reconciler.failures.items():
                    if why.startswith(_HOPELESS) and tunnel.name in op:
                        raise Refused(f"Error registering network: {op}: {why}; {_advice(why, tunnel.kind)}")

    def _is_up(self, device: str) -> bool:
        link = self.reconciler.mirror.actual.links.get(device)
        return link is not None and link.is_up and link.mac == (self._me.macs.get(device) or link.mac)

    async def _persistently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """A datastore that is away comes back."""
        while True:
            try:
                return await ask()
            except Unavailable as error:
                log.error("%s (trying again)", error)
                await asyncio.sleep(_RETRY_S)

    def _write_subnet_file(self) -> None:
        path = self._options.subnet_file
        env = SubnetEnv(self._me.networks, self._me.subnets, self._backend.mtu_bytes, self._options.masquerades)
        try:
            subnet_file.write(path, env)
        except OSError as error:
            log.warning("Failed to write subnet file: %s: %s", path, error.strerror)
            return
        log.info("Wrote subnet file to %s", path)

    # --- what parts tell each other --------------------------------------------------------------------------------

    def _learn(self, known: Known) -> None:
        own = self._attributes()
        peers = known.but(lambda lease: lease.subnets == self._me.subnets or self._world.source.is_own(lease, own))
        self._peers = Peers(peers, known.unreadable)
        self._keep_tunnels()
        self._learned.set()
        self._news.learn(peers)
        self._carry()
        self._changed()

    def _carry(self) -> None:
        if self._world.carrier is not None:
            self._world.carrier.carry(self._me, () if self._peers is None else self._peers.leases)

    def _see(self, around: Surroundings) -> None:
        self._around = around
        self._look_at_pods()
        self._changed()

    def _changed(self) -> None:
        self.reconciler.ask(self._wish)

    def _wish(self) -> Wish:
        now = asyncio.get_running_loop().time()
        return wish(
            self._backend,
            self._me,
            self._peers,
            self._around,
            keeps_tunnels=now < self._keeps_tunnels_until,
            is_whole=now >= self._doubts_until,
            drops_strays=self._options.drops_strays,
            has_sysctls=self._options.has_sysctls,
        )

    def _keep_tunnels(self) -> None:
        """Those of another backend, until everybody has heard of the last change."""
        loop = asyncio.get_running_loop()
        self._keeps_tunnels_until = loop.time() + GRACE_S
        if self._end_of_grace is not None:
            self._end_of_grace.cancel()
        self._end_of_grace = loop.call_at(self._keeps_tunnels_until + 0.01, self._changed)

    def _look_at_pods(self) -> None:
        large = large_pods(self._around, self._me.subnets, self._backend.mtu_bytes)
        for pod in large:
            if pod not in self._large:
                log.warning("%s", pod)
        if large != self._large:
            self._large = large
            self._world.filter.clamp(segments(self._backend, large))

    def _note_applied(self, applied: Sequence[Applied]) -> None:
        self._repairs.note(self.reconciler.desired, applied)
        self._news.applied(applied)

    def _after_pass(self) -> None:
        self._repairs.passed(self.reconciler.desired, is_settled=self._is_settled())
        self._passed.set()
        if self.is_ready:
            self._tell_news()

    def _tell_news(self) -> None:
        for line in self._news.tell():
            log.log(line.level, line.text)
        troubles = self._troubles()
        for dst, why in troubles.items():
            if self._told.get(dst) != why:
                log.warning("Subnet %s: %s", dst, why)
        self._told = troubles

    def _troubles(self) -> dict[Network, str]:
        """The subnets that somebody has and that have no route as they should, and why."""
        desired = self.reconciler.desired
        found = {dst: str(why) for dst, why in desired.pending.items()}
        if self.reconciler.report().conflicts:
            statuses = ((key.dst, self.reconciler.status(key)) for key in desired.routes)
            found |= {dst: str(status) for dst, status in statuses if status and status.state is State.CONFLICT}
        return found

    def _is_settled(self) -> bool:
        report = self.reconciler.report()
        return report.has_planned and not report.trouble and not self.reconciler.failures

    def _index_of(self, device: str) -> int:
        link = self.reconciler.mirror.actual.links.get(device)
        return 0 if link is None else link.index


def _new_mac(random: Random) -> str:
    """A locally administered unicast address."""
    raw = bytearray(random.randbytes(6))
    raw[0] = raw[0] & 0xFE | 0x02
    return raw.hex(":")


def _advice(why: str, kind: str) -> str:
    if why.startswith("EEXIST") and kind == "vxlan":
        return "another VXLAN device has this VNI and port: delete it (ip -d link), or set Backend.VNI or Backend.Port"
    if why.startswith("EEXIST"):
        return f"another device of kind {kind} has this address: delete it (ip -d link)"
    return f"this kernel has no {kind}: load its module (modprobe {kind}), or set Backend.Type to another one"
