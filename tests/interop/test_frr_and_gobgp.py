"""FRR and GoBGP as neighbours, in IPv4 and IPv6: the same cases for both."""

import asyncio
import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from bgp.filters import read
from bgp.neighbour import Neighbour
from bgp.passing import Policy
from tests.interop import frr, gobgp
from tests.interop.bird import PROGRAM as BIRD
from tests.interop.bird import Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.frr import Frr
from tests.interop.gobgp import GoBGP
from tests.interop.our_side import OurSide, neighbour, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
]

CLUSTER = IPv4Address("1.0.0.1")
POOLS = (ip_network("10.244.0.0/16"), ip_network("fd00:244::/32"))

KINDS = [
    pytest.param(
        kind, marks=pytest.mark.skipif(shutil.which(program) is None, reason=f"{name} is not installed"), id=name
    )
    for kind, program, name in ((Frr, frr.PROGRAM, "FRR"), (GoBGP, gobgp.PROGRAM, "GoBGP"))
]
each_of_both = pytest.mark.parametrize("kind", KINDS)
in_each_family = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


def address(number: int, version: int) -> str:
    return f"10.0.0.{number}" if version == 4 else f"fd00::{number}"


def block(number: int, version: int) -> str:
    return f"10.244.{number}.0/26" if version == 4 else f"fd00:244:{number}::/122"


def made(kind: type[Frr] | type[GoBGP], far: FarSide, folder: Path, version: int = 4, **more: Any) -> Frr | GoBGP:
    found = kind(far, folder, address(4, version), routes=(block(4, version),), **more)
    found.start()
    return found


async def both_know(ours: OurSide, theirs: Frr | GoBGP, version: int = 4) -> None:
    await until(theirs.is_established, within_s=20)
    if isinstance(theirs, GoBGP):
        theirs.announce()
    await until(lambda: f"{block(4, version)} via {address(4, version)}" in ours.table(), within_s=20)
    await until(lambda: f"{block(1, version)} via {address(1, version)}" in theirs.learned(), within_s=20)


def our_side(*neighbours: Neighbour, version: int = 4, **more: Any) -> OurSide:
    return OurSide(neighbours, blocks=(block(1, version),), **more)


@each_of_both
@in_each_family
async def test_routes_and_withdrawals_go_both_ways(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version)
    ours = our_side(neighbour(address(4, version)), version=version)
    async with ours.running():
        await both_know(ours, theirs, version)
        ours.blocks = ()
        ours.apply()
        await until(lambda: theirs.learned() == [])
        if isinstance(theirs, GoBGP):
            theirs.withdraw(block(4, version))
        else:
            family = "ipv4" if version == 4 else "ipv6"
            theirs.configure(f"address-family {family} unicast", f"no network {block(4, version)}")
        await until(lambda: ours.table() == [])
        assert ours.peering.counters["established"] == 1


PASSWORD: dict[type, dict[str, Any]] = {
    Frr: {"more": ("password let-me-in",)},
    GoBGP: {"config": 'auth-password = "let-me-in"'},
}


@each_of_both
@in_each_family
async def test_a_password_is_needed_on_both_sides(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version, **PASSWORD[kind])
    ours = our_side(neighbour(address(4, version), password="wrong"), version=version)
    async with ours.running():
        await asyncio.sleep(3)  # a segment with a wrong signature is not answered: nothing else tells of it
        assert not theirs.is_established()
        ours.neighbours = (neighbour(address(4, version), password="let-me-in"),)
        ours.apply()
        await both_know(ours, theirs, version)


DISTANCE: dict[type, dict[str, Any]] = {
    Frr: {"more": ("ttl-security hops 1",)},
    GoBGP: {"more": "[neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255"},
}


@each_of_both
@in_each_family
async def test_both_sides_may_ask_for_the_distance(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version, **DISTANCE[kind])
    ours = our_side(neighbour(address(4, version), ttl_hops=1), version=version)
    async with ours.running():
        await both_know(ours, theirs, version)


