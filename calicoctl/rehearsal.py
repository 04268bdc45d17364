"""A datastore as it would be: read whole once, then written in memory alone.

What is planned runs through the very code that would do it, over this in place of the datastore, so that a plan cannot
differ from what is done in how documents are read, judged and stored. What nobody has written keeps its revision:
a document that says which version it replaces is judged as it would be.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from datastore.resource import KINDS, Key, Resource, node_of
from datastore.store import (
    Change,
    Conflict,
    Create,
    Delete,
    Exists,
    Listing,
    Missing,
    NotSupported,
    Store,
    StoreError,
    Update,
    Write,
)


async def read(store: Store) -> Rehearsal:
    """All that ``store`` holds. Raises Unavailable."""
    return Rehearsal([item for kind in KINDS for item in (await store.list(kind)).items])


class Rehearsal:
    """A Store, but for watches. Nothing in it ever waits."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._stored = {resource.key: resource for resource in resources}
        self._writes = 0

    @property
    def stored(self) -> Mapping[Key, Resource]:
        """What it holds at this moment."""
        return MappingProxyType(dict(self._stored))

    def copy(self) -> Rehearsal:
        """Another one that holds the same."""
        return Rehearsal(self._stored.values())

    async def get(self, key: Key) -> Resource:
        if key not in self._stored:
            raise Missing(key)
        return self._stored[key]

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        found = [
            resource
            for key, resource in self._stored.items()
            if key.kind == kind and namespace in ("", key.namespace) and node in ("", node_of(resource))
        ]
        return Listing(tuple(sorted(found, key=lambda each: (each.namespace, each.name))), str(self._writes))

    async def create(self, resource: Resource) -> Resource:
        if resource.key in self._stored:
            raise Exists(resource.key)
        return self._put(replace(resource, uid=f"planned-{self._writes}", created=""))

    async def update(self, resource: Resource) -> Resource:
        before = self._expect(resource.key, resource.revision or "none", resource.uid)
        return self._put(replace(resource, uid=before.uid, created=before.created))

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        before = self._expect(key, revision, uid)
        del self._stored[key]
        return before

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        return [await self._result_of(write) for write in writes]

    def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        """Raises NotSupported: there is nobody else who writes."""
        raise NotSupported("watch", Key(kind, ""))

    async def close(self) -> None:
        pass

    async def _result_of(self, write: Write) -> Resource | StoreError:
        try:
            match write:
                case Create(resource):
                    return await self.create(resource)
                case Update(resource):
                    return await self.update(resource)
                case Delete(key, revision, uid):
                    return await self.delete(key, revision=revision, uid=uid)
        except StoreError as error:
            return error

    def _put(self, resource: Resource) -> Resource:
        self._writes += 1
        self._stored[resource.key] = written = replace(resource, revision=f"planned-{self._writes}")
        return written

    def _expect(self, key: Key, revision: str, uid: str) -> Resource:
        stored = self._stored.get(key)
        if stored is None:
            raise Missing(key)
        if revision not in ("", stored.revision) or uid not in ("", stored.uid):
            raise Conflict(key)
        return stored
