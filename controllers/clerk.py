"""From the datastore to the controllers: follows every kind that a judgement needs and lays it together.

While any of them cannot be followed there is no evidence: nobody is judged by what may have changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from controllers import settings
from controllers.evidence import Claims, Evidence
from datastore.follow import Batch, follow
from datastore.resource import Key, Resource
from datastore.resources import BlockAffinity, IPAMBlock, IPAMHandle, IPPool, Node
from datastore.store import Store, StoreError
from datastore.table import Table

log = logging.getLogger("controllers.clerk")

_TYPED = {
    "Node": Node,
    "IPAMBlock": IPAMBlock,
    "BlockAffinity": BlockAffinity,
    "IPAMHandle": IPAMHandle,
    "IPPool": IPPool,
}
_PLAIN = ("WorkloadEndpoint", "KubeControllersConfiguration")


class Clerk:
    """``on_change`` is called whenever there may be other evidence."""

    def __init__(self, store: Store, *, random: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._store, self._random, self._on_change = store, random, on_change
        self._tables: dict[str, Table[Any]] = {kind: Table(typed) for kind, typed in _TYPED.items()}
        self._plain: dict[str, dict[Key, Resource]] = {}
        self._troubles: dict[str, StoreError] = {}
        self._told_setting = ""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for kind in (*_TYPED, *_PLAIN):
                following = follow(self._store, kind, self._take, random=self._random, on_trouble=self._on_trouble)
                tasks.create_task(following, name=f"follow {kind}")

    def missing(self) -> str:
        """What is out of touch or was never listed, in words; "" when there is evidence."""
        if self._troubles:
            kind, error = next(iter(self._troubles.items()))
            return f"{kind}: {error}"
        unlisted = [kind for kind, table in self._tables.items() if not table.in_sync]
        unlisted += [kind for kind in _PLAIN if kind not in self._plain]
        return f"not listed yet: {', '.join(unlisted)}" if unlisted else ""

    def evidence(self) -> Evidence:
        nodes = self._tables["Node"]
        return Evidence(
            nodes=frozenset(key.name for key in (*nodes.values, *nodes.rejected)),
            claims=Claims.of(self._plain.get("WorkloadEndpoint", {}).values()),
            blocks={block.cidr: block for block in self._tables["IPAMBlock"].values.values() if not block.is_deleted},
            affinities=[each for each in self._tables["BlockAffinity"].values.values() if not each.is_deleted],
            handles=[each for each in self._tables["IPAMHandle"].values.values() if not each.is_deleted],
            grace_s=self._grace_s(),
        )

    def pools(self) -> list[IPPool]:
        return list(self._tables["IPPool"].values.values())

    def _grace_s(self) -> float | None:
        key = Key("KubeControllersConfiguration", "default")
        grace_s, flaw = settings.grace_s(self._plain.get(key.kind, {}).get(key))
        if flaw and flaw != self._told_setting:
            log.warning("settings.rejected %s", flaw)
        self._told_setting = flaw
        return grace_s

    def _take(self, batch: Batch) -> None:
        if batch.kind in self._tables:
            table = self._tables[batch.kind]
            for key in table.apply(batch) & table.rejected.keys():
                log.warning("resource.rejected %s why=%r", key, str(table.rejected[key]))
        else:
            known = {} if batch.is_snapshot else self._plain.setdefault(batch.kind, {})
            known.update((resource.key, resource) for resource in batch.puts)
            for key in batch.gones:
                known.pop(key, None)
            self._plain[batch.kind] = known
        self._on_change()

    def _on_trouble(self, kind: str, error: StoreError | None) -> None:
        if error is None:
            self._troubles.pop(kind, None)
        else:
            self._troubles[kind] = error
            log.warning("store.lost %s why=%r", kind, str(error))
        self._on_change()
