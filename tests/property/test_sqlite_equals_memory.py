"""Whatever is done to both, the embedded datastore answers and tells as the model does.

Revisions and uids are compared by the order in which they appear: what they are is each store's own affair.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.sqlite import SqliteStore
from datastore.store import Change, Create, Delete, Gone, Put, Store, StoreError, Update, Write

KINDS = ("BlockAffinity", "WorkloadEndpoint")
NODES = ("", "node1", "node2")
END = "zz"


@dataclass(frozen=True)
class WriteSome:
    """What, where, for which node, and in an update or delete the places of the revision and the uid that are given."""

    items: tuple[tuple[str, Key, str, int | None, int | None], ...]


@dataclass(frozen=True)
class Read:
    key: Key


@dataclass(frozen=True)
class ListAll:
    kind: str
    namespace: str
    node: str


@dataclass(frozen=True)
class Watch:
    """From a revision of that kind that has appeared, or from a listing."""

    kind: str
    node: str
    seen: int | None


T = TypeVar("T")
Step = WriteSome | Read | ListAll | Watch

keys = st.one_of(
    st.builds(Key, st.just("BlockAffinity"), st.sampled_from("ab")),
    st.builds(Key, st.just("WorkloadEndpoint"), st.sampled_from("ab"), st.sampled_from(("one", "two"))),
)
places = st.none() | st.integers(0, 10)
"""Among those that have appeared so far, the latest first; None is none at all."""
one_write = st.tuples(st.sampled_from(("create", "update", "delete")), keys, st.sampled_from(NODES), places, places)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(WriteSome, st.lists(one_write, min_size=1, max_size=4).map(tuple)),
    st.builds(WriteSome, st.tuples(one_write)),
    st.builds(Read, keys),
    st.builds(ListAll, st.sampled_from(KINDS), st.sampled_from(("", "one")), st.sampled_from(NODES)),
    st.builds(Watch, st.sampled_from(KINDS), st.sampled_from(NODES), places),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=25))
def test_the_embedded_datastore_answers_and_tells_as_the_model_does(taken: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(story(SqliteStore(str(Path(folder) / "datastore.sqlite")), taken))
    assert told == asyncio.run(story(MemoryStore(), taken))


async def story(store: Store, taken: Sequence[Step]) -> list[str]:
    """All that the store said, a line each."""
    teller = _Teller(store)
    for step in taken:
        await teller.take(step)
    await teller.end()
    await store.close()
    return teller.lines


@dataclass
class _Teller:
    store: Store
    lines: list[str] = field(default_factory=list)
    revisions: list[tuple[str, str]] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)
    watches: list[tuple[Watch, AsyncGenerator[Change, None]]] = field(default_factory=list)

    async def take(self, step: Step) -> None:
        match step:
            case WriteSome(items):
                for result in await self.store.write_many([self._write(*item) for item in items]):
                    self.lines.append(self._result(result))
            case Read(key):
                self.lines.append(await self._get(key))
            case ListAll(kind, namespace, node):
                listing = await self.store.list(kind, namespace=namespace, node=node)
                self.lines += [f"listed {self._result(item)}" for item in listing.items]
            case Watch(kind, node, seen):
                since = self._revision(kind, seen) or (await self.store.list(kind)).revision
                self.watches.append((step, self.store.watch(kind, since=since, node=node)))

    async def end(self) -> None:
        """Lets each watch run until a last object that all of its kind are told of."""
        for kind in KINDS:
            for node in NODES:
                await self.store.create(Resource(kind, f"{END}{node}", "one", spec={"node": node}))
        for step, watch in self.watches:
            async with aclosing(watch), asyncio.timeout(10):
                async for change in watch:
                    if isinstance(change, Put) and change.resource.name.startswith(END):
                        break
                    if isinstance(change, (Put, Gone)):
                        self.lines.append(f"{step}: {self._change(change)}")

    def _write(self, what: str, key: Key, node: str, seen: int | None, uid_seen: int | None) -> Write:
        revision, uid = self._revision(key.kind, seen), _from_the_end(self.uids, uid_seen)
        made = Resource(key.kind, key.name, key.namespace, spec={"node": node, "of": what}, labels={"n": node})
        match what:
            case "create":
                return Create(made)
            case "update":
                return Update(replace(made, revision=revision, uid=uid))
            case _:
                return Delete(key, revision, uid)

    async def _get(self, key: Key) -> str:
        try:
            return self._result(await self.store.get(key))
        except StoreError as error:
            return str(error)

    def _revision(self, kind: str, place: int | None) -> str:
        return _from_the_end([revision for its_kind, revision in self.revisions if its_kind == kind], place)

    def _result(self, result: Resource | StoreError) -> str:
        if isinstance(result, StoreError):
            return str(result)
        nth = self._place(self.revisions, (result.kind, result.revision)), self._place(self.uids, result.uid)
        return f"{result.key} {dict(result.spec)} {dict(result.labels)} revision {nth[0]} uid {nth[1]}"

    def _change(self, change: Put | Gone) -> str:
        match change:
            case Put(resource):
                return f"put {self._result(resource)}"
            case Gone(key, revision):
                return f"gone {key} revision {self._place(self.revisions, (key.kind, revision))}"

    def _place(self, among: list[T], one: T) -> int:
        if one not in among:
            among.append(one)
        return among.index(one)


def _from_the_end(appeared: list[str], place: int | None) -> str:
    return "" if place is None or place >= len(appeared) else appeared[-1 - place]
