"""Hours and days of a node with its leases in etcd, in virtual time: outages, clocks that jump, an etcd emptied.

Everything is the real code but the kernel, etcd and the packet filter, which are models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from felix.fib.model_kernel import ModelKernel
from felix.firewall.model import NOTHING
from flannel.backends.backend import Refused
from flannel.command import leaves
from flannel.source import Revoked
from tests.models.etcd_model import EtcdModel
from tests.models.flannel_node import PREFIX, FlannelNode
from tests.virtual_time import VirtualLoop, virtually

HOUR_S, DAY_S = 3600.0, 86_400.0
MOMENT_S = 10.0


def config(backend: str = "vxlan", network: str = "10.5.0.0/16") -> str:
    return f'{{"Network": "{network}", "Backend": {{"Type": "{backend}"}}}}'


def etcd_with(*peers: int, backend: str = "vxlan") -> EtcdModel:
    etcd = EtcdModel()
    etcd.put(f"{PREFIX}/config", config(backend))
    for number in peers:
        etcd.put(f"{PREFIX}/subnets/10.5.{number}.0-24", lease_of(number))
    return etcd


def lease_of(number: int) -> str:
    data = f'{{"VNI":1,"VtepMAC":"0a:00:00:00:00:0{number}"}}'
    return f'{{"PublicIP":"192.168.99.{number}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}'


def state_of(*peers: int) -> str:
    """What the kernel holds for them."""
    lines = [f"10.5.{n}.0/24 via 10.5.{n}.0 dev flannel.1 onlink" for n in peers]
    lines += [f"fdb 0a:00:00:00:00:0{n} dev flannel.1 dst 192.168.99.{n}" for n in peers]
    return "\n".join([*lines, *(f"neigh 10.5.{n}.0 dev flannel.1 lladdr 0a:00:00:00:00:0{n}" for n in peers)])


def own_key(etcd: EtcdModel) -> str:
    return next(key for key, value in etcd.values(f"{PREFIX}/subnets/").items() if '"192.168.99.1"' in value)


@contextmanager
def ends_with(kind: type[Exception]) -> Iterator[list[str]]:
    """The daemon, and for nothing else. The list has the words of it then."""
    words: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        yield words
    matching, rest = caught.value.split(kind)
    assert matching is not None and rest is None
    words += [str(error) for error in leaves(matching)]


@virtually
async def test_etcd_lost_for_an_hour_takes_nothing_away_and_what_happened_meanwhile_is_learned(tmp_path: Path) -> None:
    etcd = etcd_with(2, 3)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon() as running:
        etcd.is_away = True
        for _ in range(60):
            await asyncio.sleep(60)
            assert await node.state() == state_of(2, 3)
        etcd.delete(f"{PREFIX}/subnets/10.5.2.0-24")
        etcd.put(f"{PREFIX}/subnets/10.5.4.0-24", lease_of(4))
        etcd.is_away = False
        await asyncio.sleep(MOMENT_S)
        counters = running.agent.figures().source
        assert (await node.state(), running.task.done()) == (state_of(3, 4), False)
        assert (counters.lists, counters.watch_failures > 0) == (2, True)


@virtually
async def test_a_renewal_that_falls_into_an_outage_is_made_up_for_when_it_is_over(tmp_path: Path) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon() as running:
        await asyncio.sleep(22.9 * HOUR_S)
        etcd.is_away = True
        await asyncio.sleep(HOUR_S)
        etcd.is_away = False
        await asyncio.sleep(2 * 60)
        counters = running.agent.figures().source
        assert (counters.renewals, counters.renewal_failures > 10) == (1, True)
        assert etcd.left_s(own_key(etcd)) > 23.9 * HOUR_S


@virtually
async def test_days_without_a_person_renew_each_day_with_the_same_key_and_bytes(tmp_path: Path) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon() as running:
        before = etcd.values(f"{PREFIX}/subnets/")
        await asyncio.sleep(2 * DAY_S)
        assert running.agent.figures().source.renewals == 2
        assert (etcd.values(f"{PREFIX}/subnets/"), await node.state()) == (before, state_of(2))


@virtually
async def test_a_node_whose_clock_jumps_a_day_renews_at_once_and_loses_no_lease(tmp_path: Path) -> None:
    """The loop's clock, as after a pause of the whole machine; etcd's own goes on as ever."""
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon() as running:
        before = etcd.values(f"{PREFIX}/subnets/")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(DAY_S)
        etcd.clock_ahead_s -= DAY_S
        await asyncio.sleep(MOMENT_S)
        assert (running.agent.figures().source.renewals, running.task.done()) == (1, False)
        assert (etcd.values(f"{PREFIX}/subnets/"), await node.state()) == (before, state_of(2))


@virtually
async def test_etcds_clock_that_jumps_a_day_ends_the_daemon_and_the_next_one_has_the_same_subnet(
    tmp_path: Path,
) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    with ends_with(Revoked):
        async with node.daemon() as running:
            key = own_key(etcd)
            etcd.clock_ahead_s += DAY_S
            await asyncio.wait_for(running.task, HOUR_S)
    assert await node.state() == state_of(2)
    async with node.daemon():
        assert (own_key(etcd), await node.state()) == (key, state_of(2))


@virtually
async def test_an_etcd_that_is_emptied_takes_no_route_of_nodes_that_come_back_and_those_of_others_later(
    tmp_path: Path,
) -> None:
    etcd = etcd_with(2, 3)
    node = FlannelNode(etcd, tmp_path)
    with ends_with(Revoked):
        async with node.daemon() as running:
            key = own_key(etcd)
            etcd.delete()
            await asyncio.wait_for(running.task, HOUR_S)
    assert await node.state() == state_of(2, 3)

    async def fill() -> None:
        await asyncio.sleep(HOUR_S)
        assert await node.state() == state_of(2, 3), "a daemon that waits for its configuration changes nothing"
        etcd.put(f"{PREFIX}/config", config())

    filling = asyncio.create_task(fill())
    async with node.daemon():
        await filling
        await asyncio.sleep(60)
        assert (own_key(etcd), await node.state()) == (key, state_of(2, 3)), "the others are late"
        etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", lease_of(3))
        await asyncio.sleep(HOUR_S)
        assert await node.state() == state_of(3)


@virtually
async def test_a_wrong_network_is_not_used_and_nothing_changes_until_it_is_corrected(tmp_path: Path) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon():
        key = own_key(etcd)
    etcd.put(f"{PREFIX}/config", config(network="10.5.0.0/29"))

    async def correct() -> None:
        await asyncio.sleep(HOUR_S)
        assert (own_key(etcd), await node.state()) == (key, state_of(2))
        etcd.put(f"{PREFIX}/config", config())

    correcting = asyncio.create_task(correct())
    async with node.daemon():
        await correcting
        assert (own_key(etcd), await node.state()) == (key, state_of(2))


@virtually
async def test_a_watch_that_was_compacted_away_goes_on_with_a_list(tmp_path: Path) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon():
        etcd.is_away = True
        await asyncio.sleep(60)
        etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", lease_of(3))
        etcd.compact()
        etcd.is_away = False
        await asyncio.sleep(MOMENT_S)
        assert await node.state() == state_of(2, 3)


@virtually
async def test_what_somebody_takes_away_is_put_back_and_counted_and_news_are_not(tmp_path: Path) -> None:
    etcd = etcd_with(2)
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon() as running:
        etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", lease_of(3))
        await asyncio.sleep(MOMENT_S)
        assert running.agent.figures().repairs == 0
        node.kernel.delete_link("flannel.1")
        await asyncio.sleep(MOMENT_S)
        assert await node.state() == state_of(2, 3)
        assert running.agent.figures().repairs >= 6


@virtually
async def test_without_ipip_in_the_kernel_the_daemon_says_what_to_do_before_it_takes_a_lease(tmp_path: Path) -> None:
    etcd = etcd_with(backend="ipip")
    node = FlannelNode(etcd, tmp_path, kernel=ModelKernel(lacks=("ipip",)))
    with ends_with(Refused) as whys:
        async with node.daemon():
            pass
    assert whys == [
        "Error registering network: link add flannel.ipip type ipip local 192.168.99.1: ENOTSUP; this kernel has no "
        "ipip: load its module (modprobe ipip), or set Backend.Type to another one"
    ]
    assert etcd.values(f"{PREFIX}/subnets/") == {}


@virtually
async def test_a_machine_without_a_packet_filter_is_told_and_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = FlannelNode(etcd_with(2), tmp_path)
    node.filter.lack = "neither nft nor iptables can be used here: install nftables"
    began_s = asyncio.get_running_loop().time()
    async with node.daemon():
        assert asyncio.get_running_loop().time() - began_s < 1
        assert node.filter.held == NOTHING
        assert "Failed to set up the packet filter: neither nft nor iptables can be used here" in caplog.text


@virtually
async def test_a_packet_filter_that_refuses_is_told_waited_for_a_moment_and_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = FlannelNode(etcd_with(2), tmp_path)
    node.filter.refusal = "nft: Operation not supported"
    began_s = asyncio.get_running_loop().time()
    async with node.daemon():
        assert asyncio.get_running_loop().time() - began_s < 2
        assert "rules are not in force yet: nft: Operation not supported" in caplog.text
        node.filter.refusal = ""
        await asyncio.sleep(60)
        assert node.filter.held != NOTHING
