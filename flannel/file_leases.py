"""Leases in a folder: for labs, and for daemons on one machine that need no server. The layout is etcd's, with files.

    FOLDER/config                 net-conf.json
    FOLDER/subnets/10.5.52.0-24   a lease, which stays until its file is removed

A file is made whole and then given its name: a name that is taken says so, and nobody reads half of one. Who follows is
woken by inotify and reads them all. FLANNELD_LEASE_FOLDER names the folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random

from inotify_simple import INotify, flags

from datastore.etcd_wire import Stored
from datastore.store import Unavailable
from flannel import etcd_layout, netconf, subnets
from flannel import lease as lease_text
from flannel.go_json import BadDocument
from flannel.lease import Attributes, Lease, Subnets
from flannel.lease_table import Known, LeaseTable
from flannel.netconf import NetConf
from flannel.source import Counters, NoLease, Revoked
from flannel.subnets import OutOfSubnets, Ranges

_CHANGES = flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE | flags.CLOSE_WRITE

log = logging.getLogger("flannel")


class FileLeases:
    """Raises Unavailable where the folder cannot be read or written."""

    def __init__(self, folder: Path, *, random: Random | None = None) -> None:
        self._folder, self._subnets = folder, folder / "subnets"
        self._random = random or Random()
        self._own: Path | None = None
        self._table = LeaseTable(log.warning)
        self._changed = asyncio.Event()
        self._inotify = INotify()
        self._is_listening = False
        self._lists = 0

    @property
    def counters(self) -> Counters:
        """Nothing is renewed here, and each change is a new list."""
        return Counters(lists=self._lists, bad=self._table.bad)

    async def config(self) -> NetConf:
        """Waits for one that can be used."""
        self._listen()
        while True:
            self._changed.clear()
            try:
                return self._read_config()[0]
            except BadDocument as error:
                log.error("Couldn't fetch network config: %s", error)
            await self._changed.wait()

    def _read_config(self) -> tuple[NetConf, Ranges]:
        path = self._folder / "config"
        try:
            config = netconf.read(path.read_text())
        except OSError as error:
            raise BadDocument(str(path), f"cannot be read: {error.strerror}") from None
        if not config.has_ipv4:
            raise BadDocument("EnableIPv4", "leases are named by an IPv4 subnet: set it to true")
        return config, subnets.check(config)

    async def asked_addresses(self) -> tuple[IPv4Address | None, IPv6Address | None]:
        return None, None

    async def held(self, attributes: Attributes) -> Attributes | None:
        found = etcd_layout.of_node(attributes.public_ip, self._list())
        return None if found is None else found[1].attributes

    def is_own(self, lease: Lease, attributes: Attributes) -> bool:
        return lease.attributes.public_ip == attributes.public_ip

    async def acquire(self, attributes: Attributes) -> Lease:
        while True:
            _, ranges = self._read_config()
            stored = self._list()
            mine = etcd_layout.of_node(attributes.public_ip, stored)
            if mine is not None and etcd_layout.is_compatible(mine[1].subnets, ranges):
                wanted = mine[1].subnets
                self._write(wanted, attributes, replaces=True)
            else:
                wanted = self._pick(ranges, stored)
                if not self._write(wanted, attributes, replaces=False):
                    continue  # somebody was faster
            self._own = self._subnets / lease_text.key(wanted)
            return Lease(wanted, attributes)

    def _pick(self, ranges: Ranges, stored: list[Stored]) -> Subnets:
        """Raises NoLease."""
        v4, v6 = etcd_layout.taken(stored)
        choose = self._random.choice
        try:
            return Subnets(
                subnets.pick(ranges.v4, v4, choose) if ranges.v4 is not None else None,
                subnets.pick(ranges.v6, v6, choose) if ranges.v6 is not None else None,
            )
        except OutOfSubnets as error:
            raise NoLease(str(error)) from None

    def _write(self, wanted: Subnets, attributes: Attributes, *, replaces: bool) -> bool:
        """False where somebody else has it."""
        path, fresh = self._subnets / lease_text.key(wanted), self._folder / f"new-{attributes.public_ip}"
        try:
            fresh.write_text(lease_text.value(attributes))
            if replaces:
                fresh.replace(path)
                return True
            os.link(fresh, path)
            fresh.unlink()
        except FileExistsError:
            fresh.unlink()
            return False
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from None
        return True

    async def follow(self, tell: Callable[[Known], None]) -> None:
        self._listen()
        while True:
            self._changed.clear()
            own, stored = self._own, self._list()
            if own is not None and str(own) not in {etcd_layout.name(one) for one in stored}:
                raise Revoked
            self._lists += 1
            self._table.load(map(etcd_layout.entry, stored))
            tell(self._table.known())
            await self._changed.wait()

    def _list(self) -> list[Stored]:
        try:
            self._subnets.mkdir(parents=True, exist_ok=True)
            paths = sorted(self._subnets.iterdir())
            return [Stored(str(path).encode(), path.read_bytes(), 0) for path in paths]
        except FileNotFoundError:
            return self._list()  # one went while the others were read
        except OSError as error:
            raise Unavailable(f"{self._subnets}: {error.strerror}") from None

    def _listen(self) -> None:
        if not self._is_listening:
            self._is_listening = True
            self._subnets.mkdir(parents=True, exist_ok=True)
            for folder in (self._folder, self._subnets):
                self._inotify.add_watch(folder, _CHANGES)
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._hear)

    def _hear(self) -> None:
        self._inotify.read(timeout=0)
        self._changed.set()

    async def keep(self) -> None:
        """A file needs no renewal."""
        await asyncio.Event().wait()

    async def running(self) -> None:
        """Nobody waits for that here."""

    async def close(self) -> None:
        if self._is_listening:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
        self._inotify.close()
