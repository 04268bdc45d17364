"""etcd v3 as the datastore, in Calico's own layout. ``DATASTORE_TYPE=etcdv3``.

Keys and values are :mod:`datastore.etcd_layout`'s, servers and connections :mod:`datastore.etcd_client`'s. Here is what
a write is compared with, and what a watch's messages mean.

- A revision is etcd's mod revision. It is the same for objects that are written in one transaction, and who has seen
  one of them could not go on from there without missing the others. So every write is a transaction of its own, but
  for handles: a watch of those that goes on from a revision of several tells them once more.
- etcd compares revisions, not uids. A uid is compared here, with what this client last saw at that revision, or else
  with what it reads before.

Only for use inside an event loop.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import NamedTuple

from datastore import etcd_layout as layout
from datastore import etcd_wire as wire
from datastore.etcd_client import PATIENCE_S, EtcdClient
from datastore.etcd_layout import HAS_IDENTITY, Unreadable
from datastore.etcd_settings import EtcdSettings
from datastore.etcd_trouble import Unanswered
from datastore.resource import Key, Resource, node_of
from datastore.store import (
    Change,
    Compacted,
    Conflict,
    Create,
    Delete,
    Exists,
    Gone,
    Listing,
    Mark,
    Missing,
    Put,
    Rejected,
    StoreError,
    Unavailable,
    Unread,
    Update,
    Write,
)
from datastore.uid import new_uid

REMEMBERED = 1024
"""Objects whose uid and creation time are kept, so that writing one again needs no reading."""

TRIES = 10
"""To delete an object by its uid while others keep changing it."""

WRITTEN_TOGETHER = frozenset({"IPAMHandle"})
"""Kinds of which several are written in one transaction: there is one for each pod, and they are seldom watched."""

_LARGEST_TXN = 64
"""Writes; etcd takes 128 (--max-txn-ops), counted through the levels."""

_NEVER = -1
"""A mod revision that nothing has."""

_LONGEST_REVISION = 19


class _Seen(NamedTuple):
    """An object as this client last saw it."""

    at: bytes
    mod_revision: int
    uid: str
    created: str


class _Plan(NamedTuple):
    """One write, and how its result is read from what etcd answers."""

    txn: wire.Txn
    settle: Callable[[wire.Outcome], Resource | StoreError]


class EtcdStore:
    """One client. Connects with the first call."""

    def __init__(
        self,
        settings: EtcdSettings,
        *,
        patience_s: float = PATIENCE_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = EtcdClient(settings, patience_s=patience_s)
        self._wall_clock = wall_clock
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()

    @property
    def requests(self) -> int:
        """How many were made of the servers."""
        return self._client.requests

    async def get(self, key: Key) -> Resource:
        found = await self._find(key)
        if found is None:
            raise Missing(key)
        return found

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        span = layout.keys_of_kind(kind, namespace=namespace, node=node)
        found = await self._client.range(wire.Range(*span))
        read = list(_of_kind(kind, found.stored))
        items = [each for each in read if isinstance(each, Resource)]
        unread = {
            each.key: each.why for each in read if isinstance(each, Unread) and namespace in ("", each.key.namespace)
        }
        if kind == layout.CONFIG_KEY.kind and items:
            items = [await self.get(item.key) for item in items]
        chosen = (item for item in items if namespace in ("", item.namespace) and node in ("", node_of(item)))
        ordered = sorted(chosen, key=lambda item: (item.namespace, item.name))
        return Listing(tuple(ordered), str(found.revision), unread)

    async def create(self, resource: Resource) -> Resource:
        return await self._write(Create(resource))

    async def update(self, resource: Resource) -> Resource:
        return await self._write(Update(resource))

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        return await self._write(Delete(key, revision, uid))

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        await self._look_at(writes)
        results: list[Resource | StoreError] = []
        for run in _runs(writes):
            results += await self._results_of(run)
        if results and all(isinstance(each, Unavailable) and not isinstance(each, Unanswered) for each in results):
            raise next(each for each in results if isinstance(each, Unavailable))
        return results

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        seen = _mod_revision(since)
        if seen == _NEVER:
            raise Compacted(kind, since)
        span = layout.keys_of_kind(kind, node=node)
        shares = kind in WRITTEN_TOGETHER
        start = max(seen, 1) if shares else seen + 1
        heard = self._client.watch(*span, start=start, wants_before=bool(node))
        async with aclosing(heard) as messages:
            async for message in messages:
                if message.compacted:
                    raise Compacted(kind, since)
                if message.is_created:
                    await self._check_is_kept(kind, span.start, start, message.revision)
                    yield Mark(since)
                    continue
                events = _unseen(message.events, seen) if shares else message.events
                for change in self._told(kind, node, events, message.revision):
                    yield change

    async def close(self) -> None:
        await self._client.close()

    # --- reading --------------------------------------------------------------------------------------------------

    async def _find(self, key: Key) -> Resource | None:
        if key == layout.CONFIG_KEY:
            return await self._find_config()
        if (seen := self._seen.get(key)) is not None:
            if (found := await self._of_name(key, [wire.Range(seen.at)])) is not None:
                return found
            self._seen.pop(key, None)
        return await self._of_name(key, [wire.Range(place) for place in layout.keys_of(key)]) or await self._of_name(
            key, [wire.Range(*span) for span in layout.spellings(key)]
        )

    async def _find_config(self) -> Resource | None:
        config, mirror = await self._client.read(wire.Range(layout.CONFIG), wire.Range(layout.CONFIG_MIRROR))
        if not config.stored:
            return None
        read = _read(config.stored[0])
        found = layout.mirrored(read, _read(mirror.stored[0]) if mirror.stored else None)
        self._remember(found, layout.CONFIG)
        return found

    async def _of_name(self, key: Key, ranges: Sequence[wire.Range]) -> Resource | None:
        """Raises Rejected where what stands there cannot be read."""
        if not ranges:
            return None
        answers = [await self._client.range(ranges[0])] if len(ranges) == 1 else await self._client.read(*ranges)
        for stored in (stored for answer in answers for stored in answer.stored):
            if layout.object_at(stored.key) == key:
                found = _read(stored)
                self._remember(found, stored.key)
                return found
        return None

    def _remember(self, resource: Resource, at: bytes) -> None:
        self._seen[resource.key] = _Seen(at, int(resource.revision), resource.uid, resource.created)
        self._seen.move_to_end(resource.key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    # --- writing --------------------------------------------------------------------------------------------------

    async def _write(self, write: Write) -> Resource:
        await self._look_at((write,))
        (result,) = await self._results_of((write,))
        if isinstance(result, StoreError):
            raise result
        return result

    async def _results_of(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        """Of writes to different keys, which are made in one transaction."""
        results: list[Resource | StoreError] = []
        for write, result in zip(writes, await self._done(writes), strict=True):
            if isinstance(write, Delete) and isinstance(result, (Missing, Conflict)):
                results.append(await self._delete_again(write, result))
            else:
                results.append(result)
        return results

    async def _done(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        results: list[_Plan | StoreError] = [self._planned(write) for write in writes]
        plans = [plan for plan in results if isinstance(plan, _Plan)]
        try:
            settled = iter(await self._settled(plans))
        except StoreError as error:
            return [error if isinstance(result, _Plan) else result for result in results]
        return [next(settled) if isinstance(result, _Plan) else result for result in results]

    async def _settled(self, plans: Sequence[_Plan]) -> Sequence[Resource | StoreError]:
        if len(plans) <= 1:
            return [plan.settle(await self._client.write(plan.txn)) for plan in plans]
        whole = await self._client.write(wire.Txn((), tuple(plan.txn for plan in plans)))
        outcomes = (
            answer._replace(revision=whole.revision) for answer in whole.answers if isinstance(answer, wire.Outcome)
        )
        return [plan.settle(outcome) for plan, outcome in zip(plans, outcomes, strict=True)]

    async def _delete_again(self, write: Delete, result: Resource | StoreError) -> Resource | StoreError:
        """Where not the object, but what we thought of it, was wrong: its spelling, or its revision."""
        for _ in range(TRIES):
            try:
                found = await self._find(write.key)
            except StoreError as error:
                return error
            if found is None:
                return Missing(write.key)
            if write.revision not in ("", found.revision) or write.uid not in ("", found.uid):
                return Conflict(write.key)
            (result,) = await self._done((write,))
            if not isinstance(result, (Missing, Conflict)):
                break
        return result

    async def _look_at(self, writes: Sequence[Write]) -> None:
        """Read what cannot be planned without. One that cannot be read is none of the others' business."""
        for write in writes:
            with suppress(Rejected):
                if (key := self._unknown(write)) is not None:
                    await self._find(key)

    def _unknown(self, write: Write) -> Key | None:
        """The object that has to be read before it can be written. Raises Rejected for a name that has no place."""
        match write:
            case Update(resource) if resource.kind in HAS_IDENTITY or resource.key == layout.CONFIG_KEY:
                seen = self._seen.get(resource.key)
                return None if seen and str(seen.mod_revision) == resource.revision else resource.key
            case Delete(key, _, uid) if key not in self._seen and (uid or len(layout.keys_of(key)) != 1):
                return key
        return None

    def _planned(self, write: Write) -> _Plan | StoreError:
        try:
            match write:
                case Create(resource):
                    return self._creation(resource)
                case Update(resource):
                    return self._replacement(resource)
                case Delete():
                    return self._deletion(write)
        except StoreError as error:
            return error

    def _creation(self, resource: Resource) -> _Plan:
        at = layout.key_for(resource)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall_clock()))
        made = _stamped(resource, new_uid(), now)
        value = layout.value_of(made)
        txn = wire.Txn((wire.never_written(at),), _puts(made, at, value))

        def settle(outcome: wire.Outcome) -> Resource | StoreError:
            return self._written(made, at, value, outcome.revision) if outcome.is_done else Exists(resource.key)

        return _Plan(txn, settle)

    def _replacement(self, resource: Resource) -> _Plan:
        key, at = resource.key, layout.key_for(resource)
        seen = self._seen.get(key)
        expected = _mod_revision(resource.revision)
        if seen is not None and seen.mod_revision == expected and resource.uid not in ("", seen.uid):
            expected = _NEVER
        made = _stamped(resource, seen.uid, seen.created) if seen else resource
        value = layout.value_of(made)
        txn = wire.Txn((wire.unchanged(at, expected),), _puts(made, at, value), (wire.Range(at, keys_only=True),))

        def settle(outcome: wire.Outcome) -> Resource | StoreError:
            if outcome.is_done:
                return self._written(made, at, value, outcome.revision)
            self._seen.pop(key, None)
            return Conflict(key) if _first(outcome) else Missing(key)

        return _Plan(txn, settle)

    def _deletion(self, write: Delete) -> _Plan:
        key, seen = write.key, self._seen.get(write.key)
        at = seen.at if seen else (*layout.keys_of(key), b"")[0]
        if not at:
            raise Missing(key)
        mirror = (wire.Delete(layout.CONFIG_MIRROR),) if at == layout.CONFIG else ()
        txn = wire.Txn(_conditions(write, at, seen), (wire.Delete(at), *mirror), (wire.Range(at, keys_only=True),))

        def settle(outcome: wire.Outcome) -> Resource | StoreError:
            self._seen.pop(key, None)
            removed = _first(outcome)
            if removed is None:
                return Missing(key)
            return self._removed(key, removed) if outcome.is_done else Conflict(key)

        return _Plan(txn, settle)

    def _removed(self, key: Key, stored: wire.Stored) -> Resource:
        """Of one that cannot be read no more than its name: it is gone all the same."""
        bare = Resource(key.kind, key.name, key.namespace, revision=str(stored.mod_revision))
        try:
            return _read(stored)
        except Rejected:
            return bare

    def _written(self, made: Resource, at: bytes, value: bytes, revision: int) -> Resource:
        """What was written, as others will read it."""
        if made.kind in HAS_IDENTITY or at == layout.CONFIG:
            written = made.stamped(revision=str(revision), uid=made.uid, created=made.created)
        else:
            written = layout.read(at, value, revision=str(revision))
        self._remember(written, at)
        return written

    # --- watching -------------------------------------------------------------------------------------------------

    async def _check_is_kept(self, kind: str, at: bytes, start: int, newest: int) -> None:
        """Raises Compacted. etcd itself says so later, and waits where it never gave that revision."""
        if start > newest + 1:
            raise Compacted(kind, str(start - 1))
        if start == newest + 1:
            return
        try:
            await self._client.range(wire.Range(at, revision=start, limit=1, keys_only=True))
        except Unavailable as error:
            if "required revision has been compacted" in error.what:
                raise Compacted(kind, str(start - 1)) from None
            raise

    def _told(self, kind: str, node: str, events: Sequence[wire.Event], newest: int) -> Iterable[Change]:
        changes = [change for event in events if (change := self._change(kind, node, event)) is not None]
        return changes or [Mark(str(events[-1].stored.mod_revision if events else newest))]

    def _change(self, kind: str, node: str, event: wire.Event) -> Change | None:
        """What a watcher of ``node`` (of all, if "") is told; None where it does not concern that node."""
        stored, revision = event.stored, str(event.stored.mod_revision)
        named = layout.object_at(stored.key)
        if named is None:
            return None
        if event.is_deletion:
            self._seen.pop(named, None)
            return Gone(named, revision) if self._was_of(node, event.before) else None
        try:
            read = _read(stored)
        except Rejected as error:
            return Unread(named, error, revision)
        if node in ("", node_of(read)):
            return Put(read)
        return Gone(named, revision) if node and event.before and self._was_of(node, event.before) else None

    def _was_of(self, node: str, before: wire.Stored | None) -> bool:
        """Also where it is not known any more: who is told of the end of what he never had loses nothing."""
        if not node or before is None:
            return True
        try:
            return node_of(_read(before)) == node
        except Rejected:
            return True


