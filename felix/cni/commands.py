"""What each CNI command does: a table from command to steps, with the spool around them.

A DEL always succeeds towards the runtime: what cannot be done now is spooled and done before the next ADD,
or a while later if there is none.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

from datastore.monitoring.durations import Durations
from datastore.store import StoreError
from felix.cni import result
from felix.cni.request import VERSIONS, CniError, Code, Command, NetConf, Request, read
from felix.cni.result import Interface
from ipam.records import Contention

RETRY_S = 10.0
"""Between two tries to do what is spooled: nothing tells when a locked cluster is unlocked."""


class Pods(Protocol):
    async def add(self, request: Request, netns: int) -> Interface: ...

    async def delete(self, request: Request) -> None: ...

    async def check(self, request: Request, netns: int) -> None: ...

    async def collect(self, conf: NetConf) -> None: ...


class Spool(Protocol):
    """DELs that wait, on disk: :mod:`felix.cni.spool`."""

    def add(self, variables: dict[str, str], stdin: bytes) -> None: ...

    async def drain(self, delete: Callable[[Request], Awaitable[None]]) -> int: ...


class Commands:
    """``not_ready`` says why no pod can be connected now, or "". ``took`` and ``failures`` are by command; a DEL that
    is put off has failed.
    """

    def __init__(self, pods: Pods, spool: Spool, not_ready: Callable[[], str]) -> None:
        self._pods, self._spool, self._not_ready = pods, spool, not_ready
        self._is_spooled = asyncio.Event()
        self.took = {command: Durations() for command in (Command.ADD, Command.DEL, Command.CHECK)}
        self.failures: Counter[Command] = Counter()
        self._steps: Mapping[Command, Callable[[Request, int], Awaitable[bytes]]] = {
            Command.ADD: self._add,
            Command.CHECK: self._check,
            Command.STATUS: self._status,
            Command.GC: self._collect,
            Command.VERSION: self._version,
        }

    async def handle(self, variables: Mapping[str, str], stdin: bytes, netns: int) -> bytes:
        """Standard output. Raises CniError."""
        request = read(variables, stdin)
        with self._timed(request.command):
            if request.command is Command.DEL:
                return await self._delete(request, variables, stdin)
            return await self._steps[request.command](request, netns)

    @contextmanager
    def _timed(self, command: Command) -> Iterator[None]:
        """Those that ask only what there is are counted when they fail, and not timed."""
        begun = asyncio.get_running_loop().time()
        try:
            yield
        except CniError:
            self.failures[command] += 1
            raise
        finally:
            if command in self.took:
                self.took[command].add(asyncio.get_running_loop().time() - begun)

    async def drain(self) -> int:
        """Do the DELs that were spooled; returns how many. Raises StoreError, Contention while they cannot be done."""
        try:
            return await self._spool.drain(self._pods.delete)
        except (StoreError, Contention, OSError):
            self._is_spooled.set()
            raise

    async def keep_draining(self) -> NoReturn:
        """Until cancelled: do what could not be done when it was asked for, also if no ADD ever comes."""
        while True:
            await self._is_spooled.wait()
            self._is_spooled.clear()
            await asyncio.sleep(RETRY_S)
            with suppress(StoreError, Contention, OSError):
                await self.drain()

    async def _add(self, request: Request, netns: int) -> bytes:
        if netns < 0:
            raise CniError(Code.UNKNOWN_CONTAINER, f"the network namespace {request.netns} does not exist")
        try:
            await self.drain()
        except (StoreError, Contention) as error:
            raise CniError(Code.TRY_AGAIN_LATER, f"earlier deletions wait for the datastore: {error}") from None
        return result.of(await self._pods.add(request, netns), request.conf.version)

    async def _delete(self, request: Request, variables: Mapping[str, str], stdin: bytes) -> bytes:
        try:
            await self._pods.delete(request)
        except (StoreError, Contention):
            self._spool.add(dict(variables), stdin)
            self._is_spooled.set()
            self.failures[Command.DEL] += 1
        return b""

    async def _check(self, request: Request, netns: int) -> bytes:
        if netns < 0:
            raise CniError(Code.UNKNOWN_CONTAINER, f"the network namespace {request.netns} does not exist")
        await self._pods.check(request, netns)
        return b"OK\n"

    async def _status(self, request: Request, netns: int) -> bytes:
        if why := self._not_ready():
            raise CniError(Code.NOT_AVAILABLE, why)
        return b""

    async def _collect(self, request: Request, netns: int) -> bytes:
        await self._pods.collect(request.conf)
        return b""

    async def _version(self, request: Request, netns: int) -> bytes:
        supported = ",".join(f'"{version}"' for version in VERSIONS)
        return f'{{"cniVersion":"{VERSIONS[-1]}","supportedVersions":[{supported}]}}'.encode()
