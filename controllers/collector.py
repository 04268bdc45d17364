"""Gives back what nobody needs: looks when something changed or a time has come, and acts if this replica leads.

The order of one pass: addresses, then the affinities and blocks that are free of them, then handles. Before an address
goes, its node and its node's endpoints are read from the datastore once more; then it is released with the handle and
the sequence that were judged, so that an address given out again meanwhile stays with its new holder. A pass that
is cut short anywhere is continued by the next.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go (garbageCollectKnownLeaks, releaseNodes).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

from controllers import metrics
from controllers.clerk import Clerk
from controllers.docket import Docket
from controllers.evidence import Claims, Evidence, use
from controllers.findings import Suspect, What, find
from controllers.leader import Leader
from controllers.metrics import Figures
from datastore.codec import decode
from datastore.resource import Key
from datastore.resources import AllocationAttribute, BlockAffinity, ClusterInformation, IPAMBlock, IPAMHandle
from datastore.store import Conflict, Missing, Store, StoreError
from ipam import affinity, facts, handles
from ipam import block as blocks
from ipam.block import Release, StaleRelease
from ipam.gc import Leak
from ipam.records import Contention, Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

log = logging.getLogger("controllers.collector")

GATHERING_S, LONGEST_GATHERING_S = 1.0, 10.0
"""A node's end is many changes: they are looked at together."""
RESTS_PER_LOOK = 20.0
"""A look at 10,000 pods takes 0.15 s. However fast they come and go, looking takes a twentieth of a core at most."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
MOST_AT_ONCE = 10_000
"""Addresses in one pass, upstream's number."""


