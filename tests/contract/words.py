"""How the contract tests write objects, and read changes back as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from datastore.resource import Key, Resource
from datastore.store import Change, Gone, Mark, Put, Store, Unread
from tests.contract.drivers import Datastore

PATIENCE_S = 10.0
"""Longer than any driver may take to deliver a change; a test that waits so long has failed."""


@asynccontextmanager
async def clients(datastore: Datastore, count: int = 1) -> AsyncIterator[list[Store]]:
    opened = [datastore.client() for _ in range(count)]
    try:
        yield opened
    finally:
        for store in opened:
            await store.close()


def pool(name: str, value: object = 1) -> Resource:
    return Resource("IPPool", name, spec={"value": value})


def pool_key(name: str) -> Key:
    return Key("IPPool", name)


def endpoint(name: str, node: str) -> Resource:
    return Resource("HostEndpoint", name, spec={"node": node})


def said(change: Change | None) -> str:
    match change:
        case Put(resource):
            return f"put {resource.key} {' '.join(map(str, resource.spec.values()))}"
        case Gone(key):
            return f"gone {key}"
        case Unread(key):
            return f"unreadable {key}"
        case Mark():
            return "mark"
        case None:
            return "nothing"


async def take(watch: AsyncGenerator[Change, None], count: int) -> list[str]:
    """The next ``count`` changes, marks left out."""
    return [said(change) for change in await take_changes(watch, count)]


async def take_changes(watch: AsyncGenerator[Change, None], count: int) -> list[Change]:
    taken: list[Change] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(taken) < count:
            change = await anext(watch)
            if not isinstance(change, Mark):
                taken.append(change)
    return taken


async def first_of(watch: AsyncGenerator[Change, None]) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return said(await anext(watch))
