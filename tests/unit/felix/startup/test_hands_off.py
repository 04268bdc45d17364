"""NetworkManager and networkd are told once to leave pods' devices alone, and told again when that ends."""

from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path

import pytest

from felix.startup.bus import BusError, Call, Nobody
from felix.startup.hands_off import DEVICES, tell, withdraw

NM, NETWORKD = "org.freedesktop.NetworkManager", "org.freedesktop.network1"


class Bus:
    """Who is asked to reload; ``error`` is the answer."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._error = error

    def __call__(self, call: Call) -> None:
        self.asked.append(call.destination)
        if self._error is not None:
            raise self._error


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """/run of a machine where both run."""
    (tmp_path / "NetworkManager").mkdir()
    (tmp_path / "systemd" / "netif").mkdir(parents=True)
    return tmp_path


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def test_both_are_told_once_and_asked_to_read_it(run: Path) -> None:
    bus = Bus()
    devices = "cali*, tunl*, vxlan.calico, vxlan-v6.calico, flannel*"
    assert list(tell(run, bus)) == [
        f"NetworkManager leaves {devices} alone",
        f"systemd-networkd leaves {devices} alone",
    ]
    assert bus.asked == [NM, NETWORKD]
    assert files(run) == [
        "NetworkManager/conf.d/calico.conf",
        "systemd/network/10-calico.network",
        "systemd/networkd.conf.d/calico.conf",
    ]
    assert list(tell(run, bus)) == [] and bus.asked == [NM, NETWORKD]


def test_the_files_are_what_either_reads(run: Path) -> None:
    list(tell(run, Bus()))
    keyfile = configparser.ConfigParser()
    keyfile.read(run / "NetworkManager/conf.d/calico.conf")
    assert keyfile["keyfile"]["unmanaged-devices"] == (
        "interface-name:cali*;interface-name:tunl*;interface-name:vxlan.calico;interface-name:vxlan-v6.calico;"
        "interface-name:flannel*"
    )
    network = configparser.ConfigParser()
    network.read(run / "systemd/network/10-calico.network")
    assert network["Match"]["Name"].split() == list(DEVICES)
    assert network["Link"]["Unmanaged"] == "yes"
    routes = configparser.ConfigParser()
    routes.read(run / "systemd/networkd.conf.d/calico.conf")
    assert routes["Network"]["ManageForeignRoutes"] == "no"


@pytest.mark.parametrize(
    "device", ["cali717821d73f3", "tunl0", "vxlan.calico", "flannel.1", "flannel0", "flannel-v6.1"]
)
def test_every_device_of_ours_is_meant(device: str) -> None:
    assert any(fnmatch(device, pattern) for pattern in DEVICES)


@pytest.mark.parametrize("device", ["eth0", "ens33", "docker0", "vxlan0", "cni0"])
def test_no_other_device_is_meant(device: str) -> None:
    assert not any(fnmatch(device, pattern) for pattern in DEVICES)


def test_where_neither_runs_nothing_is_written(tmp_path: Path) -> None:
    bus = Bus()
    assert (list(tell(tmp_path, bus)), files(tmp_path), bus.asked) == ([], [], [])


def test_who_cannot_be_asked_is_told_of_with_the_reason(run: Path) -> None:
    first, _ = tell(run, Bus(BusError("not allowed")))
    assert first.endswith("alone, once it is restarted: it could not be asked to read its files again: not allowed")
    assert list(withdraw(run, Bus(Nobody("")))) == [
        "NetworkManager may manage devices of pods again, once it runs",
        "systemd-networkd may manage devices of pods again, once it runs",
    ]


def test_it_is_taken_back_but_for_what_others_wrote(run: Path) -> None:
    bus = Bus()
    list(tell(run, bus))
    (run / "NetworkManager/conf.d/calico.conf").write_text("[keyfile]\n")
    assert list(withdraw(run, bus)) == ["systemd-networkd may manage devices of pods again"]
    assert files(run) == ["NetworkManager/conf.d/calico.conf"]
    assert list(withdraw(run, bus)) == []
