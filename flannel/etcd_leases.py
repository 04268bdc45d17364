"""Leases in etcd: taken, renewed, followed. The layout (:mod:`flannel.etcd_layout`) is shared with the original.

- A node is known by its public IPv4 address, and gets again what it had: by its key, or by what subnet.env says.
- A new key is made only where there is none. Who loses such a race picks again; that never escapes.
- A key ends with an etcd lease of 24 hours, which is renewed. One that was stored without an end is a reservation: it
  is rewritten without one.
- Nobody deletes a key at the end of a daemon: routes stay while it is away.
- The watch goes on where it stopped, or starts over with a list. A list without the own key is not believed.

Times are etcd's and the loop's; no clock of this machine's day is asked.
Source: flannel pkg/subnet/etcd.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Protocol

from datastore import etcd_wire as wire
from datastore.etcd_trouble import Unanswered
from datastore.etcd_wire import Heard, Stored, Txn
from datastore.store import StoreError
from flannel import etcd_layout, netconf, subnets
from flannel import lease as lease_text
from flannel.etcd_layout import Layout
from flannel.go_json import BadDocument
from flannel.lease import NO_SUBNETS, Attributes, Lease, Subnets
from flannel.lease_table import Known, LeaseTable
from flannel.netconf import NetConf
from flannel.source import Counters, NoLease, Revoked
from flannel.subnets import OutOfSubnets, Ranges

TTL_S = 86_400
TRIES = 10
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_RENEW_PAUSE_S = 60.0

log = logging.getLogger("flannel")


class Etcd(Protocol):
    """What is asked of :class:`datastore.etcd_client.EtcdClient`, with its words and errors."""

    async def range(self, of: wire.Range) -> wire.Found: ...

    async def write(self, txn: Txn) -> wire.Outcome: ...

    async def grant(self, ttl_s: int) -> int: ...

    async def revoke(self, lease: int) -> None: ...

    def watch(self, key: bytes, end: bytes, *, start: int, wants_before: bool) -> AsyncGenerator[Heard, None]: ...

    async def close(self) -> None: ...


class EtcdLeases:
    """``previous``: what subnet.env says this node had. ``renew_margin_s``: how long before its end a lease is
    renewed.
    """

    def __init__(
        self,
        client: Etcd,
        prefix: str,
        *,
        previous: Subnets = NO_SUBNETS,
        renew_margin_s: float = 3600.0,
        random: Random | None = None,
    ) -> None:
        self._client = client
        self._layout = Layout(prefix)
        self._previous = previous
        self._renew_margin_s = renew_margin_s
        self._random = random or Random()
        self._own: Lease | None = None
        self._ends_at: float | None = None  # None: never, it is a reservation
        self._table = LeaseTable(log.warning)
        self._told_trouble = ""
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        return replace(self._counters, bad=self._table.bad)

    # --- the configuration ----------------------------------------------------------------------------------------

    async def config(self) -> NetConf:
        while True:
            since = 0
            try:
                found = await self._client.range(wire.Range(self._layout.config))
                since = found.revision
                return self._checked(found.stored)[0]
            except (StoreError, BadDocument) as error:
                self._note_trouble(f"Couldn't fetch network config: {error}")
            await self._until_changed(since)

    def _checked(self, stored: Sequence[Stored]) -> tuple[NetConf, Ranges]:
        if not stored:
            why = "flannel config not found in etcd store. Did you create your config using etcdv3 API?"
            todo = f'etcdctl put {self._layout.config.decode()} \'{{"Network": "10.244.0.0/16"}}\''
            raise BadDocument("", f"{why} ({todo})")
        config = netconf.read(stored[0].value)
        if not config.has_ipv4:
            why = "etcd's keys name leases by an IPv4 subnet: set it to true, or use --kube-subnet-mgr"
            raise BadDocument("EnableIPv4", why)
        return config, subnets.check(config)

    async def _until_changed(self, since: int) -> None:
        try:
            async with asyncio.timeout(_RENEW_PAUSE_S):
                async for heard in self._client.watch(self._layout.config, b"", start=since + 1, wants_before=False):
                    if heard.events:
                        return
        except (StoreError, TimeoutError):
            await asyncio.sleep(1.0)  # etcd is away; the original asks once a second

    def _note_trouble(self, text: str) -> None:
        if text != self._told_trouble:
            self._told_trouble = text
            log.error(text)

    # --- the own lease --------------------------------------------------------------------------------------------

    async def asked_addresses(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        return None, None

    async def held(self, attributes: Attributes) -> Attributes | None:
        found = await self._client.range(self._layout.all())
        own = etcd_layout.of_node(attributes.public_ip, found.stored)
        return None if own is None else own[1].attributes

    def is_own(self, lease: Lease, attributes: Attributes) -> bool:
        return lease.attributes.public_ip == attributes.public_ip

    async def acquire(self, attributes: Attributes) -> Lease:
        for _ in range(TRIES):
            taken = await self._attempt(attributes)
            if taken is not None:
                self._own = Lease(taken, attributes)
                return self._own
        raise NoLease(f"failed to acquire lease: {TRIES} subnets in a row were taken by others in the same moment")

    async def _attempt(self, attributes: Attributes) -> Subnets | None:
        """None where somebody else was faster."""
        _, ranges = self._checked((await self._client.range(wire.Range(self._layout.config))).stored)
        stored = (await self._client.range(self._layout.all())).stored
        mine = etcd_layout.of_node(attributes.public_ip, stored)
        if mine is None:
            return await self._create(self._pick(stored, ranges), attributes)
        if etcd_layout.is_compatible(mine[1].subnets, ranges):
            return await self._reuse(*mine, attributes)
        what = f"Lease ({_both(mine[1].subnets)}) for current IP ({attributes.public_ip})"
        log.warning("%s not compatible with current config, deleting", what)
        await self._client.write(Txn((), (wire.Delete(mine[0].key),)))
        return None

    async def _reuse(self, stored: Stored, lease: Lease, attributes: Attributes) -> Subnets | None:
        value = lease_text.value(attributes).encode()
        if stored.lease or stored.value != value:
            end, ends_at = await self._grant() if stored.lease else (0, None)
            is_unchanged = wire.unchanged(stored.key, stored.mod_revision)
            outcome = await self._client.write(Txn((is_unchanged,), (wire.Put(stored.key, value, end),)))
            if not outcome.is_done:
                return None
            self._ends_at = ends_at
        log.info("Found lease (%s) for current IP (%s), reusing", _both(lease.subnets), attributes.public_ip)
        return lease.subnets

    def _pick(self, stored: Sequence[Stored], ranges: Ranges) -> Subnets:
        """Raises NoLease."""
        v4, v6 = etcd_layout.taken(stored)
        if self._previous.v4 is not None:
            if not etcd_layout.is_compatible(self._previous, ranges):
                what = f"Found previously leased subnet ({self._previous})"
                log.error("%s that is not compatible with the Etcd network config, ignoring", what)
            elif etcd_layout.is_free(self._previous, v4, v6):
                log.info("Found previously leased subnet (%s), reusing", self._previous)
                return self._previous
        log.info("Picking subnet in range %s", ranges.v4)
        try:
            return Subnets(
                subnets.pick(ranges.v4, v4, self._random.choice) if ranges.v4 is not None else None,
                subnets.pick(ranges.v6, v6, self._random.choice) if ranges.v6 is not None else None,
            )
        except OutOfSubnets as error:
            raise NoLease(str(error)) from None

    async def _create(self, wanted: Subnets, attributes: Attributes) -> Subnets | None:
        key, value = self._layout.key(wanted), lease_text.value(attributes).encode()
        end, ends_at = await self._grant()
        try:
            outcome = await self._client.write(Txn((wire.never_written(key),), (wire.Put(key, value, end),)))
        except Unanswered:
            return None  # it may be ours by now: the next look says so
        if not outcome.is_done:
            await self._client.revoke(end)
            return None
        self._ends_at = ends_at
        log.info("Allocated lease (%s) to current node (%s) ", _both(wanted), attributes.public_ip)
        return wanted

    async def _grant(self) -> tuple[int, float]:
        """An etcd lease, and when it ends at the earliest."""
        asked_at = _now()
        return await self._client.grant(TTL_S), asked_at + TTL_S

    async def keep(self) -> None:
        while self._ends_at is not None:
            wait_s = max(0.0, self._ends_at - self._renew_margin_s - _now())
            log.info("Waiting for %s to renew lease", _duration(wait_s))
            await asyncio.sleep(wait_s)
            try:
                await self._renew()
                self._counters = replace(self._counters, renewals=self._counters.renewals + 1)
                log.info("Lease renewed, new expiration: in %s", _duration(TTL_S))
            except StoreError as error:
                self._counters = replace(self._counters, renewal_failures=self._counters.renewal_failures + 1)
                log.error("Error renewing lease (trying again in 1 min): %s", error)
                await asyncio.sleep(_RENEW_PAUSE_S)
        await asyncio.Event().wait()

    async def _renew(self) -> None:
        """What somebody deleted is not made again: to whoever follows, that is the end."""
        assert self._own is not None, "a lease is taken before it is kept"
        end, ends_at = await self._grant()
        key, value = self._layout.key(self._own.subnets), lease_text.value(self._own.attributes).encode()
        is_gone = wire.never_written(key)
        outcome = await self._client.write(Txn((is_gone,), (), (wire.Put(key, value, end),)))
        if outcome.is_done:
            await self._client.revoke(end)
        self._ends_at = ends_at

    # --- all leases -----------------------------------------------------------------------------------------------

    async def follow(self, tell: Callable[[Known], None]) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                revision = await self._load(tell)
                pause_s = _FIRST_PAUSE_S
                await self._listen(revision, tell)
            except StoreError as error:
                self._counters = replace(self._counters, watch_failures=self._counters.watch_failures + 1)
                self._note_trouble(f"Watch of subnet leases failed: {error}; routes stay as they are")
                await asyncio.sleep(pause_s * self._random.uniform(0.8, 1.2))
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    async def _load(self, tell: Callable[[Known], None]) -> int:
        own = self._own  # of before the list: it cannot show what is taken while it is asked for
        found = await self._client.range(self._layout.all())
        if own is not None and self._layout.key(own.subnets) not in {one.key for one in found.stored}:
            raise Revoked
        self._told_trouble = ""
        self._counters = replace(self._counters, lists=self._counters.lists + 1)
        self._table.load(map(etcd_layout.entry, found.stored))
        tell(self._table.known())
        return found.revision

    async def _listen(self, revision: int, tell: Callable[[Known], None]) -> None:
        """Until the datastore has forgotten what happened since."""
        start, end = self._layout.all()[:2]
        async for heard in self._client.watch(start, end, start=revision + 1, wants_before=False):
            if heard.compacted:
                return
            if heard.events:
                self._take(heard)
                tell(self._table.known())

    def _take(self, heard: Heard) -> None:
        own = None if self._own is None else self._layout.key(self._own.subnets)
        if any(event.is_deletion and event.stored.key == own for event in heard.events):
            raise Revoked
        for event in heard.events:
            if event.is_deletion:
                self._table.drop(etcd_layout.name(event.stored))
            else:
                self._table.put(etcd_layout.entry(event.stored))

    async def running(self) -> None:
        """Nobody waits for that here."""

    async def close(self) -> None:
        await self._client.close()


def _both(found: Subnets) -> str:
    return f"ip: {found.v4 or '0.0.0.0/0'} ipv6: {found.v6 or '::/0'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    return f"{minutes // 60}h{minutes % 60}m{rest}s"


def _now() -> float:
    return asyncio.get_running_loop().time()