def reflected(theirs: Frr | GoBGP, dst: str) -> tuple[str, list[str]]:
    """(originator, clusters)"""
    found = theirs.route(dst)
    if isinstance(theirs, GoBGP):
        return str(found.get("originator")), list(found.get("clusters") or [])
    return str(found.get("originatorId")), list((found.get("clusterList") or {}).get("list") or [])


@each_of_both
@in_each_family
@pytest.mark.skipif(shutil.which(BIRD) is None, reason="BIRD 2 is not installed")
async def test_it_is_a_client_of_our_reflector_beside_a_bird(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version)
    bird = Bird(far, tmp_path, address(2, version), routes=(block(2, version),))
    bird.start()
    clients = tuple(neighbour(address(number, version), cluster_id=CLUSTER) for number in (2, 4))
    ours = our_side(*clients, version=version, policy=Policy(pools=POOLS, cluster_id=CLUSTER))
    async with ours.running():
        await both_know(ours, theirs, version)
        await until(lambda: f"{block(2, version)} via {address(2, version)}" in theirs.learned())
        assert reflected(theirs, block(2, version)) == ("10.0.0.2", ["1.0.0.1"])
        await until(lambda: any(line.startswith(block(4, version)) for line in bird.learned()))
        bird.configure()
        await until(lambda: block(2, version) not in " ".join(theirs.learned()))


REFLECTS: dict[type, dict[str, Any]] = {
    Frr: {"policy": ("route-reflector-client",)},
    GoBGP: {
        "more": '[neighbors.route-reflector.config]\n    route-reflector-client = true\n'
        '    route-reflector-cluster-id = "4.4.4.4"'
    },
}  # fmt: skip


@each_of_both
async def test_its_reflections_of_our_own_routes_are_never_taken(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path
) -> None:
    theirs = made(kind, far, tmp_path, **REFLECTS[kind])
    ours = our_side(neighbour("10.0.0.4"))
    async with ours.running():
        await both_know(ours, theirs)
        assert ours.table() == ["10.244.4.0/26 via 10.0.0.4"]


@each_of_both
async def test_another_as_gets_communities_and_a_longer_path(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path
) -> None:
    theirs = made(kind, far, tmp_path, local_as=4200000004)
    operations = [
        {"addCommunity": {"value": "65000:7"}},
        {"addCommunity": {"value": "1:2:3"}},
        {"prependASPath": {"prefix": [64999]}},
    ]
    one = read("f", {"exportV4": [{"action": "Accept", "operations": operations}]})
    ours = our_side(neighbour("10.0.0.4", peer_as=4200000004, filters=(one,)))
    async with ours.running():
        await both_know(ours, theirs)
        found = theirs.route("10.244.1.0/26")
        if isinstance(theirs, GoBGP):
            assert [each["asns"] for each in found["as_paths"]] == [[64512, 64999]]
            assert found["communities"] == [65000 << 16 | 7]
            assert found["large"] == [{"ASN": 1, "LocalData1": 2, "LocalData2": 3}]
        else:
            assert found["aspath"]["string"] == "64512 64999"
            assert found["community"]["string"] == "65000:7"
            assert found["largeCommunity"]["string"] == "1:2:3"


@each_of_both
@in_each_family
async def test_routes_stay_while_it_is_killed_and_started_again(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version)
    ours = our_side(neighbour(address(4, version)), version=version)
    async with ours.running():
        await both_know(ours, theirs, version)
        assert theirs.process is not None
        theirs.process.kill()
        theirs.process.wait()
        await until(lambda: ours.peering.established is None)
        await asyncio.sleep(0.5)
        assert ours.table() == [f"{block(4, version)} via {address(4, version)}"]
        theirs.start()
        await both_know(ours, theirs, version)


@each_of_both
@in_each_family
async def test_it_keeps_our_routes_while_we_are_killed(
    kind: type[Frr] | type[GoBGP], far: FarSide, tmp_path: Path, version: int
) -> None:
    theirs = made(kind, far, tmp_path, version)
    ours = our_side(neighbour(address(4, version)), version=version)
    async with ours.running():
        await both_know(ours, theirs, version)
    await until(lambda: not theirs.is_established())
    assert theirs.learned() == [f"{block(1, version)} via {address(1, version)}"]
