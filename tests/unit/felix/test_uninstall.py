"""An uninstalled node has nothing of ours in its kernel, all of the others', and the settings it had before."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Interface, ip_address, ip_network
from pathlib import Path

import pytest

from felix import uninstall
from felix.fib.journal import Claims, FileJournal
from felix.fib.kernel import KernelUnavailable
from felix.fib.model import AddRoute, Hop, Op, Protocol, Route, RouteType, Scope, WriteSysctl, show
from felix.fib.model_kernel import ModelKernel
from felix.fib.tunnel import MakeTunnel, TunnelDevice, Vxlan
from felix.first_seen import SYSCTLS, FirstSeen, RememberingKernel

BLOCK, REMOTE, POD = (ip_network(each) for each in ("10.244.1.0/26", "10.244.2.0/26", "10.244.1.1/32"))
MINE = (
    Route(BLOCK, type=RouteType.BLACKHOLE),
    Route(REMOTE, (Hop("ens33", ip_address("192.168.50.11")),)),
    Route(POD, (Hop("cali1"),), protocol=Protocol.BOOT, scope=Scope.LINK),
)
OTHERS = (
    Route(ip_network("172.16.0.0/16"), (Hop("ens33", ip_address("192.168.50.1")),)),  # an administrator's own BIRD
    Route(ip_network("10.244.9.0/24"), (Hop("ens33", ip_address("192.168.50.1")),), protocol=Protocol.STATIC),
)
TUNNEL = TunnelDevice(
    "vxlan.calico",
    1450,
    mac="66:00:00:00:00:01",
    vxlan=Vxlan(4096, 4789, ip_address("192.168.50.10"), "ens33"),
)


def node() -> ModelKernel:
    kernel = ModelKernel()
    kernel.add_link("ens33", kind="")
    kernel.set_up("ens33")
    kernel.add_address("ens33", IPv4Interface("192.168.50.10/24"))
    kernel.add_link("cali1")
    kernel.set_up("cali1")
    kernel.add_link("veth1")
    for route in OTHERS:
        assert kernel.do(AddRoute(route)) is None
    return kernel


def in_use(kernel: ModelKernel) -> ModelKernel:
    ops: list[Op] = [MakeTunnel(TUNNEL), *map(AddRoute, MINE)]
    assert [kernel.do(op) for op in ops] == [None] * len(ops)
    return kernel


def journal(folder: Path) -> Path:
    FileJournal(folder / "felix-routes").record(Claims(pools=frozenset({ip_network("10.244.0.0/16")})))
    return folder


def test_what_is_ours_goes_and_what_is_others_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = in_use(node())
        done = await uninstall._clear_kernel(kernel, uninstall.ownership_of(journal(tmp_path)))
        left = await kernel.read()
        routes = [route for route in left.routes.values() if route.protocol != Protocol.KERNEL]
        assert show(routes) == show(OTHERS)
        assert {"ens33", "veth1"} <= left.links.keys()
        assert left.links.keys().isdisjoint({"cali1", "vxlan.calico"})
        assert "link del cali1" in map(str, done)

    asyncio.run(scenario())


def test_a_node_that_lost_its_notes_keeps_what_cannot_be_told_from_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = in_use(node())
        await uninstall._clear_kernel(kernel, uninstall.ownership_of(tmp_path))
        assert REMOTE in {key.dst for key in (await kernel.read()).routes}

    asyncio.run(scenario())


def test_the_first_value_of_a_setting_comes_back_and_no_later_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        kernel = node()
        for _ in range(2):  # the second felix finds what the first has written
            remembering = RememberingKernel(kernel, FirstSeen(tmp_path / "first-seen.json"))
            await remembering.apply([WriteSysctl("net/ipv4/ip_forward", "1")])
        assert kernel.read_sysctls(["net/ipv4/ip_forward"]) == {"net/ipv4/ip_forward": "1"}
        await uninstall._put_back(kernel, FirstSeen(tmp_path / "first-seen.json"))
        assert kernel.read_sysctls(["net/ipv4/ip_forward"]) == {"net/ipv4/ip_forward": "0"}

    asyncio.run(scenario())


def test_settings_of_devices_of_ours_are_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        first_seen = FirstSeen(tmp_path / "first-seen.json")
        await RememberingKernel(node(), first_seen).apply([WriteSysctl("net/ipv4/conf/cali1/proxy_arp", "1")])
        assert not first_seen.knows(SYSCTLS)

    asyncio.run(scenario())


def test_a_value_that_cannot_be_kept_is_not_overwritten(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "a file").touch()
        kernel = node()
        remembering = RememberingKernel(kernel, FirstSeen(tmp_path / "a file" / "first-seen.json"))
        with pytest.raises(KernelUnavailable, match=r"first-seen\.json: "):
            await remembering.apply([WriteSysctl("net/ipv4/ip_forward", "1")])
        assert kernel.read_sysctls(["net/ipv4/ip_forward"]) == {"net/ipv4/ip_forward": "0"}

    asyncio.run(scenario())


def test_a_node_whose_felix_still_answers_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as felix:
            felix.bind(str(tmp_path / "cni.sock"))
            felix.listen()
            with pytest.raises(uninstall.StillRuns, match="delete the DaemonSet calico-node first"):
                await anext(uninstall.uninstall({}, state=tmp_path, run=tmp_path))

    asyncio.run(scenario())


def test_the_daemons_files_go_and_a_datastore_stays(tmp_path: Path) -> None:
    state, run = tmp_path / "lib", tmp_path / "run"
    for path in (state / "mtu", state / "nodename", state / "cni-deleted" / "c1:eth0", run / "bird.ctl"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (state / "datastore.sqlite").touch()
    list(uninstall._remove_files(state, run))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["lib", "lib/datastore.sqlite"]
