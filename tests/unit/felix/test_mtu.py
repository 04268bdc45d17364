"""The MTU that fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from datastore.resources import IPPool
from felix import mtu
from felix.fib.model import Link
from felix.mtu_file import MtuFile
from felix.settings import Settings
from felix.tunnels import Tunnel
from tests.clusters import pod, pool

V6: dict[str, Any] = {"cidr": "fd00:10:244::/48", "name": "six"}


def link(name: str, mtu_bytes: int, *, is_up: bool = True) -> Link:
    return Link(name, 2, mtu_bytes=mtu_bytes, is_up=is_up)


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([link("ens33", 1500)], 1500),
        ([link("ens33", 9000), link("eth0", 1500)], 1500),
        ([link("ens33", 9000), link("eth0", 1500, is_up=False)], 9000),
        ([link("ens33", 9000), link("docker0", 1400), link("cali1", 1400), link("tunl0", 1480)], 9000),
        ([link("ens33", 1500, is_up=False)], 1500),
        ([link("bond0", 9000)], 1460),
        ([], 1460),
    ],
)
def test_the_hosts_mtu_is_that_of_its_smallest_uplink(links: list[Link], expected: int) -> None:
    assert mtu.of_host(links) == expected


@pytest.mark.parametrize(
    ("pools", "settings", "expected"),
    [
        ([pool()], Settings(), 1500),
        ([pool(ipipMode="Always")], Settings(), 1480),
        ([pool(vxlanMode="CrossSubnet")], Settings(), 1450),
        ([pool(**V6, vxlanMode="Always")], Settings(), 1430),
        ([pool(ipipMode="Always"), pool("10.245.0.0/16", "two", vxlanMode="Always")], Settings(), 1450),
        ([pool(ipipMode="Always", disabled=True)], Settings(), 1480),
        ([pool(ipipMode="Always")], Settings(ipip_enabled=False), 1500),
        ([pool()], Settings(vxlan_enabled=True), 1450),
        ([pool(ipipMode="Always")], Settings(ipip_mtu_bytes=1440), 1440),
        ([pool(ipipMode="Always")], Settings(vxlan_mtu_bytes=1300), 1480),
        ([pool(vxlanMode="Always")], Settings(vxlan_mtu_bytes=1300), 1300),
    ],
)
def test_pods_are_offered_what_fits_through_every_tunnel_in_use(
    pools: list[IPPool], settings: Settings, expected: int
) -> None:
    assert mtu.of_pods([link("ens33", 1500)], pools, settings) == expected


def test_the_pattern_of_the_settings_says_what_an_uplink_is() -> None:

    settings = Settings(mtu_iface_pattern=re.compile("^bond"))
    assert mtu.of_pods([link("bond0", 9000), link("eth0", 1500)], [pool()], settings) == 9000


def test_a_tunnels_device_leaves_room_for_what_it_adds() -> None:
    assert [mtu.of_tunnel(tunnel, 1500, Settings()) for tunnel in Tunnel] == [1480, 1450, 1430]
    assert mtu.of_tunnel(Tunnel.IPIP, 60, Settings()) == 68


def test_what_the_cni_configuration_says_wins() -> None:
    assert (mtu.of_pod(1440, 1480), mtu.of_pod(0, 1480)) == (1440, 1480)


def test_pods_with_more_than_is_offered_are_named() -> None:
    pods = [
        pod("node1", "web", "10.244.0.1/32", device="cali1"),
        pod("node1", "db", "10.244.0.2/32", device="cali2"),
        pod("node1", "new", "10.244.0.3/32", device="cali3"),
        pod("node1", "gone", "10.244.0.4/32", device="cali4"),
    ]
    links = [link("cali1", 1500), link("cali2", 1500), link("cali3", 1480)]
    assert [str(each) for each in mtu.too_large(pods, links, 1480)] == [
        "pod default/db (cali2) has MTU 1500, the network offers 1480",
        "pod default/web (cali1) has MTU 1500, the network offers 1480",
    ]
    assert mtu.too_large(pods, links, 1500) == ()


def test_the_file_holds_a_bare_number_and_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "calico" / "mtu"
    file = MtuFile(path)
    assert file.offer(1500) == ""
    assert path.read_bytes() == b"1500"
    before = path.stat().st_ino
    assert file.offer(1500) == ""
    assert path.stat().st_ino == before
    assert file.offer(1480) == ""
    assert path.read_bytes() == b"1480"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["mtu"]


def test_a_file_that_says_so_already_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "mtu"
    path.write_text("1450")
    before = path.stat().st_ino
    assert MtuFile(path).offer(1450) == ""
    assert path.stat().st_ino == before


def test_a_file_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "calico").write_text("in the way")
    file = MtuFile(tmp_path / "calico" / "mtu")
    assert file.offer(1450).startswith(f"{tmp_path}/calico/mtu: ")
    (tmp_path / "calico").unlink()
    assert file.offer(1450) == ""
    assert (tmp_path / "calico" / "mtu").read_text() == "1450"
