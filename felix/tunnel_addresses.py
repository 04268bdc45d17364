"""The life of this node's tunnel addresses: taken, held on the device, published, withdrawn, given back.

                        needed                                          not needed any more
    IPAM      take one (or keep what is ours)                     3. give it back, once no other node may send
    device    1. held: device up, address on it, firewall ready   1. held until no route of ours uses the device
    Node      2. published: others may send now                   2. cleared
    IPAM      3. give back what was held before                   4. not held: the address leaves the device

Publication is readiness: others send to what they read on the Node, so nothing stands there that could not receive.
A node that changes from one tunnel to another withdraws the old one's address when the new one's is published: between
subnets it could not be reached otherwise.

A device without an address does not receive where rp_filter is loose: Linux finds nothing on it to compare the source's
way back with. So the address stays while another node still publishes one of its kind, which it does until it has seen
the edit; but not for ever, since a node that died publishes as well.

Every pass looks at what is known now and does what is next, so a need that comes back finds its address, and a process
that died between two writes is continued by its successor: what the handle holds in IPAM and what stands on the Node
are its memory. One tunnel's trouble does not stop the others.

Source: Calico node/pkg/allocateip for what is kept, taken and given back; the order is ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

from datastore.codec import decode, encode
from datastore.resource import Key
from datastore.resources import IPPool, Node
from datastore.store import Conflict, Store, StoreError
from felix.tunnel_ipam import Found, TunnelIpam
from felix.tunnels import Held, Tunnel, eligible, keep
from ipam.allocator import NoAddress
from ipam.block import StaleRelease
from ipam.choose import NoPool
from ipam.facts import Facts
from ipam.records import TRIES, Contention

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 15.0
LONGEST_DRAIN_S = 300.0
"""So long may a node go without seeing an edit before packets that it sends through the old tunnel are given up."""
LONGEST_FIRST_TAKE_S = 5.0
"""So long may the first address of the node's block be waited for, before pods get theirs all the same."""

log = logging.getLogger("felix.tunnels")


class Devices(Protocol):
    """The tunnels' devices, kept by whoever owns the kernel. He calls :meth:`TunnelAddresses.changed` whenever an
    answer may have become another.
    """

    def hold(self, held: Held) -> None:
        """From now on each device should have this address of its own family, and no other."""
        ...

    def is_ready(self, tunnel: Tunnel, address: Address) -> bool:
        """Whether the node receives: device up, this address on it and no other, the firewall admits members."""
        ...

    def is_idle(self, tunnel: Tunnel) -> bool:
        """Whether no route of ours goes through the device, in the kernel."""
        ...

    def is_quiet(self, tunnel: Tunnel) -> bool:
        """Whether no other node publishes an address of this kind."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """What IPAM holds for a tunnel of the Node ``uid``; ``address`` is the one to go on with."""

    uid: str
    found: Found
    address: Address | None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why nothing went on, and when to try again (loop time, s); ``pools`` are those it was tried with, ``is_full``:
    they have nothing to give.
    """

    why: str
    is_full: bool
    failures: int
    again_at: float
    pools: tuple[Network, ...]