def _mod_revision(revision: str) -> int:
    """_NEVER for what cannot be a revision of ours."""
    is_number = revision.isascii() and revision.isdigit() and len(revision) < _LONGEST_REVISION
    return int(revision) if is_number else _NEVER


def _unseen(events: Sequence[wire.Event], seen: int) -> Sequence[wire.Event]:
    """Without the one of revision ``seen``; where it has several, who saw it may have seen only some of them."""
    of_that = [event for event in events if event.stored.mod_revision == seen]
    return [event for event in events if event not in of_that] if len(of_that) == 1 else events


def _of_kind(kind: str, stored: Iterable[wire.Stored]) -> Iterable[Resource | Unread]:
    """One that cannot be read stops no other."""
    for one in stored:
        named = layout.object_at(one.key)
        if named is None or named.kind != kind:
            continue
        try:
            yield _read(one)
        except Rejected as error:
            yield Unread(named, error, str(one.mod_revision))


def _read(stored: wire.Stored) -> Resource:
    """Raises Rejected."""
    try:
        return layout.read(stored.key, stored.value, revision=str(stored.mod_revision))
    except Unreadable as error:
        key = stored.key.decode(errors="replace")
        raise Rejected(key, f"what etcd has there cannot be read: {error}; correct it or delete it") from None


