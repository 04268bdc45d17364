"""What a BGPPeer may ask for, with BIRD 2 at the other end."""

import asyncio
import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bgp.neighbour import Neighbour
from tests.interop.bird import PROGRAM, Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.our_side import OurSide, neighbour, until
from tests.lab.namespace import ip

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="BIRD 2 is not installed"),
]

BLOCK = "10.244.2.0/26"
LEARNED = [f"{BLOCK} via 10.0.0.2"]


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


@pytest.fixture
def bird(far: FarSide, tmp_path: Path) -> Bird:
    return Bird(far, tmp_path, routes=(BLOCK,))


@pytest.mark.parametrize("is_passive", [False, True], ids=["we dial", "BIRD dials"])
async def test_a_password_is_needed_on_both_sides(bird: Bird, is_passive: bool) -> None:
    bird.more = 'password "let me in";' if is_passive else 'password "let me in"; passive;'
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", password="wrong", is_passive=is_passive),))
    async with ours.running():
        await asyncio.sleep(3)  # a segment with a wrong signature is not answered: nothing else tells of it
        assert not ours.routes
        ours.neighbours = (neighbour("10.0.0.2", password="let me in", is_passive=is_passive),)
        ours.apply()
        await until(lambda: ours.table() == LEARNED, within_s=15)
        ours.neighbours = (neighbour("10.0.0.2", is_passive=is_passive),)
        ours.apply()
        bird.ask("restart", "ours")
        await asyncio.sleep(3)
        assert not bird.is_established()


async def test_a_password_is_changed_and_only_that_session_notices(far: FarSide, tmp_path: Path) -> None:
    birds = [
        Bird(far, tmp_path / name, address, routes=(block,), more='password "old";')
        for name, address, block in (("a", "10.0.0.2", BLOCK), ("b", "10.0.0.3", "10.244.3.0/26"))
    ]
    for bird in birds:
        bird.folder.mkdir()
        bird.start()
    ours = OurSide((neighbour("10.0.0.2", password="old"), neighbour("10.0.0.3", password="old")))
    async with ours.running():
        await until(lambda: len(ours.routes) == 2)
        birds[0].more = 'password "new";'
        birds[0].configure(BLOCK)
        ours.neighbours = (neighbour("10.0.0.2", password="new"), ours.neighbours[1])
        ours.apply()
        await until(lambda: birds[0].is_established() and len(ours.routes) == 2, within_s=30)
        assert ours.speaker.peerings["Global_10_0_0_3"].counters["established"] == 1


async def test_two_of_ours_change_their_password_on_the_connection_that_is_up(far: FarSide) -> None:
    other = IPv4Address("10.0.0.77")
    ip(f"addr add {other}/32 dev lo")

    def sides(password: str, their_password: str) -> tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]]:
        back = neighbour("10.0.0.1", local_address=other, password=their_password, is_passive=True)
        return (neighbour(str(other), password=password),), (back,)

    one, two = OurSide(()), OurSide((), blocks=(BLOCK,), address=other)
    one.neighbours, two.neighbours = sides("old", "old")
    async with one.running(), two.running():
        await until(lambda: one.table() == [f"{BLOCK} via {other}"] and len(two.routes) == 1)
        one.neighbours, two.neighbours = sides("new", "old")
        one.apply()
        two.blocks = (BLOCK, "10.244.3.0/26")
        two.apply()
        await asyncio.sleep(1)  # what is signed with the old password does not arrive
        assert len(one.routes) == 1
        one.neighbours, two.neighbours = sides("new", "new")
        two.apply()
        await until(lambda: len(one.routes) == 2, within_s=20)
        assert [each.peering.counters["established"] for each in (one, two)] == [1, 1]


@pytest.mark.parametrize("is_passive", [False, True], ids=["we dial", "BIRD dials"])
async def test_both_sides_may_ask_for_the_distance(bird: Bird, is_passive: bool) -> None:
    bird.more = "multihop 1; ttl security on;" + ("" if is_passive else " passive;")
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", ttl_hops=1, is_passive=is_passive),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)


@pytest.mark.parametrize("is_passive", [False, True], ids=["we dial", "BIRD dials"])
async def test_a_neighbour_that_seems_to_be_far_away_gets_no_session(bird: Bird, is_passive: bool) -> None:
    bird.more = "multihop 30;" + ("" if is_passive else " passive;")  # BIRD then sends with a TTL of 30
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", ttl_hops=2, is_passive=is_passive),))
    async with ours.running():
        await asyncio.sleep(3)  # what does not arrive is not told
        assert not ours.routes
        ours.neighbours = (neighbour("10.0.0.2", is_passive=is_passive),)
        ours.apply()
        await until(lambda: ours.table() == LEARNED, within_s=20)


async def test_our_own_as_may_be_in_a_path_as_often_as_is_allowed(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=(BLOCK,), local_as=65001, export="bgp_path.prepend(64512); accept;")
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", peer_as=65001),))
    async with ours.running():
        await until(lambda: ours.speaker.rib.tally("Global_10_0_0_2").refused == {"loop": 1})
        ours.neighbours = (neighbour("10.0.0.2", peer_as=65001, allowed_local_as=1),)
        ours.apply()
        await until(lambda: ours.table() == LEARNED)
        assert ours.peering.counters["established"] == 1


async def test_a_session_may_have_its_own_local_as_and_any_source_address(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=(BLOCK,), our_as=65100, local_as=65001)
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", local_as=65100, peer_as=65001, local_address=None),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        await until(lambda: bird.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 100"])
        assert "BGP.as_path: 65100\n" in bird.ask("show", "route", "all", "protocol", "ours")


async def test_another_restart_time_is_offered_without_losing_a_route(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED and len(bird.learned()) == 1)
        ours.told.clear()
        ours.neighbours = (neighbour("10.0.0.2", restart_time_s=77),)
        ours.apply()
        await until(lambda: "Restart time: 77" in bird.ask("show", "protocols", "all", "ours"))
        await until(bird.is_established)
        assert [delta.gone for delta in ours.told] == []
        assert ours.table() == LEARNED
        assert len(bird.learned()) == 1
