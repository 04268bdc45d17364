"""A stock exabgp daemon as a neighbour, in namespaces."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.far_side import FarSide, far_side
from tests.interop.our_side import OurSide, neighbour, until
from tests.interop.stock_exabgp import StockExaBGP

pytestmark = [pytest.mark.root, pytest.mark.server]

BLOCKS = ("10.244.3.0/26", "10.244.4.0/26")
LEARNED = ["10.244.3.0/26 via 10.0.0.3", "10.244.4.0/26 via 10.0.0.3"]


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


@pytest.mark.parametrize("is_passive", [True, False])
async def test_routes_go_both_ways_whoever_dials(far: FarSide, tmp_path: Path, is_passive: bool) -> None:
    exabgp = StockExaBGP(far, tmp_path, routes=BLOCKS, is_passive=is_passive)
    exabgp.start()
    ours = OurSide((neighbour("10.0.0.3", is_passive=not is_passive),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        await until(lambda: exabgp.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 2147482623"])
        ours.blocks = ("10.244.1.64/26",)
        ours.apply()
        await until(lambda: exabgp.learned() == ["10.244.1.64/26 via 10.0.0.1 pref 2147482623"])


async def test_an_external_exabgp(far: FarSide, tmp_path: Path) -> None:
    exabgp = StockExaBGP(far, tmp_path, routes=BLOCKS, local_as=4200000001)
    exabgp.start()
    ours = OurSide((neighbour("10.0.0.3", peer_as=4200000001),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        await until(lambda: exabgp.learned() == ["10.244.1.0/26 via 10.0.0.1 pref none"])


async def test_a_killed_exabgps_routes_stay_until_it_is_back(far: FarSide, tmp_path: Path) -> None:
    exabgp = StockExaBGP(far, tmp_path, routes=BLOCKS)
    exabgp.start()
    ours = OurSide((neighbour("10.0.0.3"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        ours.told.clear()
        exabgp.kill()
        await until(lambda: ours.peering.established is None)
        assert ours.table() == LEARNED
        exabgp.routes = BLOCKS[:1]
        exabgp.start()
        await until(lambda: ours.table() == LEARNED[:1])
        assert [[str(dst) for dst in delta.gone] for delta in ours.told] == [["10.244.4.0/26"]]


async def test_a_removed_exabgp_is_told_so(far: FarSide, tmp_path: Path) -> None:
    exabgp = StockExaBGP(far, tmp_path, routes=BLOCKS)
    exabgp.start()
    ours = OurSide((neighbour("10.0.0.3"),))
    async with ours.running():
        await until(lambda: ours.table() == LEARNED)
        ours.neighbours = ()
        ours.apply()
        await until(lambda: any("6,3" in str(each) or "(6, 3)" in str(each) for each in exabgp.told()))
        await until(lambda: ours.table() == [])
