"""The speaker, its BFD process and a BIRD that has both: who drops what, and when, and who waits for whom."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bgp.bfd.watch import SOCKET_NAME
from bgp.bfd_link import BfdLink
from tests.interop.bfd import Bfd, bfd_process
from tests.interop.bird import PROGRAM, Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.our_side import OurSide, neighbour, until
from tests.lab.namespace import ip

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="BIRD 2 is not installed"),
]

BUSY_S = 0.3
"""What the test's own process, which has no priority, may need beyond the detection time."""
LEARNED = ["10.244.2.0/26 via 10.0.0.2"]
OURS = "10.244.1.0/26 via 10.0.0.1 pref 2147482623"


class BirdWithBfd(Bird):
    def text(self) -> str:
        watching = 'protocol bfd { interface "*" { interval 300 ms; multiplier 3; }; }\n'
        return watching + super().text().replace("  multihop; ", "  direct; ")


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


@pytest.fixture
def bird(far: FarSide, tmp_path: Path) -> BirdWithBfd:
    folder = tmp_path / "bird"
    folder.mkdir()
    return BirdWithBfd(far, folder, routes=("10.244.2.0/26",), more="bfd on;")


@pytest.fixture
def bfd(far: FarSide, tmp_path: Path) -> Iterator[Bfd]:
    with bfd_process(tmp_path) as made:
        yield made


@asynccontextmanager
async def watched(bird: BirdWithBfd, bfd: Bfd) -> AsyncIterator[OurSide]:
    """Both sides have the other's routes, and BFD is up."""
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", is_watched=True),))
    async with ours.running() as speaker:
        link = BfdLink(speaker.hear_bfd, bfd.folder / SOCKET_NAME)
        link.watch(speaker.watches())
        talking = asyncio.create_task(link.run())
        try:
            await until(lambda: ours.table() == LEARNED and bird.learned() == [OURS])
            await until(lambda: any(each.is_up for each in speaker.bfd.values()))
            await until(lambda: " Up " in bird.ask("show", "bfd", "sessions"))
            await asyncio.sleep(1.5)  # until both say their real intervals
            yield ours
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)


async def test_when_the_network_is_gone_both_drop_the_others_routes(bird: BirdWithBfd, bfd: Bfd) -> None:
    async with watched(bird, bfd) as ours:
        ip("link set near down")
        assert await until(lambda: ours.table() == []) < 0.9 + BUSY_S
        await until(lambda: bird.learned() == [], within_s=1.0)
        assert ours.peering.counters["bfd-down"] == 1


async def test_a_bird_that_is_killed_takes_its_bfd_along_and_its_routes_wait_for_it(
    bird: BirdWithBfd, bfd: Bfd
) -> None:
    async with watched(bird, bfd) as ours:
        bird.kill()
        await until(lambda: not any(each.is_up for each in ours.speaker.bfd.values()), within_s=2.0)
        await asyncio.sleep(0.5)  # time enough for a wrong step
        assert ours.table() == LEARNED
        bird.start(restarts=True)
        await until(lambda: ours.peering.established is not None)
        assert [delta.gone for delta in ours.told if delta.gone] == []


async def test_when_our_speaker_ends_alone_bird_sees_that_the_node_lives_and_keeps_its_routes(
    bird: BirdWithBfd, bfd: Bfd
) -> None:
    async with watched(bird, bfd):
        pass
    await asyncio.sleep(2)  # two detection times
    assert [line.removesuffix(" stale") for line in bird.learned()] == [OURS]
    assert " Up " in bird.ask("show", "bfd", "sessions")
