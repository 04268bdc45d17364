"""Callers that wait together share their writes."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from datastore.store import Unavailable
from ipam.allocator import Assigned, NoAddress, Outcome, Request
from ipam.block import Holder
from ipam.group_commit import GroupCommit

BLOCK = ip_network("10.0.0.0/26")


class Desk:
    """Remembers each round; answers with the next address, after the gate opens."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.released: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self._next = 0

    async def assign(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self.rounds.append([request.holder.handle for request in requests])
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Outcome:
        if request.holder.handle == "unlucky":
            return NoAddress(4, ["No IPs available in pools: [10.0.0.0/26]"])
        self._next += 1
        return Assigned(ip_address("10.0.0.0") + self._next, BLOCK)

    async def release_handles(self, wanted: Sequence[str], *, are_settled: bool = False) -> int:
        assert are_settled
        self.released.append(list(wanted))
        return len(wanted)


async def with_desk(scenario: object) -> Desk:
    desk = Desk()
    commit = GroupCommit(desk, desk)
    serving = asyncio.create_task(commit.run())
    try:
        await scenario(desk, commit)  # type: ignore[operator]
    finally:
        serving.cancel()
    return desk


def ask(handle: str) -> Request:
    return Request(Holder(handle))


def test_those_who_wait_while_others_are_served_are_the_next_round() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        desk.gate.clear()
        callers = [asyncio.create_task(commit.assign(ask("first")))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        callers += [asyncio.create_task(commit.assign(ask(f"h{number}"))) for number in range(3)]
        await asyncio.sleep(0)
        desk.gate.set()
        assert len({str(assigned.address) for assigned in await asyncio.gather(*callers)}) == 4

    assert asyncio.run(with_desk(scenario)).rounds == [["first"], ["h0", "h1", "h2"]]


def test_a_caller_that_gets_nothing_hears_why_and_the_others_are_served() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        lucky, unlucky = await asyncio.gather(
            commit.assign(ask("lucky")), commit.assign(ask("unlucky")), return_exceptions=True
        )
        assert isinstance(lucky, Assigned)
        assert str(unlucky) == (
            "Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.0.0.0/26]"
        )

    asyncio.run(with_desk(scenario))


def test_a_store_that_is_away_is_told_to_every_caller_and_the_next_round_is_served() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        desk.failure = Unavailable("away")
        results = await asyncio.gather(commit.assign(ask("a")), commit.assign(ask("b")), return_exceptions=True)
        assert [str(result) for result in results] == ["away", "away"]
        desk.failure = None
        assert str((await commit.assign(ask("a"))).address) == "10.0.0.1"

    asyncio.run(with_desk(scenario))


def test_the_address_of_a_caller_that_has_gone_is_given_back() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        desk.gate.clear()
        caller = asyncio.create_task(commit.assign(ask("gone")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        desk.gate.set()
        await commit.release("other")

    assert sum(asyncio.run(with_desk(scenario)).released, []) in (["gone", "other"], ["other", "gone"])  # noqa: RUF017


def test_two_requests_of_one_holder_are_served_one_after_the_other() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        await asyncio.gather(commit.assign(ask("h")), commit.assign(ask("h")))

    assert asyncio.run(with_desk(scenario)).rounds == [["h"], ["h"]]


def test_releases_share_a_round_too() -> None:
    async def scenario(desk: Desk, commit: GroupCommit) -> None:
        await asyncio.gather(*(commit.release(f"h{number}") for number in range(3)))

    assert asyncio.run(with_desk(scenario)).released == [["h0", "h1", "h2"]]
