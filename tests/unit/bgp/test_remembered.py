"""What survives the end of the process."""

import json
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from bgp.export import Announcement
from bgp.filters import read
from bgp.neighbour import AddPath, Kind, Neighbour, NextHopMode
from bgp.passing import CLOSED, Policy
from bgp.remembered import Remembered, load, save, this_boot

REMEMBERED = Remembered(
    IPv4Address("10.0.0.1"),
    (
        Neighbour(
            "Mesh_10_0_0_2", Kind.MESH, ip_address("10.0.0.2"), 64512, 64512, ip_address("10.0.0.1"), node="node2"
        ),
        Neighbour(
            "Global_fd00__9",
            Kind.GLOBAL,
            ip_address("fd00::9"),
            65000,
            64512,
            None,
            1790,
            True,
            90,
            keepalive_time_s=7,
            ttl_hops=2,
            password="let me in",
            gateway=ip_address("fd00::1"),
            cluster_id=IPv4Address("1.0.0.1"),
            next_hop_mode=NextHopMode.KEEP,
            allowed_local_as=3,
            filters=(read("f", {"importV4": [{"action": "Reject"}]}),),
            versions=(4, 6),
            other_address=ip_address("10.0.0.1"),
            survives_notifications=True,
            hold_time_s=9,
            max_prefixes=1000,
            is_watched=True,
            needs_near_next_hops=True,
            enforces_first_as=True,
            add_path=AddPath.SEND,
        ),
    ),
    {ip_network("10.244.1.0/26"): Announcement(), ip_network("fd00:10:244::/122"): Announcement(7)},
    1790,
    "the boot",
    Policy(
        pools=(ip_network("10.244.0.0/16"),),
        closed=(ip_network("10.245.0.0/16"),),
        services=(ip_network("10.96.0.0/12"),),
        marks=((ip_network("10.244.0.0/16"), ((65000, 7), (1, 2, 3))),),
        blocks=(ip_network("10.244.1.0/26"),),
        cluster_id=IPv4Address("1.0.0.1"),
    ),
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bgp.json"
    save(path, REMEMBERED)
    assert load(path) == REMEMBERED
    assert [each.name for each in path.parent.iterdir()] == ["bgp.json"]


def test_no_field_of_a_neighbour_is_forgotten() -> None:
    """The first has everything that the second has not."""
    mesh, tor = REMEMBERED.neighbours
    plain = Neighbour("", Kind.GLOBAL, ip_address("fd00::8"), 1, 1)
    same = {each for each in Neighbour.__slots__ if getattr(tor, each) == getattr(plain, each)}
    assert same == {"kind", "local_address", "node"}
    assert {mesh.kind, mesh.local_address, mesh.node}.isdisjoint({plain.kind, plain.local_address, plain.node})


def test_only_its_owner_may_read_it_because_passwords_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "bgp.json"
    save(path, REMEMBERED)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_an_older_process_left_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bgp.json"
    save(path, REMEMBERED)
    raw = json.loads(path.read_text())
    old = ("name", "kind", "address", "peerAs", "localAs", "localAddress", "port", "passive", "restartTime", "node")
    mesh_alone = [{key: each[key] for key in old} for each in raw["neighbours"][:1]]
    path.write_text(json.dumps({**raw, "version": 1, "neighbours": mesh_alone, "policy": None}))
    assert load(path) == replace(REMEMBERED, neighbours=REMEMBERED.neighbours[:1], policy=CLOSED)


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert load(tmp_path / "bgp.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 99}', '{"version": 1, "routerId": "x"}', "null"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bgp.json"
    path.write_text(text)
    assert load(path) is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "bgp.json"
    save(path, REMEMBERED)
    path.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        save(path, Remembered(IPv4Address("10.0.0.7")))
    assert load(path) == REMEMBERED


def test_the_machines_boot_has_a_name() -> None:
    assert len(this_boot()) == 36
    assert this_boot() == this_boot()
