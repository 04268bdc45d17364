"""From the datastore into felix: follows every kind that felix reads, and says which of them are out of touch.

Tables keep what is known; the view is told of every difference. What allocation is decided on (reservations, the
configuration of IPAM, the blocks) and the cluster's lock are followed here too, so that an ADD reads nothing from the
datastore: what is a moment old is found out by the writes, which carry the revision that was seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from datastore.follow import Batch, follow
from datastore.resource import Key
from datastore.resources import (
    BlockAffinity,
    ClusterInformation,
    FelixConfiguration,
    IPAMBlock,
    IPAMConfig,
    IPPool,
    IPReservation,
    Node,
    WorkloadEndpoint,
)
from datastore.store import Store, StoreError
from datastore.table import Table, rejected
from datastore.unreadable import Reasons
from felix.dataplane import Dataplane
from ipam.facts import NO_CONFIG, Facts
from ipam.reserved import Reserved

log = logging.getLogger("felix.feed")

_OF_THE_VIEW = {
    "IPPool": IPPool,
    "Node": Node,
    "BlockAffinity": BlockAffinity,
    "IPAMBlock": IPAMBlock,
    "WorkloadEndpoint": WorkloadEndpoint,
    "FelixConfiguration": FelixConfiguration,
}
_OF_IPAM = {"IPReservation": IPReservation, "IPAMConfiguration": IPAMConfig, "ClusterInformation": ClusterInformation}
_OWN_ONLY = ("WorkloadEndpoint",)
"""A node does not follow every pod of the cluster, only its own."""


class Feed:
    """``on_touch`` hears, whenever it changes, what is out of touch and why; "" when nothing is; ``on_block`` of each
    block that is another, None for one that is gone; ``on_unreadable`` what cannot be read, whenever that changes.
    ``updates`` counts changes by kind, ``lists`` whole lists.
    """

    def __init__(
        self,
        store: Store,
        dataplane: Dataplane,
        *,
        random: Callable[[], float],
        on_touch: Callable[[str], None],
        on_block: Callable[[Key, IPAMBlock | None], None] = lambda key, block: None,
        on_unreadable: Callable[[Reasons], None] = lambda found: None,
    ) -> None:
        self._on_block, self._on_unreadable = on_block, on_unreadable
        self._store, self._dataplane, self._random, self._on_touch = store, dataplane, random, on_touch
        self._tables: dict[str, Table[Any]] = {kind: Table(value) for kind, value in (_OF_THE_VIEW | _OF_IPAM).items()}
        self._troubles: dict[str, StoreError] = {}
        self._listed = asyncio.Event()
        self._bad_settings: tuple[str, ...] = ()
        self._unreadable: Reasons = {}
        self.updates: Counter[str] = Counter(dict.fromkeys(self._tables, 0))
        self.lists = 0

    async def run(self) -> None:
        """Until cancelled."""
        node = self._dataplane.view.node
        async with asyncio.TaskGroup() as tasks:
            for kind in self._tables:
                following = follow(
                    self._store,
                    kind,
                    self._take,
                    random=self._random,
                    node=node if kind in _OWN_ONLY else "",
                    on_trouble=self._on_trouble,
                )
                tasks.create_task(following, name=f"follow {kind}")

    async def listed(self) -> None:
        """Return once every kind has been listed."""
        await self._listed.wait()

    @property
    def missing(self) -> str:
        """The kinds that were never listed, in words; "" when all were."""
        return ", ".join(kind for kind, table in self._tables.items() if not table.in_sync)

    @property
    def out_of_touch(self) -> int:
        """Of how many kinds the datastore tells nothing at the moment."""
        return len(self._troubles)

    @property
    def unreadable(self) -> Counter[str]:
        """How many objects cannot be read, by kind."""
        return Counter({kind: len(table.rejected) for kind, table in self._tables.items()})

    @property
    def is_unlocked(self) -> bool:
        """Whether the cluster is known to be open: False also where that is not known, and the store has to be asked.

        Whoever locks the cluster is heard of in milliseconds, or else that nothing is heard any more.
        """
        cluster = self._tables["ClusterInformation"].values.get(Key("ClusterInformation", "default"))
        return cluster is not None and cluster.is_ready and "ClusterInformation" not in self._troubles

    async def facts(self) -> Facts:
        """What an assignment is decided on. Waits for the first lists; a moment old afterwards."""
        await self.listed()
        config = self._tables["IPAMConfiguration"].values.get(Key("IPAMConfiguration", "default"), NO_CONFIG)
        node = self._tables["Node"].values.get(Key("Node", self._dataplane.view.node))
        return Facts(
            pools=tuple(self._tables["IPPool"].values.values()),
            config=config,
            reserved=Reserved.of(self._tables["IPReservation"].values.values()),
            node_labels=node.resource.labels if node is not None else {},
        )

    def _take(self, batch: Batch) -> None:
        table = self._tables[batch.kind]
        changed = table.apply(batch)
        self.updates[batch.kind] += len(changed)
        self.lists += batch.is_snapshot
        self._report_unreadable()
        if batch.kind == "IPAMBlock":
            for key in changed:
                self._on_block(key, table.values.get(key))
        if batch.kind in _OF_THE_VIEW:
            self._tell_view(batch.kind, changed)
            self._report_settings()
        if not self.missing and not self._listed.is_set():
            self._listed.set()
            self._report()
            self._dataplane.changed()  # a pass is due: readiness and what is confirmed waited for the last kind

    def _tell_view(self, kind: str, changed: frozenset[Key]) -> None:
        view, table = self._dataplane.view, self._tables[kind]
        is_news = False
        for key in changed:
            is_news |= view.put(table.values[key]) if key in table.values else view.gone(key)
        is_first = view.listed(kind)
        if is_news or is_first:
            self._dataplane.changed()

    def _report_unreadable(self) -> None:
        found = rejected(self._tables.values())
        if found != self._unreadable:
            self._unreadable = found
            self._on_unreadable(found)

    def _report_settings(self) -> None:
        troubles = self._dataplane.view.configured.troubles
        for trouble in troubles:
            if trouble not in self._bad_settings:
                log.warning("settings.rejected %s", trouble)
        self._bad_settings = troubles

    def _on_trouble(self, kind: str, error: StoreError | None) -> None:
        if error is None:
            self._troubles.pop(kind, None)
        else:
            self._troubles[kind] = error
        self._report()

    def _report(self) -> None:
        if self._troubles:
            kind, error = next(iter(self._troubles.items()))
            self._on_touch(f"{kind} and {len(self._troubles) - 1} other kinds: {error}")
        else:
            self._on_touch(f"not listed yet: {self.missing}" if self.missing else "")
