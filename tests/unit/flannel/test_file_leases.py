"""Leases in a folder: who gets what, and who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

import pytest

from flannel.file_leases import FileLeases
from flannel.lease import Attributes
from flannel.lease_table import Known
from flannel.source import NoLease, Revoked

CONFIG = '{"Network": "10.244.0.0/16", "SubnetMin": "10.244.0.0", "SubnetMax": "10.244.3.0"}'


def node(number: int) -> Attributes:
    return Attributes(IPv4Address(f"192.168.50.{number}"), backend="host-gw")


@asynccontextmanager
async def leases(folder: Path) -> AsyncIterator[FileLeases]:
    source = FileLeases(folder, random=Random(1))
    try:
        yield source
    finally:
        await source.close()


async def acquired(folder: Path, number: int) -> str:
    async with leases(folder) as source:
        return str((await source.acquire(node(number))).subnets)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # inotify has no event of ours
            await asyncio.sleep(0.01)


async def test_each_node_has_its_own_and_the_same_again_until_there_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    found = [await acquired(tmp_path, number) for number in (1, 2, 3, 4)]
    assert len(set(found)) == 4
    assert await acquired(tmp_path, 2) == found[1]
    with pytest.raises(NoLease, match="out of subnets"):
        await acquired(tmp_path, 5)
    assert not list(tmp_path.glob("new-*"))


async def test_a_subnet_that_was_set_aside_for_an_address_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "subnets").mkdir()
    (tmp_path / "subnets" / "10.244.0.0-24").write_text('{"PublicIP":"192.168.50.7"}')
    assert await acquired(tmp_path, 7) == "10.244.0.0/24"


async def test_a_configuration_is_waited_for(tmp_path: Path) -> None:
    async with leases(tmp_path) as source:
        waiting = asyncio.create_task(source.config())
        await asyncio.sleep(0)
        (tmp_path / "config").write_text(CONFIG)
        assert str((await asyncio.wait_for(waiting, 5)).network) == "10.244.0.0/16"


async def test_who_follows_hears_of_leases_that_come_and_go_and_of_its_own_that_is_removed(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    async with leases(tmp_path) as source:
        own = await source.acquire(node(1))
        told: list[Known] = []
        task = asyncio.create_task(source.follow(told.append))
        await eventually(lambda: told)
        other = await acquired(tmp_path, 2)
        await eventually(lambda: other in [str(lease.subnets) for lease in told[-1].leases])
        (tmp_path / "subnets" / other.replace("/", "-")).unlink()
        await eventually(lambda: len(told[-1].leases) == 1)
        (tmp_path / "subnets" / str(own.subnets).replace("/", "-")).unlink()
        with pytest.raises(Revoked):
            await asyncio.wait_for(task, 5)
