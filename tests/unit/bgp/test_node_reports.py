"""A node answers who asks it by a CalicoNodeStatus: when, how often, and what happens where it cannot."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bgp.node_reports import NodeReports
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Unavailable
from tests.unreliable import Unreliable
from tests.virtual_time import virtually

START_WALL = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


@dataclass
class Node:
    memory: Memory = field(default_factory=Memory)
    says: str = "one"

    def __post_init__(self) -> None:
        self.people, self.agent = MemoryStore(self.memory), Unreliable(self.memory)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[NodeReports]:
        loop = asyncio.get_running_loop()
        reports = NodeReports(self.agent, "node1", self._tell, wall=lambda: START_WALL + timedelta(seconds=loop.time()))
        task = asyncio.create_task(reports.run(chance=lambda: 0.5))
        try:
            await asyncio.sleep(0.01)
            yield reports
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _tell(self, classes: Collection[str], before: Mapping[str, Any]) -> dict[str, Any]:
        return {**before, "says": self.says, "of": sorted(classes)}

    async def asks(self, name: str = "q", *, node: str = "node1", period_s: int | None = 10) -> Resource:
        period = {} if period_s is None else {"updatePeriodSeconds": period_s}
        made = await self.people.create(
            Resource("CalicoNodeStatus", name, spec={"node": node, "classes": ["BGP"], **period})
        )
        await asyncio.sleep(0.01)
        return made

    async def heard(self, name: str = "q") -> str:
        """What it said, and when."""
        status = (await self.people.get(Key("CalicoNodeStatus", name))).status or {}
        return f"{status.get('says', 'nothing')} at {str(status.get('lastUpdated', ''))[11:19]}".strip()


@virtually
async def test_it_answers_at_once_and_again_when_the_time_has_come_and_something_has_changed() -> None:
    node = Node()
    async with node.running() as reports:
        await node.asks(period_s=10)
        assert await node.heard() == "one at 06:00:00"
        await asyncio.sleep(11)
        assert (await node.heard(), reports.counters["written"]) == ("one at 06:00:00", 1)
        node.says = "two"
        await asyncio.sleep(5)
        assert await node.heard() == "one at 06:00:00"
        await asyncio.sleep(6)
        assert await node.heard() == "two at 06:00:20"


@virtually
async def test_a_period_of_0_is_one_answer_for_each_edit() -> None:
    node = Node()
    async with node.running():
        asked = await node.asks(period_s=0)
        node.says = "two"
        await asyncio.sleep(100_000)
        assert await node.heard() == "one at 06:00:00"
        asked = await node.people.get(asked.key)
        await node.people.update(replace(asked, spec={**asked.spec, "classes": ["Agent"]}))
        await asyncio.sleep(1)
        assert (await node.heard()).startswith("two")


@virtually
async def test_what_is_asked_of_others_or_without_a_period_is_not_answered() -> None:
    node = Node()
    async with node.running():
        await node.asks("other", node="node2")
        await node.asks("unset", period_s=None)
        await asyncio.sleep(100)
        assert [await node.heard("other"), await node.heard("unset")] == ["nothing at", "nothing at"]


@virtually
async def test_who_asked_before_the_start_is_answered_and_who_has_gone_is_forgotten() -> None:
    node = Node()
    asked = await node.asks()
    async with node.running():
        assert (await node.heard()).startswith("one")
        await node.people.delete(asked.key)
        node.says, node.agent.calls = "two", []
        await asyncio.sleep(100)
        assert [call for call in node.agent.calls if call.startswith("update")] == []


@virtually
async def test_a_rival_that_wrote_first_loses_nothing() -> None:
    node = Node()
    async with node.running():
        asked = await node.asks(period_s=10)
        node.agent.break_watches(Unavailable("away"))
        found = await node.people.get(asked.key)
        await node.people.update(replace(found, labels={"by": "somebody"}))
        node.says = "two"
        await asyncio.sleep(21)
        found = await node.people.get(asked.key)
        assert ((found.status or {})["says"], found.labels) == ("two", {"by": "somebody"})


@virtually
async def test_while_the_datastore_is_away_the_answer_waits() -> None:
    node = Node()
    async with node.running() as reports:
        await node.asks(period_s=3600)
        node.says = "two"
        await asyncio.sleep(3595)
        node.agent.fail(Unavailable("away"))
        await asyncio.sleep(60)
        assert reports.counters["unwritten"] > 1
        node.agent.recover()
        await asyncio.sleep(20)
        assert (await node.heard()).startswith("two")