class TunnelAddresses:
    """``node`` is this node's name, ``me`` its Node as last seen. ``on_trouble`` hears what holds up an address, and ""
    when nothing does; ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        node: str,
        store: Store,
        ipam: TunnelIpam,
        devices: Devices,
        *,
        facts: Callable[[], Awaitable[Facts]],
        me: Callable[[], Node | None],
        random: Callable[[], float],
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._node, self._store, self._ipam, self._devices = node, store, ipam, devices
        self._facts, self._me, self._random, self._on_trouble = facts, me, random, on_trouble
        self._called, self._settled = asyncio.Event(), asyncio.Event()
        self._known: dict[Tunnel, _Known] = {}
        self._held: dict[Tunnel, Address | None] = {}
        self._troubles: dict[Tunnel, _Trouble] = {}
        self._patient_until: dict[Tunnel, float] = {}

    @property
    def trouble(self) -> str:
        """What holds up an address, in words; "" when nothing does."""
        return "; ".join(f"{tunnel.word} tunnel address: {each.why}" for tunnel, each in self._troubles.items())

    def changed(self) -> None:
        """Something is another: pools, this node, a device."""
        self._called.set()

    async def first_taken(self) -> None:
        """Return when every tunnel that the node needs has its address, so that pods come after it; or when that takes
        too long, or cannot be: pods do not depend on it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_FIRST_TAKE_S):
                await self._settled.wait()

    async def run(self) -> None:
        """Until cancelled; then all is left as it is."""
        while True:
            self._called.clear()
            await self._pass()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_try_at()):
                    await self._called.wait()

    async def _pass(self) -> None:
        facts, me = await self._facts(), self._me()
        if me is None:
            self._forget()
            return
        for tunnel in Tunnel:
            pools = eligible(facts.pools, me, tunnel)
            if not pools and _is_the_last_way(tunnel, facts.pools, me):
                continue
            if not self._is_resting(tunnel, pools):
                await self._try(tunnel, me, pools)
        full = {tunnel for tunnel, trouble in self._troubles.items() if trouble.is_full}
        if full | self._held.keys() == set(Tunnel):
            self._settled.set()

    async def _try(self, tunnel: Tunnel, me: Node, pools: Sequence[IPPool]) -> None:
        try:
            if pools:
                await self._provide(tunnel, me, pools)
            else:
                await self._withdraw(tunnel, me)
        except (StoreError, Contention, NoAddress, NoPool, StaleRelease) as error:
            self._known.pop(tunnel, None)
            self._fail(tunnel, pools, error)
        else:
            if self._troubles.pop(tunnel, None) is not None:
                self._on_trouble(self.trouble)

    # --- needed ---------------------------------------------------------------------------------------------------

    async def _provide(self, tunnel: Tunnel, me: Node, pools: Sequence[IPPool]) -> None:
        self._patient_until.pop(tunnel, None)
        address = await self._address_of(tunnel, me, pools)
        self._hold(tunnel, address)
        if not self._devices.is_ready(tunnel, address):
            return
        if tunnel.published(me) != address:
            await self._write_node(tunnel, address)
        await self._give_back_others(tunnel, address)

    async def _address_of(self, tunnel: Tunnel, me: Node, pools: Sequence[IPPool]) -> Address:
        """The one that is ours, or a new one; until that is had, the device keeps what it had."""
        known = await self._know(tunnel, me)
        kept = keep([known.address] if known.address else [], known.address, pools)
        kept = kept or keep(known.found.held, tunnel.published(me), pools)
        if kept is None:
            if (before := _best(known.found, tunnel.published(me))) is not None:
                self._hold(tunnel, before)
            kept = await self._ipam.take(tunnel, pools, known.found.ancient)
            log.info("tunnel.take tunnel=%s address=%s", tunnel.word, kept)
            known = await self._look(tunnel, me)
        self._known[tunnel] = replace(known, address=kept)
        return kept

    async def _give_back_others(self, tunnel: Tunnel, address: Address) -> None:
        """What was held besides: from before the pool went, or left by a crash."""
        known = self._known[tunnel]
        others = tuple(other for other in known.found.held if other != address)
        if not others and known.found.ancient is None:
            return
        await self._ipam.give_back(tunnel, others, known.found.ancient)
        log.info("tunnel.give_back tunnel=%s addresses=%s", tunnel.word, others)
        self._known[tunnel] = replace(known, found=Found((address,), None, True))

    # --- not needed -----------------------------------------------------------------------------------------------

    async def _withdraw(self, tunnel: Tunnel, me: Node) -> None:
        known = await self._know(tunnel, me)
        published = tunnel.published(me)
        if known.found.is_nothing and published is None:
            self._hold(tunnel, None)
            return
        self._hold(tunnel, known.address or _best(known.found, published))
        if not self._devices.is_idle(tunnel):
            return
        await self._write_node(tunnel, None)
        if await self._is_needed(tunnel):
            self.changed()
            return
        if self._must_wait_for_others(tunnel):
            return
        if not known.found.is_nothing:
            await self._ipam.give_back_all(tunnel, known.found)
            log.info("tunnel.give_back tunnel=%s addresses=%s", tunnel.word, known.found.held)
        self._known[tunnel] = replace(known, found=Found(), address=None)
        self._hold(tunnel, None)
        self._patient_until.pop(tunnel, None)

    def _must_wait_for_others(self, tunnel: Tunnel) -> bool:
        if self._devices.is_quiet(tunnel):
            return False
        return self._patient_until.setdefault(tunnel, _now() + LONGEST_DRAIN_S) > _now()

    async def _is_needed(self, tunnel: Tunnel) -> bool:
        me = self._me()
        return me is not None and bool(eligible((await self._facts()).pools, me, tunnel))

    # --- what both do ---------------------------------------------------------------------------------------------

    async def _know(self, tunnel: Tunnel, me: Node) -> _Known:
        """What IPAM holds; read again only when this process does not know it."""
        known = self._known.get(tunnel)
        if known is None or known.uid != me.resource.uid:
            known = self._known[tunnel] = await self._look(tunnel, me)
        return known

    async def _look(self, tunnel: Tunnel, me: Node) -> _Known:
        return _Known(me.resource.uid, await self._ipam.find(tunnel, tunnel.published(me)), None)

    async def _write_node(self, tunnel: Tunnel, address: Address | None) -> None:
        """Publish ``address``, or that there is none. Raises StoreError, Contention."""
        for _ in range(TRIES):
            node = decode(Node, await self._store.get(Key("Node", self._node)))
            if tunnel.published(node) == address:
                return
            with suppress(Conflict):
                await self._store.update(encode(tunnel.publish(node, address)))
                log.info("tunnel.publish tunnel=%s address=%s", tunnel.word, address or "none")
                return
        raise Contention

    def _hold(self, tunnel: Tunnel, address: Address | None) -> None:
        if tunnel not in self._held or self._held[tunnel] != address:
            self._held[tunnel] = address
            self._devices.hold(dict(self._held))

    def _forget(self) -> None:
        """The node is deleted, or not made yet: whoever deletes a node takes its addresses from IPAM."""
        self._known = {}
        if self._troubles:
            self._troubles = {}
            self._on_trouble("")

    # --- trouble --------------------------------------------------------------------------------------------------

    def _is_resting(self, tunnel: Tunnel, pools: Sequence[IPPool]) -> bool:
        trouble = self._troubles.get(tunnel)
        return trouble is not None and trouble.pools == _cidrs(pools) and trouble.again_at > _now()

    def _fail(self, tunnel: Tunnel, pools: Sequence[IPPool], error: Exception) -> None:
        why, is_full = str(error), isinstance(error, NoAddress | NoPool)
        before = self._troubles.get(tunnel)
        failures = 1 if before is None else before.failures + 1
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_S) * (1 + self._random()) / 2
        self._troubles[tunnel] = _Trouble(why, is_full, failures, _now() + pause_s, _cidrs(pools))
        if before is None or before.why != why:
            log.warning("tunnel.waiting tunnel=%s why=%r", tunnel.word, why)
            self._on_trouble(self.trouble)

    def _next_try_at(self) -> float | None:
        retries = (trouble.again_at for trouble in self._troubles.values())
        patience = (until for until in self._patient_until.values() if until > _now())
        return min((*retries, *patience), default=None)


def _is_the_last_way(tunnel: Tunnel, pools: Sequence[IPPool], me: Node) -> bool:
    """Others send to this node through ``tunnel`` until it says that it receives through the one that is needed now."""
    awaited = (other for other in Tunnel if other.version == tunnel.version and eligible(pools, me, other))
    return tunnel.published(me) is not None and any(other.published(me) is None for other in awaited)


def _best(found: Found, published: Address | None) -> Address | None:
    """What the device most probably has."""
    ours = (*found.held, *([found.ancient.address] if found.ancient else []))
    return published if published in ours else next(iter(ours), None)


def _cidrs(pools: Sequence[IPPool]) -> tuple[Network, ...]:
    return tuple(pool.cidr for pool in pools)


def _now() -> float:
    return asyncio.get_running_loop().time()
