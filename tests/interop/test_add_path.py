"""Several paths to one destination (RFC 7911) with BIRD, FRR and GoBGP at the other end."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from bgp.message import Numbered
from bgp.neighbour import AddPath
from bgp.passing import Policy
from tests.interop import bird, frr, gobgp
from tests.interop.bird import Bird
from tests.interop.far_side import FarSide, far_side
from tests.interop.frr import Frr
from tests.interop.gobgp import GoBGP
from tests.interop.our_side import OurSide, neighbour, until

pytestmark = [pytest.mark.root, pytest.mark.server]

CLUSTER = IPv4Address("1.0.0.1")
SHARED, THEIRS = "10.244.9.0/26", "10.244.4.0/26"
POLICY = Policy(pools=(ip_network("10.244.0.0/16"),), cluster_id=CLUSTER)

Speaker = Bird | Frr | GoBGP


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


def made_bird(far: FarSide, folder: Path) -> Speaker:
    return Bird(far, folder, "10.0.0.4", routes=(THEIRS,))


def made_frr(far: FarSide, folder: Path) -> Speaker:
    return Frr(far, folder, routes=(THEIRS,), policy=("addpath-tx-all-paths",))


def made_gobgp(far: FarSide, folder: Path) -> Speaker:
    more = "[neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 8"
    return GoBGP(far, folder, "10.0.0.4", routes=(THEIRS,), last=more)


def is_here(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


each_of_them = pytest.mark.parametrize(
    "made",
    [
        pytest.param(made_bird, id="BIRD"),
        pytest.param(made_frr, marks=(is_here(frr.PROGRAM), pytest.mark.long), id="FRR"),
        pytest.param(made_gobgp, marks=is_here(gobgp.PROGRAM), id="GoBGP"),
    ],
)


def paths_to(them: Speaker, dst: str) -> list[str]:
    """The next hops of all that it has of us."""
    if isinstance(them, GoBGP):
        said = json.loads(them.ask("-j", "neighbor", them.ours, "adj-in") or "{}").get(dst, [])
        return sorted(hop for path in said for hop in [next(a["nexthop"] for a in path["attrs"] if a["type"] == 3)])
    if isinstance(them, Bird):
        return sorted(re.findall(r"BGP.next_hop: (\S+)", them.ask("show", "route", "all", dst, "protocol", "ours")))
    return sorted(line.split()[2] for line in them.learned() if line.startswith(dst))


@each_of_them
@is_here(bird.PROGRAM)
async def test_every_path_is_known_at_the_other_end_until_it_is_withdrawn(
    made: Callable[[FarSide, Path], Speaker], far: FarSide, tmp_path: Path
) -> None:
    """A reflector's client hears what each of two others has said."""
    folders = [tmp_path / name for name in ("one", "two", "them")]
    for folder in folders:
        folder.mkdir()
    one, two = (Bird(far, folder, f"10.0.0.{n}", routes=(SHARED,)) for n, folder in zip((2, 3), folders, strict=False))
    them = made(far, folders[2])
    for each in (one, two, them):
        each.start()
    clients = [neighbour(f"10.0.0.{number}", cluster_id=CLUSTER) for number in (2, 3)]
    many = neighbour("10.0.0.4", cluster_id=CLUSTER, add_path=AddPath.BOTH)
    ours = OurSide((*clients, many), policy=POLICY)
    async with ours.running() as speaker:
        await until(lambda: paths_to(them, SHARED) == ["10.0.0.2", "10.0.0.3"])
        assert paths_to(them, "10.244.1.0/26") == ["10.0.0.1"]
        if isinstance(them, GoBGP):
            them.announce()
        await until(lambda: any(isinstance(each[0], Numbered) for each in speaker.rib.received("Global_10_0_0_4")))
        assert ours.routes[ip_network(THEIRS)].next_hops == (ours.neighbours[2].address,)
        one.configure()
        await until(lambda: paths_to(them, SHARED) == ["10.0.0.3"])
        two.configure()
        await until(lambda: paths_to(them, SHARED) == [])
        assert speaker.peerings["Global_10_0_0_4"].counters["established"] == 1


@is_here(bird.PROGRAM)
async def test_two_paths_of_a_bird_are_two_here(far: FarSide, tmp_path: Path) -> None:
    them = Bird(far, tmp_path, "10.0.0.4", routes=(SHARED,), beside=f"route {SHARED} blackhole {{ bgp_med = 7; }};")
    them.start()
    ours = OurSide((neighbour("10.0.0.4", add_path=AddPath.RECEIVE),))

    def meds() -> list[int]:
        found = ours.speaker.rib.received("Global_10_0_0_4")
        return sorted(attributes.med for place, attributes, *_ in found if isinstance(place, Numbered))

    async with ours.running():
        await until(lambda: meds() == [0, 7])
        ((best, *others),) = [candidates for _, candidates in ours.speaker.rib.paths()]
        assert (best.attributes.med, len(others)) == (0, 1)
        them.configure()
        await until(lambda: meds() == [7])
        assert ours.table() == [f"{SHARED} via 10.0.0.4"]
