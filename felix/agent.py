"""felix, put together: builds the parts and joins them. Decides nothing, and opens nothing.

    datastore ─feed─▶ view ─▶ desired ─▶ reconciler ─▶ kernel          speaker's line ─▶ view
    commands ─▶ pods ─▶ ipam, veths, datastore, view                   reconciler ─▶ confirmed ─▶ speaker's line
    view ─▶ admission ─▶ firewall ─▶ packet filter                     tunnels ─▶ ipam, view, the own Node

Whatever is outside of it is handed in as a :class:`World`: the machine's (:mod:`felix.process`), or a model of one.
A part that fails ends the whole; the supervisor starts it again, and the first pass finds everything by reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random
from typing import Any, Protocol

from datastore import names
from datastore.events import Event, Herald
from datastore.monitoring.usage import Usage
from datastore.resource import Key
from datastore.resources import IPAMBlock
from datastore.store import Store, StoreError
from datastore.unreadable import Reasons, in_one_line, in_words
from felix import changes_log, mtu, policies
from felix.atlas import tunnels_up
from felix.bgp_client import BgpClient, Line
from felix.cni.commands import Commands, Spool
from felix.confirm import confirmed
from felix.dataplane import Dataplane
from felix.feed import Feed
from felix.fib.journal import Journal
from felix.fib.kernel import Kernel
from felix.fib.reconciler import REFRESH_S
from felix.fib.status import Applied
from felix.firewall.reconciler import Machine
from felix.health import Health, Part
from felix.lacking import Lack, lacks
from felix.local_endpoints import LocalEndpoints
from felix.metrics import Commanded, Datastore, Figures, FlowCounters
from felix.node_ipam import NodeIpam
from felix.notes import Notes, asked_of, overruled
from felix.pods import Flows, Pods, Surroundings, Veths
from felix.protection import Protection
from felix.reach import local
from felix.receivers import Receivers
from felix.settings import Settings
from felix.startup.run import ReadMachine
from felix.startup.standing import Standing
from felix.tunnel_addresses import TunnelAddresses
from felix.why import why_address
from ipam.choose import NoPool
from ipam.records import Contention

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

log = logging.getLogger("felix")


class CountedFlows(Flows, Protocol):
    @property
    def counters(self) -> FlowCounters: ...

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What is outside of felix. ``offer_mtu`` tells CNI plugins of an MTU in bytes; it returns why it could not, or "".
    ``read_machine`` looks at devices and addresses, as start-up does; ``herald`` tells people. ``wall_ns`` is the time
    of day in nanoseconds since 1970.
    """

    store: Store
    kernel: Kernel
    filters: Machine
    journal: Journal
    veths: Veths
    flows: CountedFlows
    spool: Spool
    speaker: Line
    offer_mtu: Callable[[int], str]
    read_machine: ReadMachine
    herald: Herald
    environ: Mapping[str, str]
    wall_ns: Callable[[], int]
    random: Random


