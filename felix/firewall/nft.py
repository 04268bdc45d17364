"""Writes a RuleSet with the program nft: both families in one transaction, and hears of who changes our table.

The kernel tells of every change to nftables on a netlink group; whatever names our table wakes the reconciler. That
includes our own write: the look that follows finds nothing to do.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from felix.firewall import nft_json
from felix.firewall.execute import execute
from felix.firewall.model import VERSIONS, FirewallUnavailable, RuleSet
from felix.firewall.nft_json import FAMILIES, TABLE, Forms, Listed, Object

_NETLINK_NETFILTER = 12
_GROUP_NFTABLES = 1 << (7 - 1)


class Nft(Protocol):
    """The one way to nftables. Each method raises FirewallUnavailable."""

    async def list(self, family: str) -> Sequence[Object]:
        """The objects of our table in ``family``; none if there is no such table."""
        ...

    async def run(self, commands: Sequence[Object]) -> None:
        """All of them, or none."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever our table changed."""
        ...


class NftWriter:
    """:class:`felix.firewall.reconciler.Writer` for nftables."""

    def __init__(self, nft: Nft) -> None:
        self._nft = nft
        self._forms: dict[int, Forms] = {}

    def listen(self, wake: Callable[[], None]) -> None:
        self._nft.listen(wake)

    async def write(self, wanted: RuleSet) -> int:
        """How many commands that took; 0 if all was there."""
        commands = self._plan(wanted, await self._read())
        if not commands:
            return 0
        await self._nft.run(commands)
        written = await self._read()
        self._forms = {version: listed.forms for version, listed in zip(VERSIONS, written, strict=True)}
        if self._plan(wanted, written):
            raise FirewallUnavailable("nft lists something else than what it was told to write")
        return len(commands)

    async def remove(self) -> int:
        listed = await self._read()
        there = [version for version, one in zip(VERSIONS, listed, strict=True) if one.exists]
        commands = [command for version in there for command in nft_json.removal(version)]
        if commands:
            await self._nft.run(commands)
        return len(commands)

    async def _read(self) -> list[Listed]:
        return [nft_json.parse(await self._nft.list(FAMILIES[version])) for version in VERSIONS]

    def _plan(self, wanted: RuleSet, listed: Sequence[Listed]) -> list[Object]:
        commands: list[Object] = []
        for family, found in zip(wanted.families, listed, strict=True):
            commands += nft_json.plan(family, found, self._forms.get(family.version, {}))
        return commands


class NftProgram:
    """The program, run in the network namespace of this process."""

    def __init__(self, program: str = "nft", *, table: str = TABLE) -> None:
        self._program = program
        self._table = table
        self._listener: socket.socket | None = None

    async def list(self, family: str) -> Sequence[Object]:
        status, out, err = await self._execute("list", "table", family, self._table)
        if status != 0:
            if "No such file or directory" in err:
                return []
            raise FirewallUnavailable(f"nft: {_first_line(err)}")
        try:
            found: list[Object] = json.loads(out)["nftables"]
        except (ValueError, KeyError) as error:
            raise FirewallUnavailable(f"nft lists in a language that is not known: {out[:60]!r}") from error
        return found

    async def run(self, commands: Sequence[Object]) -> None:
        status, _, err = await self._execute("-f", "-", stdin=json.dumps({"nftables": list(commands)}))
        if status != 0:
            raise FirewallUnavailable(f"nft: {_first_line(err)}")

    async def load(self, text: str) -> None:
        """In nft's own language: all of it, or nothing. Raises FirewallUnavailable."""
        status, _, err = await execute((self._program, "-f", "-"), text.encode())
        if status != 0:
            raise FirewallUnavailable(f"nft: {_first_line(err)}")

    def listen(self, wake: Callable[[], None]) -> None:
        """A kernel without nftables has nothing to tell of; the first list says so in words."""
        if self._listener is not None:
            return
        with suppress(OSError):
            listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
            listener.bind((0, _GROUP_NFTABLES))
            self._listener = listener
            asyncio.get_running_loop().add_reader(listener, lambda: _hear(listener, self._table, wake))

    def close(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _execute(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        return await execute((self._program, "-j", *words), stdin.encode())


def _hear(listener: socket.socket, table: str, wake: Callable[[], None]) -> None:
    is_about_us, name = False, table.encode() + b"\0"
    while True:
        try:
            is_about_us |= name in listener.recv(1 << 16)
        except BlockingIOError:
            break
        except OSError:  # messages were lost: any of them may have been about us
            is_about_us = True
    if is_about_us:
        wake()


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "failed without a word")
