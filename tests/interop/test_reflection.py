"""Our speaker between BIRDs: as their route reflector, and between two ASes."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from bgp.filters import read
from bgp.neighbour import NextHopMode
from bgp.passing import Policy
from tests.interop.bird import PROGRAM, Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.our_side import OurSide, neighbour, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="BIRD 2 is not installed"),
]

CLUSTER = IPv4Address("1.0.0.1")
POOLS = (ip_network("10.244.0.0/16"), ip_network("fd00:244::/32"))


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


def birds(far: FarSide, folder: Path, *addresses: str, **more: object) -> list[Bird]:
    """Each with a block of its own: 10.244.2.0/26 at 10.0.0.2, fd00:244:2::/64 at fd00::2."""
    made = []
    for address in addresses:
        last = re.split("[.:]", address)[-1]
        block = f"fd00:244:{last}::/64" if ":" in address else f"10.244.{last}.0/26"
        made.append(Bird(far, folder / f"bird{last}{'v6' if ':' in address else ''}", address, routes=(block,), **more))  # type: ignore[arg-type]
        made[-1].folder.mkdir()
        made[-1].start()
    return made


def attribute(bird: Bird, dst: str, name: str) -> str:
    """``BGP.cluster_list`` and so on of one route, as BIRD prints it; "" where it has none."""
    said = bird.ask("show", "route", "all", dst).split("\n")
    found = [line.partition(":")[2].strip() for line in said if line.strip().startswith(f"BGP.{name}:")]
    return found[0] if found else ""


@pytest.mark.parametrize("addresses", [("10.0.0.2", "10.0.0.3"), ("fd00::2", "fd00::3")], ids=["IPv4", "IPv6"])
async def test_birds_are_clients_of_our_reflector(far: FarSide, tmp_path: Path, addresses: tuple[str, str]) -> None:
    one, two = birds(far, tmp_path, *addresses)
    ours = OurSide(
        tuple(neighbour(each, cluster_id=CLUSTER) for each in addresses), policy=Policy(pools=POOLS, cluster_id=CLUSTER)
    )
    async with ours.running():
        dst = one.routes[0]
        await until(lambda: any(line.startswith(f"{dst} via {one.address} ") for line in two.learned()))
        await until(lambda: any(line.startswith(f"{two.routes[0]} via") for line in one.learned()))
        assert attribute(two, dst, "originator_id") == "10.0.0.2"
        assert attribute(two, dst, "cluster_list") == "1.0.0.1"
        assert attribute(two, dst, "local_pref") == "100"
        one.configure()
        await until(lambda: not any(line.startswith(dst) for line in two.learned()))


async def test_a_client_and_one_that_is_none(far: FarSide, tmp_path: Path) -> None:
    one, two, three = birds(far, tmp_path, "10.0.0.2", "10.0.0.3", "10.0.0.4")
    ours = OurSide(
        (neighbour("10.0.0.2", cluster_id=CLUSTER), neighbour("10.0.0.3"), neighbour("10.0.0.4")),
        blocks=(),
        policy=Policy(pools=POOLS, cluster_id=CLUSTER),
    )
    async with ours.running():
        await until(lambda: [line.split()[0] for line in one.learned()] == ["10.244.3.0/26", "10.244.4.0/26"])
        await until(lambda: [line.split()[0] for line in two.learned()] == ["10.244.2.0/26"])
        await until(lambda: [line.split()[0] for line in three.learned()] == ["10.244.2.0/26"])


async def test_everything_that_a_route_has_is_passed_on_to_another_as(far: FarSide, tmp_path: Path) -> None:
    marked = "bgp_community.add((65000,7)); bgp_large_community.add((1,2,3)); bgp_ext_community.add((rt,4,5)); "
    (one,) = birds(far, tmp_path, "10.0.0.2", export=f"{marked} bgp_med = 9; bgp_local_pref = 555; accept;")
    (tor,) = birds(far, tmp_path, "10.0.0.3", local_as=65000)
    ours = OurSide((neighbour("10.0.0.2"), neighbour("10.0.0.3", peer_as=65000)), policy=Policy(pools=POOLS))
    async with ours.running():
        dst = "10.244.2.0/26"
        await until(lambda: f"{dst} via 10.0.0.1 pref 100" in tor.learned())
        assert attribute(tor, dst, "as_path") == "64512"
        assert attribute(tor, dst, "community") == "(65000,7)"
        assert attribute(tor, dst, "large_community") == "(1, 2, 3)"
        assert attribute(tor, dst, "ext_community") == "(rt, 4, 5)"
        assert attribute(tor, dst, "med") == ""
        await until(lambda: any(line.startswith("10.244.3.0/26 via 10.0.0.3") for line in one.learned()))
        assert attribute(one, "10.244.3.0/26", "as_path") == "65000"
        ours.neighbours = (ours.neighbours[0], replace(ours.neighbours[1], next_hop_mode=NextHopMode.KEEP))
        ours.apply()
        await until(lambda: f"{dst} via 10.0.0.2 pref 100" in tor.learned())


async def test_a_filter_changes_what_bird_is_told_while_the_session_stays(far: FarSide, tmp_path: Path) -> None:
    (tor,) = birds(far, tmp_path, "10.0.0.3", local_as=65000)
    ours = OurSide((neighbour("10.0.0.3", peer_as=65000),), blocks=("10.244.1.0/26", "10.244.1.64/26"))
    async with ours.running():
        await until(lambda: len(tor.learned()) == 2)
        rules = [
            {"cidr": "10.244.1.0/26", "matchOperator": "Equal", "action": "Accept", "operations": [
                {"addCommunity": {"value": "65000:9"}}, {"addCommunity": {"value": "7:8:9"}},
                {"prependASPath": {"prefix": [64999, 64998]}}]},
            {"action": "Reject"},
        ]  # fmt: skip
        ours.neighbours = (neighbour("10.0.0.3", peer_as=65000, filters=(read("f", {"exportV4": rules}),)),)
        ours.apply()
        await until(lambda: tor.learned() == ["10.244.1.0/26 via 10.0.0.1 pref 100"])
        await until(lambda: attribute(tor, "10.244.1.0/26", "as_path") == "64512 64999 64998")
        assert attribute(tor, "10.244.1.0/26", "community") == "(65000,9)"
        assert attribute(tor, "10.244.1.0/26", "large_community") == "(7, 8, 9)"
        assert ours.peering.counters["established"] == 1


async def test_communities_of_prefix_advertisements_reach_bird(far: FarSide, tmp_path: Path) -> None:
    (one,) = birds(far, tmp_path, "10.0.0.2")
    ours = OurSide((neighbour("10.0.0.2"),), policy=Policy(marks=((POOLS[0], ((65000, 7),)),)))
    async with ours.running():
        await until(lambda: attribute(one, "10.244.1.0/26", "community") == "(65000,7)")
        ours.policy = Policy()
        ours.apply()
        await until(lambda: attribute(one, "10.244.1.0/26", "community") == "")
