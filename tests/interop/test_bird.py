"""BIRD 2 as a neighbour, in namespaces: what upstream's nodes will see of ours, and ours of them."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from bgp.session import State
from bgp.speaker import PastLife
from tests.interop.bird import PROGRAM, Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.our_side import OurSide, neighbour, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="BIRD 2 is not installed"),
]

BLOCKS = ("10.244.2.0/26", "10.244.3.0/26")
LEARNED = ["10.244.2.0/26 via 10.0.0.2", "10.244.3.0/26 via 10.0.0.2"]
RESTARTED = PastLife(has_restarted=True, keeps_forwarding=True)


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


@pytest.fixture
def bird(far: FarSide, tmp_path: Path) -> Bird:
    return Bird(far, tmp_path, routes=BLOCKS)


async def test_a_session_with_a_running_bird_is_up_within_a_second(bird: Bird) -> None:
    bird.start()
    await until(lambda: "start" in bird.ask("show", "protocols", "ours"))
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        assert await until(lambda: ours.peering.established is not None) < 1
        await until(lambda: ours.table() == LEARNED)


async def test_routes_go_both_ways_with_upstreams_attributes(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        await until(lambda: bird.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 2147482623"])
        details = bird.ask("show", "route", "all", "protocol", "ours")
        assert "BGP.origin: IGP" in details
        assert "BGP.as_path: \n" in details
        ours.blocks = ("10.244.1.64/26",)
        ours.apply()
        await until(lambda: bird.learned() == ["10.244.1.64/26 via 10.0.0.1 pref 2147482623"])
        bird.configure("10.244.3.0/26", "10.244.4.0/26")
        await until(lambda: ours.table() == ["10.244.3.0/26 via 10.0.0.2", "10.244.4.0/26 via 10.0.0.2"])


async def test_bird_agrees_on_what_is_offered(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(bird.is_established)
        said = bird.ask("show", "protocols", "all", "ours")
        neighbour_said = said[said.index("Neighbor capabilities") : said.index("Session:")]
        for capability in ("AF announced: ipv4", "Route refresh", "Extended message", "Restart time: 120",
                           "AF preserved: ipv4", "4-octet AS numbers", "Enhanced refresh"):  # fmt: skip
            assert capability in neighbour_said
        assert "Restart recovery" not in neighbour_said
        assert "internal multihop AS4" in said
        assert "/240" in said
        opened = ours.peering.opened
        assert opened is not None
        assert set(opened.capabilities) == {
            "refresh", "enhanced-refresh", "restart-able", "AS4", "add-path-rx", "add-path-tx"
        }  # fmt: skip


async def test_an_external_bird_with_a_long_as_number(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=BLOCKS, local_as=4200000001)
    bird.start()
    ours = OurSide((neighbour("10.0.0.2", peer_as=4200000001),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        await until(lambda: bird.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 100"])
        assert "BGP.as_path: 64512\n" in bird.ask("show", "route", "all", "protocol", "ours")


async def test_a_passive_side_waits_for_bird_to_dial(bird: Bird) -> None:
    ours = OurSide((neighbour("10.0.0.2", is_passive=True),))
    async with ours.running():
        bird.start()
        await until(lambda: ours.table() == LEARNED)
        established = ours.peering.established
        assert established is not None
        assert not established.is_dialled


async def test_when_we_restart_bird_keeps_our_routes_until_we_have_said_all(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),), blocks=("10.244.1.0/26", "10.244.1.64/26"))
    both = [f"{block} via 10.0.0.1 pref 2147482623" for block in ours.blocks]
    async with ours.running():
        await until(lambda: bird.learned() == both)
    await until(lambda: not bird.is_established())
    assert [line.removesuffix(" stale") for line in bird.learned()] == both
    ours.blocks = ("10.244.1.0/26",)
    async with ours.running(RESTARTED, are_exports_known=False):
        await until(bird.is_established)
        await asyncio.sleep(0.5)
        assert [line.removesuffix(" stale") for line in bird.learned()] == both
        ours.apply(are_exports_known=True)
        await until(lambda: bird.learned() == both[:1])


async def test_when_bird_restarts_we_keep_its_routes_until_it_has_said_all(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        ours.told.clear()
        bird.kill()
        await until(lambda: ours.peering.established is None)
        await asyncio.sleep(0.5)
        assert ours.table() == LEARNED
        assert ours.speaker.rib.tally("Global_10_0_0_2").stale == 2
        bird.routes = BLOCKS[:1]
        bird.start(restarts=True)
        await until(lambda: ours.peering.established is not None)
        await until(lambda: ours.table() == LEARNED[:1])
        assert [[str(dst) for dst in delta.gone] for delta in ours.told] == [["10.244.3.0/26"]]


async def test_when_bird_does_not_come_back_its_routes_go_with_its_restart_time(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=BLOCKS, more="graceful restart time 2;")
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        bird.kill()
        await until(lambda: ours.peering.established is None)
        assert 1.5 < await until(lambda: not ours.routes) < 2.5


async def test_a_neighbour_that_is_removed_drops_our_routes_at_once(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: len(bird.learned()) == 1 and len(ours.routes) == 2)
        ours.neighbours = ()
        ours.apply()
        assert await until(lambda: bird.learned() == [], within_s=2) < 1
        assert "Received: Peer de-configured" in bird.ask("show", "protocols", "ours")
        await until(lambda: not ours.routes)


async def test_a_bird_that_is_shut_down_takes_its_routes_with_it(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        bird.ask("disable", "ours", '"maintenance"')
        await until(lambda: not ours.routes)
        trouble = ours.peering.trouble
        assert trouble is not None
        assert (trouble.cause.value, trouble.code, trouble.subcode, trouble.text) == ("Received", 6, 2, "maintenance")
        bird.ask("enable", "ours")
        await until(lambda: ours.table() == LEARNED)


async def test_a_bird_that_says_nothing_is_given_up_after_the_hold_time(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=BLOCKS, hold=3)
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        assert ours.peering.opened is not None
        assert ours.peering.opened.hold_time_s == 3
        assert bird.process is not None
        bird.process.send_signal(signal.SIGSTOP)
        assert 1.5 < await until(lambda: not ours.routes) < 3.1
        trouble = ours.peering.trouble
        assert trouble is not None
        assert trouble.code == 4
        bird.process.send_signal(signal.SIGCONT)
        await until(lambda: ours.table() == LEARNED, within_s=15)


async def test_a_short_hold_time_is_kept_up_by_keepalives(far: FarSide, tmp_path: Path) -> None:
    bird = Bird(far, tmp_path, routes=BLOCKS, hold=3)
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(bird.is_established)
        await asyncio.sleep(4)  # longer than the hold time: a timer of BIRD's is waited for
        assert ours.peering.state is State.ESTABLISHED
        assert ours.peering.counters["established"] == 1
        assert bird.is_established()


async def test_bird_gets_everything_again_when_it_asks(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: len(bird.learned()) == 1)
        bird.ask("reload", "in", "ours")
        await asyncio.sleep(0.3)
        assert bird.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 2147482623"]
        assert "Import updates:              2" in bird.ask("show", "protocols", "all", "ours")


async def test_a_refresh_that_we_ask_for_is_answered_between_brackets(bird: Bird) -> None:
    bird.start()
    ours = OurSide((neighbour("10.0.0.2"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        established = ours.peering.established
        assert established is not None
        before = established.counters["updates"]
        established.request_refresh()
        await until(lambda: established.counters["updates"] > before)
        await asyncio.sleep(0.2)
        assert ours.table() == LEARNED
        assert ours.speaker.rib.tally("Global_10_0_0_2").stale == 0


async def test_two_birds_with_the_same_route_are_used_together(far: FarSide, tmp_path: Path) -> None:
    birds = [
        Bird(far, tmp_path / name, address, routes=("192.0.2.0/24",))
        for name, address in (("a", "10.0.0.2"), ("b", "10.0.0.3"))
    ]
    for bird in birds:
        bird.folder.mkdir()
        bird.start()
    ours = OurSide((neighbour("10.0.0.2"), neighbour("10.0.0.3")))
    async with ours.running():
        await until(lambda: ours.table() == ["192.0.2.0/24 via 10.0.0.2 10.0.0.3"])
        birds[0].kill()
        await asyncio.sleep(0.3)
        assert ours.table() == ["192.0.2.0/24 via 10.0.0.2 10.0.0.3"]
        ours.neighbours = ours.neighbours[1:]
        ours.apply()
        await until(lambda: ours.table() == ["192.0.2.0/24 via 10.0.0.3"])
        assert set(ours.routes) == {ip_network("192.0.2.0/24")}
