"""The drivers that the contract suite runs over. A new driver is one more entry of DRIVERS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from datastore.etcd import EtcdStore
from datastore.memory import Memory, MemoryStore
from datastore.resource import Resource
from datastore.sqlite import SqliteStore
from datastore.store import Store
from tests.etcd_server import EtcdServer, shared_server
from tests.servers.kubernetes import KubeServer, contract_server


class Datastore(Protocol):
    """One datastore, empty at first."""

    def client(self) -> Store:
        """One more client of it; who asks for it closes it."""
        ...

    async def forget_changes(self, kind: str) -> None:
        """From now on no revision of ``kind`` that was given before can be watched from."""
        ...


KEPT = 50
"""Changes that the datastores under test keep, where they can be told."""

CHANGES_OF_AN_OVERFLOW = 4 * KEPT


class _InMemory:
    def __init__(self) -> None:
        self._memory = Memory(changes_kept=KEPT)

    def client(self) -> Store:
        return MemoryStore(self._memory)

    async def forget_changes(self, kind: str) -> None:
        await overflow_the_log(self.client(), kind)


@contextmanager
def _memory(folder: Path) -> Iterator[Datastore]:
    yield _InMemory()


class _InOneFile:
    def __init__(self, path: Path, executor: Executor | None) -> None:
        self._path = path
        self._executor = executor

    def client(self) -> Store:
        return SqliteStore(str(self._path), executor=self._executor, changes_kept=KEPT)

    async def forget_changes(self, kind: str) -> None:
        store = self.client()
        await overflow_the_log(store, kind)
        await store.close()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Datastore]:
    yield _InOneFile(folder / "datastore.sqlite", None)


@contextmanager
def _sqlite_with_a_thread(folder: Path) -> Iterator[Datastore]:
    with ThreadPoolExecutor(1, "datastore") as executor:
        yield _InOneFile(folder / "datastore.sqlite", executor)


class _InEtcd:
    def __init__(self, server: EtcdServer) -> None:
        self._server = server

    def client(self) -> Store:
        return EtcdStore(self._server.settings)

    async def forget_changes(self, kind: str) -> None:
        store = self.client()
        await overflow_the_log(store, kind)
        await store.close()
        self._server.compact()


@contextmanager
def _etcd(folder: Path) -> Iterator[Datastore]:
    server = shared_server()
    server.clear()
    yield _InEtcd(server)


class _InKubernetes:
    def __init__(self, server: KubeServer) -> None:
        self._server = server

    def client(self) -> Store:
        return self._server.store()

    async def forget_changes(self, kind: str) -> None:
        store = self.client()
        await overflow_the_log(store, kind)
        revision = (await store.list(kind)).revision
        await store.close()
        self._server.compact(revision)


@contextmanager
def _kubernetes(folder: Path) -> Iterator[Datastore]:
    server = contract_server()
    server.clear()
    yield _InKubernetes(server)


async def overflow_the_log(store: Store, kind: str) -> None:
    """Writes more changes than a datastore with KEPT keeps, and leaves nothing."""
    last = await store.create(Resource(kind, "overflow"))
    for number in range(CHANGES_OF_AN_OVERFLOW - 2):
        last = await store.update(replace(last, spec={"number": number}))  # what changes nothing need be no change
    await store.delete(last.key)


DRIVERS: Mapping[str, Callable[[Path], AbstractContextManager[Datastore]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "sqlite with a thread": _sqlite_with_a_thread,
    "etcd": _etcd,
    "kubernetes": _kubernetes,
}
SERVERS = ("etcd", "kubernetes")
"""Those that need a program."""
