"""What a person should know is told once, and shown for as long as it holds."""

from __future__ import annotations

import asyncio

import pytest

from datastore.events import Event
from datastore.resource import Key
from datastore.store import Forbidden, StoreError, Unavailable
from felix.notes import PAUSE_S, Notes, asked_of, overruled
from tests.clusters import pool
from tests.virtual_time import virtually

LARGE = Event(Key("Pod", "a", "default"), "MTUTooLarge", "pod default/a is large")
OTHER = Event(Key("Pod", "b", "default"), "MTUTooLarge", "pod default/b is large")


class Herald:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.error: StoreError | None = None

    async def announce(self, event: Event) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(event.text)


@virtually
async def test_what_holds_is_told_once_and_shown_until_it_holds_no_more() -> None:
    herald = Herald()
    notes = Notes(herald.announce)
    running = asyncio.create_task(notes.run())
    for found in ([LARGE], [LARGE], [LARGE, OTHER]):
        notes.report("mtu", found)
        await asyncio.sleep(0.1)
    assert herald.told == [LARGE.text, OTHER.text]
    assert notes.lines() == [LARGE.text, OTHER.text]
    notes.report("mtu", [])
    assert notes.lines() == []
    notes.report("mtu", [LARGE])
    await asyncio.sleep(0.1)
    assert herald.told[2:] == [LARGE.text]
    running.cancel()


@virtually
async def test_an_event_that_cannot_be_told_is_told_when_the_datastore_is_back() -> None:
    herald = Herald()
    herald.error = Unavailable("away")
    notes = Notes(herald.announce)
    running = asyncio.create_task(notes.run())
    notes.report("mtu", [LARGE])
    await asyncio.sleep(3 * PAUSE_S)
    herald.error = None
    await asyncio.sleep(2 * PAUSE_S)
    assert herald.told == [LARGE.text]
    running.cancel()


@virtually
async def test_an_event_that_may_not_be_told_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    herald = Herald()
    herald.error = Forbidden("create events")
    notes = Notes(herald.announce)
    running = asyncio.create_task(notes.run())
    notes.report("mtu", [LARGE])
    await asyncio.sleep(0.1)
    herald.error = None
    notes.report("mtu", [LARGE, OTHER])
    await asyncio.sleep(0.1)
    assert herald.told == [OTHER.text]
    assert "note.untold" in caplog.text
    running.cancel()


def test_an_edit_that_wins_over_the_environment_is_told_with_both_values_and_the_command() -> None:
    environ = {"CALICO_IPV4POOL_CIDR": "10.244.0.0/16", "CALICO_IPV4POOL_VXLAN": "Never"}
    (event,) = overruled([pool(vxlanMode="Always")], asked_of(environ))
    assert event.about == Key("IPPool", "default-ipv4-ippool")
    assert event.text == (
        "pool default-ipv4-ippool keeps vxlanMode Always, as somebody has set it; CALICO_IPV4POOL_VXLAN says Never. "
        """To take that: calicoctl patch ippool default-ipv4-ippool -p '{"spec":{"vxlanMode":"Never"}}'"""
    )


def test_what_the_environment_does_not_say_is_not_held_against_a_pool() -> None:
    assert list(overruled([pool(vxlanMode="Always")], asked_of({"CALICO_IPV4POOL_CIDR": "10.244.0.0/16"}))) == []
    assert list(overruled([pool(vxlanMode="Always")], asked_of({}))) == []
