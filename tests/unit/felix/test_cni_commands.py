"""DELs that cannot be done when the runtime asks for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from datastore.store import Unavailable
from felix.cni.commands import RETRY_S, Commands
from felix.cni.request import NetConf, Request, read
from felix.cni.result import Interface
from tests.virtual_time import virtually

DEL = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
CONF = json.dumps({"cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "calico"}).encode()


class Pods:
    """Containers that are connected, in a datastore that may be away."""

    def __init__(self) -> None:
        self.connected = {"c1"}
        self.is_store_away = False

    async def delete(self, request: Request) -> None:
        if self.is_store_away:
            raise Unavailable("the datastore is away")
        self.connected.discard(request.workload.container)

    async def add(self, request: Request, netns: int) -> Interface:
        raise NotImplementedError

    async def check(self, request: Request, netns: int) -> None:
        raise NotImplementedError

    async def collect(self, conf: NetConf) -> None:
        raise NotImplementedError


class MemorySpool:
    def __init__(self) -> None:
        self.waiting: list[tuple[dict[str, str], bytes]] = []

    def add(self, variables: dict[str, str], stdin: bytes) -> None:
        self.waiting.append((variables, stdin))

    async def drain(self, delete: Callable[[Request], Awaitable[None]]) -> int:
        done = 0
        while self.waiting:
            await delete(read(*self.waiting[0]))
            self.waiting.pop(0)
            done += 1
        return done


@virtually
async def test_a_spooled_del_is_done_when_the_datastore_is_back_although_no_add_comes() -> None:
    pods, spool = Pods(), MemorySpool()
    commands = Commands(pods, spool, lambda: "")
    draining = asyncio.create_task(commands.keep_draining())
    pods.is_store_away = True
    assert await commands.handle(DEL, CONF, -1) == b""
    await asyncio.sleep(5 * RETRY_S)
    assert pods.connected == {"c1"}
    pods.is_store_away = False
    await asyncio.sleep(RETRY_S)
    assert (pods.connected, spool.waiting) == (set(), [])
    draining.cancel()


@virtually
async def test_what_an_earlier_felix_spooled_is_tried_again_after_a_failure_at_the_start() -> None:
    pods, spool = Pods(), MemorySpool()
    spool.add(DEL, CONF)
    commands = Commands(pods, spool, lambda: "")
    draining = asyncio.create_task(commands.keep_draining())
    pods.is_store_away = True
    with pytest.raises(Unavailable):
        await commands.drain()
    pods.is_store_away = False
    await asyncio.sleep(2 * RETRY_S)
    assert (pods.connected, spool.waiting) == (set(), [])
    draining.cancel()