class Agent:
    """``node`` is this node's name; ``on_ready`` is called once, when the node can take pods and its own routes are in
    the kernel; ``on_settings`` with the settings whenever they may be others.
    """

    def __init__(
        self,
        node: str,
        world: World,
        *,
        refresh_s: float = REFRESH_S,
        address_poll_s: float | None = None,
        on_ready: Callable[[], None] = lambda: None,
        on_settings: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self._node, self._world = node, world
        self.notes = Notes(lambda event: world.herald.announce(event, reporter="calico-node", host=node))
        self._asked = tuple(asked_of(world.environ))
        self._large_pods: tuple[mtu.LargePod, ...] = ()
        self._on_ready, self._is_announced = on_ready, False
        self._on_settings = on_settings
        self._started_s = 0.0
        self._first_ready_s: float | None = None
        self._lacks: tuple[Lack, ...] = ()
        self.health = Health(Part.DATASTORE, Part.DATAPLANE, Part.CNI)
        self._dataplane = Dataplane(
            node,
            world.kernel,
            world.journal,
            environ=world.environ,
            on_change=self._on_change,
            on_pass=self._after_pass,
            on_applied=_log_changes,
            refresh_s=refresh_s,
            rng=world.random,
        )
        self._feed = Feed(
            world.store,
            self._dataplane,
            random=world.random.random,
            on_touch=self._on_touch,
            on_block=self._on_block,
            on_unreadable=self._on_unreadable,
        )
        self._bgp = BgpClient(self._hear, self._on_bgp, world.speaker)
        view = self._dataplane.view
        self._protection = Protection(
            view,
            world.filters,
            has_large_pods=lambda: bool(self._large_pods),
            on_pass=self._on_filtered,
            rng=world.random,
        )
        self._ipam = NodeIpam(node, world.store, facts=self._feed.facts, wall_ns=world.wall_ns)
        self._tunnels = self._tunnel_addresses()
        self._standing = self._standing_for(address_poll_s)
        pods = Pods(
            self._surroundings(),
            store=world.store,
            addresses=self._ipam,
            veths=world.veths,
            flows=world.flows,
            local=LocalEndpoints(self._dataplane),
        )
        self.commands = Commands(pods, world.spool, self.health.why_not)

    async def run(self) -> None:
        """Until cancelled; then everything is left as it is."""
        self._started_s = _now()
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "feed": self._feed.run(),
            "reconciler": self._dataplane.reconciler.run(),
            "bgp": self._bgp.run(),
            "addresses": self._ipam.run(),
            "tunnels": self._tunnels.run(),
            "protection": self._protection.run(),
            "node": self._standing.run(),
            "notes": self.notes.run(),
            "policies": policies.watch(self._world.store, lambda told: self.notes.report("policies", told)),
            "flows": self._world.flows.run(),
            "spool": self.commands.keep_draining(),
        }
        async with asyncio.TaskGroup() as tasks:
            for name, part in parts.items():
                tasks.create_task(part, name=name)

    async def can_take_pods(self) -> None:
        """Return when :attr:`commands` may be asked: before all kinds were listed a pool looks missing and a block
        full, and a tunnel's address is the first of the node's block.
        """
        await self._feed.listed()
        await self._tunnels.first_taken()
        try:
            await self.commands.drain()
        except (StoreError, Contention) as error:
            log.warning("cni.spool.waiting why=%r", str(error))
        self._report(Part.CNI, is_ready=True)

    def why(self, address: Address) -> str:
        """Which route carries packets there, and for what reason: some lines."""
        return "".join(f"{line}\n" for line in why_address(address, self._dataplane.evidence()))

    def metrics_trouble(self, why: str) -> None:
        """Metrics are not served, for this reason; "" when they are. The node works all the same."""
        self._report(Part.METRICS, is_ready=True, why=why)

    def figures(self, usage: Usage | None) -> Figures:
        """What monitoring may know, at this moment."""
        reconciler, feed, filters = self._dataplane.reconciler, self._feed, self._protection.counters
        return Figures(
            view=self._dataplane.view,
            desired=reconciler.desired,
            mirror=reconciler.mirror,
            ownership=reconciler.ownership,
            report=reconciler.report(),
            deciding=reconciler.deciding,
            applying=reconciler.applying,
            first_ready_s=self._first_ready_s,
            filters={"passes": filters.passes, "changes": filters.changes, "failures": filters.failures},
            flows=self._world.flows.counters,
            datastore=Datastore(feed.updates, feed.lists, not feed.missing, feed.out_of_touch, feed.unreadable),
            commands={
                command.value: Commanded(took, self.commands.failures[command])
                for command, took in self.commands.took.items()
            },
            health=self.health,
            usage=usage if self._dataplane.view.settings.prometheus_process_metrics_enabled else None,
        )

    # --- parts that are put together from others -----------------------------------------------------------------

    def _tunnel_addresses(self) -> TunnelAddresses:
        view = self._dataplane.view
        return TunnelAddresses(
            self._node,
            self._world.store,
            self._ipam.tunnels,
            Receivers(self._dataplane, admits_members=lambda version: self._protection.is_current(version)),
            facts=self._feed.facts,
            me=lambda: view.me,
            random=self._world.random.random,
            on_trouble=lambda why: self._report(Part.TUNNELS, is_ready=True, why=why),
        )

    def _standing_for(self, poll_s: float | None) -> Standing:
        world, view = self._world, self._dataplane.view
        return Standing(
            self._node,
            world.store,
            world.environ,
            me=lambda: view.me,
            read_machine=world.read_machine,
            poll_s=poll_s,
            random=world.random.random,
            on_trouble=lambda why: self._report(Part.NODE, is_ready=True, why=why),
        )

    def _surroundings(self) -> Surroundings:
        view = self._dataplane.view

        def pool_by_name(name: str) -> Network:
            for pool in view.pools.values():
                if pool.name == name and not pool.disabled:
                    return pool.cidr
            raise NoPool(f"error getting IPPool {name}: it does not exist, or is not enabled")

        def owns_block(cidr: Network) -> bool:
            owned = view.affinities.get(Key("BlockAffinity", names.of_affinity(self._node, cidr)))
            return owned is not None and owned.is_confirmed

        return Surroundings(
            node=self._node,
            host_mtu_bytes=self._offered_mtu_bytes,
            pool_by_name=pool_by_name,
            owns_block=owns_block,
            is_unlocked=lambda: self._feed.is_unlocked,
            new_mac=lambda: _new_mac(self._world.random),
            timestamp=lambda: _timestamp(self._world.wall_ns()),
        )

    # --- what parts tell each other --------------------------------------------------------------------------------

    def _hear(self, message: Any) -> None:
        self._dataplane.view.hear(message)
        self._dataplane.changed()

    def _on_change(self) -> None:
        self._standing.changed()
        self._tunnels.changed()
        view = self._dataplane.view
        if view.can_place_remote:
            self._report_mtu()
            self._protection.update()
            self.notes.report("pools", overruled(view.pools.values(), self._asked))
            self._on_settings(view.settings)
            self._report(Part.CONFIGURATION, is_ready=True, why="; ".join(view.configured.troubles))

    def _offered_mtu_bytes(self) -> int:
        view = self._dataplane.view
        return mtu.of_pods(view.surroundings.links.values(), view.pools.values(), view.settings)

    def _report_mtu(self) -> None:
        """Pods keep the MTU that they were born with; those that have more than is offered now are named."""
        offered_bytes, links = self._offered_mtu_bytes(), self._dataplane.reconciler.mirror.actual.links.values()
        self._large_pods = mtu.too_large(local.endpoints(self._dataplane.view), links, offered_bytes)
        troubles = [self._world.offer_mtu(offered_bytes), *map(str, self._large_pods)]
        self._report(Part.MTU, is_ready=True, why="; ".join(filter(None, troubles)))
        self.notes.report("mtu", (pod.event() for pod in self._large_pods))

    def _on_filtered(self) -> None:
        """A node whose packet filter cannot be written still routes; it takes no encapsulated packets."""
        self._report(Part.FIREWALL, is_ready=True, why=self._protection.trouble)
        self._tunnels.changed()

    def _after_pass(self) -> None:
        self._tunnels.changed()
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
        self._report_lacks()

    def _report_lacks(self) -> None:
        """A node that cannot reach another is not ready, whatever else works."""
        view, refused = self._dataplane.view, self._dataplane.reconciler.refused_devices
        if view.me is None or not (refused or self._lacks):
            return
        up = tunnels_up(view.surroundings.links)
        self._lacks = tuple(lacks(refused, view.pools.values(), view.me, view.nodes.values(), up))
        self.notes.report("tunnels", (each.event(self._node) for each in self._lacks))
        is_ready = not any(each.unreached for each in self._lacks)
        self._report(Part.DEVICES, is_ready=is_ready, why="; ".join(map(str, self._lacks)))

    def _on_block(self, key: Key, block: IPAMBlock | None) -> None:
        self._ipam.hear(key, block)

    def _on_unreadable(self, found: Reasons) -> None:
        """What was known of them before still counts, so the node works."""
        told = [Event(key, "CannotBeRead", in_words(key, why)) for key, why in sorted(found.items())]
        self.notes.report("unreadable", told)
        self._report(Part.OBJECTS, is_ready=True, why=in_one_line(found))

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
            self._first_ready_s = _now() - self._started_s
            self._on_ready()


def _log_changes(applied: Sequence[Applied]) -> None:
    for line in changes_log.lines(applied):
        log.info(line)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _timestamp(wall_ns: int) -> str:
    """As Go prints a time."""
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f000 +0000 UTC")


def _new_mac(random: Random) -> str:
    """A locally administered unicast address."""
    raw = bytearray(random.randbytes(6))
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
