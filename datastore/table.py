"""The present state of one kind as typed values, kept up to date by batches: what a room reads instead of the store.

Level-based: what a table holds depends on the last state of each object, never on how it came there. A document that
cannot be read, by the datastore's driver or here, does not count: the last good value of its object stays, and
``rejected`` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic

from datastore.codec import V, decode
from datastore.follow import Batch
from datastore.resource import Key, Resource
from datastore.store import Rejected


class Table(Generic[V]):
    """``in_sync`` once a first snapshot came. ``generation`` grows with each batch that changed anything here."""

    def __init__(self, kind: type[V]) -> None:
        self.in_sync = False
        self.generation = 0
        self._kind = kind
        self._values: dict[Key, V] = {}
        self._rejected: dict[Key, Rejected] = {}

    @property
    def values(self) -> Mapping[Key, V]:
        return MappingProxyType(self._values)

    @property
    def rejected(self) -> Mapping[Key, Rejected]:
        """Objects whose newest document cannot be read; of some, an older value stands in ``values``."""
        return MappingProxyType(self._rejected)

    def apply(self, batch: Batch) -> frozenset[Key]:
        """The keys whose values, or what is wrong with them, changed."""
        changed = {resource.key for resource in batch.puts if self._put(resource)}
        changed.update(key for key, why in batch.unreadable.items() if self._reject(key, why))
        changed.update(key for key in self._gone(batch) if self._remove(key))
        is_first = batch.is_snapshot and not self.in_sync
        if changed or is_first:
            self.generation += 1
        self.in_sync = self.in_sync or is_first
        return frozenset(changed)

    def _gone(self, batch: Batch) -> set[Key]:
        if not batch.is_snapshot:
            return set(batch.gones)
        return (self._values.keys() | self._rejected.keys()) - (
            {resource.key for resource in batch.puts} | batch.unreadable.keys()
        )

    def _put(self, resource: Resource) -> bool:
        key = resource.key
        before = self._rejected.pop(key, None)
        if before is None and key in self._values and self._values[key].resource == resource:
            return False
        try:
            self._values[key] = decode(self._kind, resource)
        except Rejected as error:
            self._rejected[key] = error
            return str(error) != str(before)
        return True

    def _reject(self, key: Key, why: Rejected) -> bool:
        before = self._rejected.get(key)
        self._rejected[key] = why
        return str(why) != str(before)

    def _remove(self, key: Key) -> bool:
        was_known = key in self._values or key in self._rejected
        self._values.pop(key, None)
        self._rejected.pop(key, None)
        return was_known


def rejected(tables: Iterable[Table[Any]]) -> dict[Key, Rejected]:
    """What is wrong in any of them."""
    return {key: why for table in tables for key, why in table.rejected.items()}
