"""From the datastore to the controllers: follows every kind that a judgement needs and lays it together.

While any of them cannot be followed there is no evidence: nobody is judged by what may have changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from controllers import settings
from controllers.evidence import Claim, Claims, Evidence
from datastore.follow import Batch, follow
from datastore.resource import Key, Resource
from datastore.resources import BlockAffinity, IPAMBlock, IPAMHandle, IPPool, Node
from datastore.store import Rejected, Store, StoreError
from datastore.table import Table, rejected
from datastore.unreadable import Reasons, in_words

log = logging.getLogger("controllers.clerk")

T = TypeVar("T")

_TYPED = {
    "Node": Node,
    "IPAMBlock": IPAMBlock,
    "BlockAffinity": BlockAffinity,
    "IPAMHandle": IPAMHandle,
    "IPPool": IPPool,
}
_SETTINGS = "KubeControllersConfiguration"
_ENDPOINTS = "WorkloadEndpoint"
"""Of each only its claim is kept: there are as many as pods in the cluster."""


class Clerk:
    """``on_change`` is called whenever there may be other evidence."""

    def __init__(self, store: Store, *, random: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._store, self._random, self._on_change = store, random, on_change
        self._tables: dict[str, Table[Any]] = {kind: Table(typed) for kind, typed in _TYPED.items()}
        self._settings: dict[Key, Resource] | None = None
        self._claims: dict[Key, Claim] | None = None
        self._unreadable: dict[Key, Rejected] = {}
        self._troubles: dict[str, StoreError] = {}
        self._told_setting = ""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind in (*_TYPED, _SETTINGS, _ENDPOINTS):
                following = follow(self._store, kind, self._take, random=self._random, on_trouble=self._on_trouble)
                tasks.create_task(following, name=f"follow {kind}")

    def missing(self) -> str:
        """What is out of touch or was never listed, in words; "" when there is evidence."""
        if self._troubles:
            kind, error = next(iter(self._troubles.items()))
            return f"{kind}: {error}"
        unlisted = [kind for kind, table in self._tables.items() if not table.in_sync]
        unlisted += [_SETTINGS] if self._settings is None else []
        unlisted += [_ENDPOINTS] if self._claims is None else []
        return f"not listed yet: {', '.join(unlisted)}" if unlisted else ""

    def evidence(self) -> Evidence:
        nodes = self._tables["Node"]
        return Evidence(
            nodes=frozenset(key.name for key in (*nodes.values, *nodes.rejected)),
            claims=Claims.together((self._claims or {}).values()) | Claims.of((), self._unreadable),
            blocks={block.cidr: block for block in self._tables["IPAMBlock"].values.values() if not block.is_deleted},
            affinities=[each for each in self._tables["BlockAffinity"].values.values() if not each.is_deleted],
            handles=[each for each in self._tables["IPAMHandle"].values.values() if not each.is_deleted],
            grace_s=self._grace_s(),
        )

    @property
    def unreadable(self) -> Reasons:
        """What cannot be read."""
        return {**rejected(self._tables.values()), **self._unreadable}

    def pools(self) -> list[IPPool]:
        return list(self._tables["IPPool"].values.values())

    def _grace_s(self) -> float | None:
        grace_s, flaw = settings.grace_s((self._settings or {}).get(Key(_SETTINGS, "default")))
        if flaw and flaw != self._told_setting:
            log.warning("settings.rejected %s", flaw)
        self._told_setting = flaw
        return grace_s

    def _take(self, batch: Batch) -> None:
        is_news = True
        if batch.kind == _ENDPOINTS:
            self._claims = _applied(self._claims, batch, Claim.of)
            self._note_endpoints(batch)
        elif batch.kind == _SETTINGS:
            self._settings = _applied(self._settings, batch, lambda resource: resource)
        else:
            is_news = self._fill(batch)
        if is_news:
            self._on_change()

    def _note_endpoints(self, batch: Batch) -> None:
        """What an endpoint said while it could be read stays its claim; it may have another one now."""
        settled = self._unreadable.keys() if batch.is_snapshot else {*(each.key for each in batch.puts), *batch.gones}
        for key in batch.unreadable.keys() - self._unreadable.keys():
            log.warning("object.unreadable %s", in_words(key, batch.unreadable[key]))
        kept = {key: why for key, why in self._unreadable.items() if key not in settled}
        self._unreadable = {**kept, **batch.unreadable}

    def _fill(self, batch: Batch) -> bool:
        """Of nodes only their coming and going is news: in Kubernetes they tell all the time that they are alive."""
        table = self._tables[batch.kind]
        before, was_listed = table.values.keys() | table.rejected.keys(), table.in_sync
        changed = table.apply(batch)
        for key in changed & table.rejected.keys():
            log.warning("object.unreadable %s", in_words(key, table.rejected[key]))
        if batch.kind == "Node":
            return before != table.values.keys() | table.rejected.keys() or not was_listed
        return bool(changed) or not was_listed

    def _on_trouble(self, kind: str, error: StoreError | None) -> None:
        if error is None:
            self._troubles.pop(kind, None)
        else:
            self._troubles[kind] = error
            log.warning("store.lost %s why=%r", kind, str(error))
        self._on_change()


def _applied(before: dict[Key, T] | None, batch: Batch, read: Callable[[Resource], T]) -> dict[Key, T]:
    known = {} if batch.is_snapshot or before is None else before
    known.update((resource.key, read(resource)) for resource in batch.puts)
    for key in batch.gones:
        known.pop(key, None)
    return known
