"""The line to the speaker, when it breaks just as felix is told to end."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import cast

from bgp.learned import Hello, to_line
from felix.bgp_client import BgpClient
from tests.virtual_time import virtually


class BreakingLine:
    """A speaker that says hello; what is written after :attr:`breaks` is set is refused."""

    def __init__(self) -> None:
        self.breaks = False

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader()
        reader.feed_data(to_line(Hello()))
        return reader, cast(asyncio.StreamWriter, self)

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        if self.breaks:
            raise ConnectionResetError("reset by peer")

    def close(self) -> None:
        pass

    async def wait_closed(self) -> None:
        pass


@virtually
async def test_a_client_that_is_cancelled_as_its_line_breaks_ends() -> None:
    for turns in range(6):
        line = BreakingLine()
        client = BgpClient(lambda _: None, lambda _: None, line)
        task = asyncio.create_task(client.run())
        await asyncio.sleep(1)
        line.breaks = True
        client.confirm(frozenset({ip_network("10.244.1.0/26")}))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=60)
        line.breaks = False
        has_ended = task.cancel() is False
        assert has_ended, f"it goes on when cancelled {turns} turns after the line broke"
