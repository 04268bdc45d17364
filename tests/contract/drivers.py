"""The drivers that the contract suite runs over. A new driver is one more entry of DRIVERS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from datastore.memory import Memory, MemoryStore
from datastore.resource import Resource
from datastore.store import Store


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

CHANGES_OF_AN_OVERFLOW = 3 * KEPT


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


async def overflow_the_log(store: Store, kind: str) -> None:
    """Writes more changes than a datastore with KEPT keeps, and leaves nothing."""
    last = await store.create(Resource(kind, "overflow"))
    for _ in range(CHANGES_OF_AN_OVERFLOW - 2):
        last = await store.update(last)
    await store.delete(last.key)


DRIVERS: Mapping[str, Callable[[Path], AbstractContextManager[Datastore]]] = {
    "memory": _memory,
}