class Collector:
    """``released`` counts what was given back, by what it was; ``reclaimed`` addresses, by node; ``failures`` passes
    that the datastore cut short.
    """

    def __init__(
        self,
        store: Store,
        me: str,
        *,
        random: Callable[[], float],
        wall_ns: Callable[[], int],
        period_s: float,
    ) -> None:
        self._store, self._wall_ns, self._period_s = store, wall_ns, period_s
        self._changed = asyncio.Event()
        self.clerk = Clerk(store, random=random, on_change=self._changed.set)
        self.leader = Leader(store, me, wall_ns=wall_ns, on_change=self._changed.set)
        self.docket = Docket()
        self.released: Counter[str] = Counter()
        self.reclaimed: Counter[tuple[str, str]] = Counter()
        self.failures = 0
        self._in_a_row = 0
        self._look_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.clerk.run(), name="clerk")
            tasks.create_task(self.leader.run(), name="leader")
            tasks.create_task(self._collect(), name="collector")

    def metrics(self) -> str:
        """For Prometheus."""
        return metrics.text(
            Figures(
                self.clerk.evidence(),
                self.clerk.pools(),
                self.docket.since,
                self.reclaimed,
                self.released,
                self.failures,
                self.leader.leads,
                Counter(key.kind for key in self.clerk.unreadable),
            )
        )

    async def _collect(self) -> NoReturn:
        while True:
            await self._wait()
            if self.clerk.missing():
                continue
            began = _now()
            evidence = self.clerk.evidence()
            self.docket = self.docket.look(find(evidence), now=began)
            self._look_s = _now() - began
            due = self.docket.due(now=_now())
            if not self.leader.leads or (not due and not self._cold(evidence)):
                continue
            try:
                await self._act(evidence, due)
                self._in_a_row = 0
            except (StoreError, Contention) as error:
                self.failures, self._in_a_row = self.failures + 1, self._in_a_row + 1
                log.warning("collector.cut_short why=%r", str(error))

    async def _wait(self) -> None:
        """For news, or for the next time at which somebody is due. News that come together are one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._longest_wait_s()):
                await self._changed.wait()
        await asyncio.sleep(max(GATHERING_S, min(self._look_s * RESTS_PER_LOOK, LONGEST_GATHERING_S)))
        self._changed.clear()

    def _longest_wait_s(self) -> float:
        if self._in_a_row:
            return min(FIRST_PAUSE_S * 2.0 ** min(self._in_a_row - 1, 10), LONGEST_PAUSE_S)
        due_at = self.docket.next_at(now=_now())
        return self._period_s if due_at is None else max(0.0, min(self._period_s, due_at - _now()))

    # --- acting --------------------------------------------------------------------------------------------------

    async def _act(self, evidence: Evidence, due: list[Suspect]) -> None:
        """Raises StoreError, Contention; what was done stays done."""
        if await self._is_locked():
            log.info("collector.waits the datastore is locked")
            return
        # Nothing is remembered of blocks from one pass to the next: a release must be judged by what is stored.
        releaser = Releaser(
            self._store,
            BlockWriter(Records(self._store)),
            facts=lambda: facts.read_cluster(self._store),
            wall_ns=self._wall_ns,
        )
        await self._release_addresses(evidence, [each for each in due if each.what is What.ADDRESS], releaser)
        for each in due:
            if not self.leader.leads:
                return
            match each.subject:
                case BlockAffinity() as owned:
                    await self._release_affinity(each, owned)
                case IPAMBlock() as block:
                    await self._release_block(each, block)
                case IPAMHandle() as handle:
                    await self._delete_handle(each, handle)
        await self._thaw(evidence)

    async def _is_locked(self) -> bool:
        try:
            return not decode(ClusterInformation, await self._store.get(Key("ClusterInformation", "default"))).is_ready
        except Missing:
            return True

    async def _release_addresses(self, evidence: Evidence, due: list[Suspect], releaser: Releaser) -> None:
        guilty = [each for each in due if isinstance(each.subject, Leak)][:MOST_AT_ONCE]
        if not guilty:
            return
        latest = await self._latest(evidence, {each.node for each in guilty})
        spared = [each for each in guilty if _alibi(latest, each)]
        spared_handles = {_leak(each).handle for each in spared}
        spared = [each for each in guilty if each in spared or _leak(each).handle in spared_handles - {""}]
        for each in spared:
            log.info("spared address=%s why=%r", each.name, _alibi(latest, each) or "its holder uses another address")
        self.docket = self.docket.without(spared)
        for cidr, group in self._by_block(evidence, [each for each in guilty if each not in spared]).items():
            if not self.leader.leads:
                return
            await self._release_group(cidr, group, releaser)

    async def _latest(self, evidence: Evidence, nodes: Iterable[str]) -> Evidence:
        """The evidence with what the datastore says this moment of these nodes."""
        there, claims = set(evidence.nodes), evidence.claims
        for node in sorted(nodes):
            listed = await self._store.list("WorkloadEndpoint", node=node)
            claims |= Claims.of(listed.items, listed.unreadable)
            try:
                await self._store.get(Key("Node", node))
                there.add(node)
            except Missing:
                there.discard(node)
        return replace(evidence, nodes=frozenset(there), claims=claims)

    def _by_block(self, evidence: Evidence, guilty: Iterable[Suspect]) -> Mapping[str, list[Suspect]]:
        """One block a group: a release that is out of date in one does not hold up the others."""
        groups: dict[str, list[Suspect]] = {}
        for each in guilty:
            address = _leak(each).address
            cidr = next((str(cidr) for cidr in evidence.blocks if address in cidr), str(address))
            groups.setdefault(cidr, []).append(each)
        return groups

    async def _release_group(self, cidr: str, group: list[Suspect], releaser: Releaser) -> None:
        leaks = [_leak(each) for each in group]
        try:
            await releaser.release_addresses([Release(leak.address, leak.handle, leak.sequence) for leak in leaks])
        except StaleRelease as error:
            log.info("kept block=%s why=%r", cidr, str(error))
            self.docket = self.docket.without(group)
            return
        for each, leak in zip(group, leaks, strict=True):
            self.reclaimed[cidr, each.node] += 1
            self._tell("address", str(leak.address), each, f"handle={leak.handle} sequence={leak.sequence}")

    async def _release_affinity(self, suspect: Suspect, owned: BlockAffinity) -> None:
        """A node that is back keeps its blocks."""
        if suspect.gone_node and await self._exists(Key("Node", owned.node)):
            self.docket = self.docket.without([suspect])
            return
        with suppress(affinity.ClaimedByOther, affinity.NotEmpty):
            must_be_empty = not suspect.gone_node
            await affinity.release(Records(self._store), owned.node, owned.cidr, must_be_empty=must_be_empty)
            self._tell("affinity", str(owned.cidr), suspect)

    async def _release_block(self, suspect: Suspect, block: IPAMBlock) -> None:
        with suppress(affinity.ClaimedByOther, affinity.NotEmpty, affinity.ChangedMeanwhile):
            await affinity.release(
                Records(self._store), block.node, block.cidr, must_be_empty=True, sequence=block.sequence
            )
            self._tell("block", str(block.cidr), suspect)

    async def _delete_handle(self, suspect: Suspect, handle: IPAMHandle) -> None:
        """Only the record that was judged: whoever takes an address by it writes it first."""
        read = [await Records(self._store).block(cidr) for cidr in handles.blocks_of(handle)]
        if any(blocks.held_by(block, handle.handle) for block in read if block is not None):
            return
        with suppress(Conflict, Missing):
            resource = handle.resource
            await self._store.delete(resource.key, revision=resource.revision, uid=resource.uid)
            self._tell("handle", handle.handle, suspect)

    async def _exists(self, key: Key) -> bool:
        try:
            await self._store.get(key)
        except Missing:
            return False
        return True

    # --- addresses that have rested -------------------------------------------------------------------------------

    def _cold(self, evidence: Evidence) -> list[IPAMBlock]:
        return [block for block in evidence.blocks.values() if any(each.released_at for each in block.attributes)]

    async def _thaw(self, evidence: Evidence) -> None:
        """In blocks that nobody else writes any more."""
        cold = self._cold(evidence)
        if not cold:
            return
        cooldown_s = (await facts.read_config(self._store)).cooldown_s
        writer = BlockWriter(Records(self._store))
        now = datetime.fromtimestamp(self._wall_ns() / 1e9, UTC)
        for block in cold:
            if blocks.thaw(block, now=now, cooldown_s=cooldown_s) is not block:
                await writer.change(
                    block.cidr, lambda found: (blocks.thaw(found, now=now, cooldown_s=cooldown_s), True)
                )

    def _tell(self, what: str, name: str, suspect: Suspect, more: str = "") -> None:
        self.released[what] += 1
        waited_s = _now() - self.docket.since.get(suspect, _now())
        log.info("release %s=%s node=%s %s why=%r after_s=%.0f", what, name, suspect.node, more, suspect.why, waited_s)


def _leak(suspect: Suspect) -> Leak:
    assert isinstance(suspect.subject, Leak)
    return suspect.subject


def _alibi(latest: Evidence, suspect: Suspect) -> str:
    """What speaks for a suspect address after all."""
    leak = _leak(suspect)
    if suspect.gone_node and suspect.gone_node in latest.nodes:
        return "its node is back"
    return use(latest, leak.address, AllocationAttribute(leak.handle, leak.owner))


def _now() -> float:
    return asyncio.get_running_loop().time()