def _stamped(resource: Resource, uid: str, created: str) -> Resource:
    is_anybody = resource.kind in HAS_IDENTITY or resource.key == layout.CONFIG_KEY
    return resource.stamped(revision="", uid=uid if is_anybody else "", created=created if is_anybody else "")


def _puts(made: Resource, at: bytes, value: bytes) -> tuple[wire.Put, ...]:
    if at != layout.CONFIG:
        return (wire.Put(at, value),)
    return wire.Put(at, value), wire.Put(layout.CONFIG_MIRROR, layout.mirror_of(made))


def _conditions(write: Delete, at: bytes, seen: _Seen | None) -> tuple[wire.Compare, ...]:
    """What has to hold of an object that is to be deleted: that it is still the one that we saw, if we care."""
    expected = _mod_revision(write.revision) if write.revision else None
    if write.uid:
        if seen is None or seen.uid != write.uid or expected not in (None, seen.mod_revision):
            expected = _NEVER
        else:
            expected = seen.mod_revision
    return () if expected is None else (wire.unchanged(at, expected),)


def _first(outcome: wire.Outcome) -> wire.Stored | None:
    answer = outcome.answers[0]
    return answer.stored[0] if isinstance(answer, wire.Found) and answer.stored else None


def _key_of(write: Write) -> Key:
    return write.key if isinstance(write, Delete) else write.resource.key


def _runs(writes: Sequence[Write]) -> Iterable[Sequence[Write]]:
    """What goes into one transaction each, in order: etcd writes no key twice in one."""
    run: list[Write] = []
    for write in writes:
        key, keys = _key_of(write), {_key_of(each) for each in run}
        may_join = key.kind in WRITTEN_TOGETHER and key not in keys and len(run) < _LARGEST_TXN
        if run and not (may_join and all(each.kind in WRITTEN_TOGETHER for each in keys)):
            yield run
            run = []
        run.append(write)
    if run:
        yield run
