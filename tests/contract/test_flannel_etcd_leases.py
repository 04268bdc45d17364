"""Leases in a real etcd: what is stored byte for byte, who gets what, and that a bad key or an outage costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from random import Random

import pytest

from datastore.etcd_client import EtcdClient
from flannel.etcd_leases import EtcdLeases
from flannel.lease import NO_SUBNETS, Attributes, Subnets
from flannel.lease_table import Known
from flannel.source import NoLease, Revoked
from tests.etcd_server import EtcdServer, shared_server

pytestmark = pytest.mark.server

PREFIX = "/coreos.com/network"
CONFIG = '{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'
MAC = '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}'
PATIENCE_S = 10.0


def node(number: int) -> Attributes:
    return Attributes(IPv4Address(f"192.168.64.{number}"), backend="vxlan", data=MAC)


@pytest.fixture
def etcd() -> Iterator[EtcdServer]:
    server = shared_server()
    server.clear()
    server.put(f"{PREFIX}/config", CONFIG)
    yield server
    server.clear()


@asynccontextmanager
async def leases(etcd: EtcdServer, previous: str = "", *, margin_s: float = 3600.0) -> AsyncIterator[EtcdLeases]:
    before = Subnets(IPv4Network(previous)) if previous else NO_SUBNETS
    source = EtcdLeases(
        EtcdClient(etcd.settings), f"{PREFIX}/", previous=before, renew_margin_s=margin_s, random=Random(1)
    )
    try:
        yield source
    finally:
        await source.close()


async def acquired(etcd: EtcdServer, attributes: Attributes, previous: str = "") -> str:
    async with leases(etcd, previous) as source:
        return str((await source.acquire(attributes)).subnets)


def stored(etcd: EtcdServer) -> dict[str, str]:
    keys = etcd.ctl("get", f"{PREFIX}/subnets/", "--prefix", "--keys-only").split()
    return {key.removeprefix(f"{PREFIX}/subnets/"): etcd.value(key) for key in keys}


def ttl_s(etcd: EtcdServer, key: str) -> int:
    """0: without an end."""
    fields = etcd.ctl("get", f"{PREFIX}/subnets/{key}", "-w", "fields")
    lease = int(fields.split('"Lease" : ')[1].split()[0])
    return int(etcd.ctl("lease", "timetolive", f"{lease:x}").split("remaining(")[1].rstrip("s)\n")) if lease else 0


async def test_a_lease_is_stored_byte_for_byte_and_ends_in_24_hours(etcd: EtcdServer) -> None:
    subnet = await acquired(etcd, node(3), "10.5.52.0/24")
    value = f'{{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{MAC}}}'
    assert (subnet, stored(etcd)) == ("10.5.52.0/24", {"10.5.52.0-24": value})
    assert 86_000 < ttl_s(etcd, "10.5.52.0-24") <= 86_400


async def test_a_lease_of_both_families_is_one_key(etcd: EtcdServer) -> None:
    etcd.put(
        f"{PREFIX}/config",
        '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:12::/32","IPv6SubnetLen":56}',
    )
    async with leases(etcd) as source:
        lease = await source.acquire(node(3))
    assert isinstance(lease.subnets.v6, IPv6Network)
    assert list(stored(etcd)) == [f"{lease.subnets.v4}&{lease.subnets.v6}".replace("/", "-")]


async def test_the_same_address_gets_the_same_subnet_again(etcd: EtcdServer) -> None:
    first = await acquired(etcd, node(3))
    assert await acquired(etcd, node(3)) == first
    assert await acquired(etcd, node(4)) != first


async def test_a_subnet_that_subnet_env_names_is_taken_again_if_it_is_free_and_fits(etcd: EtcdServer) -> None:
    assert await acquired(etcd, node(3), "10.5.77.0/24") == "10.5.77.0/24"
    assert await acquired(etcd, node(4), "10.5.77.0/24") != "10.5.77.0/24"
    assert await acquired(etcd, node(5), "10.9.1.0/24") != "10.9.1.0/24"
    assert (await acquired(etcd, node(6), "10.5.0.0/24")).startswith("10.5.") is True
    assert "10.5.0.0-24" not in stored(etcd), "the first subnet is never given"


async def test_a_lease_that_no_longer_fits_the_configuration_is_deleted_and_another_taken(etcd: EtcdServer) -> None:
    await acquired(etcd, node(3), "10.5.77.0/24")
    etcd.put(f"{PREFIX}/config", '{"Network": "10.5.0.0/16", "SubnetMax": "10.5.9.0"}')
    subnet = await acquired(etcd, node(3))
    assert list(stored(etcd)) == [subnet.replace("/", "-")]
    assert IPv4Network(subnet).network_address <= IPv4Address("10.5.9.0")


async def test_many_nodes_that_race_for_few_subnets_each_get_their_own(etcd: EtcdServer) -> None:
    etcd.put(f"{PREFIX}/config", '{"Network": "10.5.0.0/16", "SubnetMin": "10.5.1.0", "SubnetMax": "10.5.6.0"}')
    found = await asyncio.gather(*(acquired(etcd, node(number)) for number in range(1, 7)))
    assert len(set(found)) == 6
    with pytest.raises(NoLease, match="out of subnets"):
        await acquired(etcd, node(99))


async def test_a_reservation_stays_one_and_is_respected_by_others(etcd: EtcdServer) -> None:
    etcd.put(f"{PREFIX}/config", '{"Network": "10.5.0.0/16", "SubnetMin": "10.5.1.0", "SubnetMax": "10.5.2.0"}')
    etcd.put(f"{PREFIX}/subnets/10.5.1.0-24", '{"PublicIP":"192.168.64.3"}')
    assert await acquired(etcd, node(4)) == "10.5.2.0/24"
    assert await acquired(etcd, node(3)) == "10.5.1.0/24"
    assert ttl_s(etcd, "10.5.1.0-24") == 0
    assert '"VtepMAC"' in stored(etcd)["10.5.1.0-24"]


async def test_what_a_lease_of_an_earlier_run_says_is_found_by_the_address(etcd: EtcdServer) -> None:
    await acquired(etcd, node(3))
    async with leases(etcd) as source:
        assert await source.held(node(3)) == node(3)
        assert await source.held(node(4)) is None


async def test_a_configuration_that_comes_late_or_is_corrected_is_waited_for(
    etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    etcd.ctl("del", f"{PREFIX}/config")
    async with leases(etcd) as source:
        waiting = asyncio.create_task(source.config())
        await eventually(lambda: "flannel config not found in etcd store" in caplog.text)
        etcd.put(f"{PREFIX}/config", '{"Network": "10.5.0.0/16", "SubnetLen": 31}')
        await eventually(lambda: "SubnetLen: SubnetLen must be less than /31" in caplog.text)
        etcd.put(f"{PREFIX}/config", CONFIG)
        assert str((await asyncio.wait_for(waiting, PATIENCE_S)).network) == "10.5.0.0/16"


class Follower:
    """What one node has been told. ``error``: what following ended with."""

    def __init__(self) -> None:
        self.told: list[Known] = []

    def subnets(self) -> list[str]:
        return [str(lease.subnets) for lease in self.told[-1].leases] if self.told else []


@asynccontextmanager
async def following(source: EtcdLeases) -> AsyncIterator[Follower]:
    follower = Follower()
    task = asyncio.create_task(source.follow(follower.told.append))
    await eventually(lambda: follower.told)
    try:
        yield follower
    finally:
        task.cancel()


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what etcd tells has no event here
            await asyncio.sleep(0.01)


async def test_leases_that_come_change_and_go_are_told_whole(etcd: EtcdServer) -> None:
    async with leases(etcd) as source, following(source) as follower:
        assert follower.subnets() == []
        etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", '{"PublicIP":"1.2.3.4"}')
        etcd.put(f"{PREFIX}/subnets/10.5.4.0-24", '{"PublicIP":"1.2.3.5"}')
        await eventually(lambda: follower.subnets() == ["10.5.3.0/24", "10.5.4.0/24"])
        etcd.put(f"{PREFIX}/subnets/10.5.4.0-24", '{"PublicIP":"1.2.3.6"}')
        await eventually(lambda: follower.told[-1].leases[1].attributes.public_ip == IPv4Address("1.2.3.6"))
        etcd.ctl("del", f"{PREFIX}/subnets/10.5.3.0-24")
        await eventually(lambda: follower.subnets() == ["10.5.4.0/24"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("foo", "x"),
        ("10.5.9.0-24", " "),
        ("10.5.9.0-24", '{"PublicIP":"here"}'),
        ("10.5.3.0-24", "{"),
        ("10.5.3.0-24", '{"PublicIP":null}'),
        ("10.5.9.0-24&:", "{}"),
    ],
)
async def test_one_unreadable_key_takes_no_lease_away(
    etcd: EtcdServer, caplog: pytest.LogCaptureFixture, key: str, value: str
) -> None:
    etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", '{"PublicIP":"1.2.3.4"}')
    async with leases(etcd) as source, following(source) as follower:
        etcd.put(f"{PREFIX}/subnets/{key}", value)
        await eventually(lambda: "Ignoring bad subnet node" in caplog.text)
        etcd.put(f"{PREFIX}/subnets/10.5.4.0-24", '{"PublicIP":"1.2.3.5"}')
        await eventually(lambda: "10.5.4.0/24" in follower.subnets())
    assert all("10.5.3.0/24" in [str(lease.subnets) for lease in known.leases] for known in follower.told)


async def test_a_subnet_whose_lease_was_never_readable_is_known_to_be_somebodys(etcd: EtcdServer) -> None:
    etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", "{")
    async with leases(etcd) as source, following(source) as follower:
        assert [str(network) for network in follower.told[0].unreadable] == ["10.5.3.0/24"]


async def test_a_watch_goes_on_behind_a_compaction_and_over_a_restart(etcd: EtcdServer) -> None:
    own = EtcdServer(name="mine").start()
    try:
        own.put(f"{PREFIX}/config", CONFIG)
        own.put(f"{PREFIX}/subnets/10.5.3.0-24", '{"PublicIP":"1.2.3.4"}')
        async with leases(own) as source, following(source) as follower:
            own.stop()
            own.start()
            own.put(f"{PREFIX}/subnets/10.5.4.0-24", '{"PublicIP":"1.2.3.5"}')
            own.compact()
            own.put(f"{PREFIX}/subnets/10.5.5.0-24", '{"PublicIP":"1.2.3.6"}')
            await eventually(lambda: "10.5.5.0/24" in follower.subnets())
        assert follower.subnets() == ["10.5.3.0/24", "10.5.4.0/24", "10.5.5.0/24"]
        assert all(known.leases for known in follower.told), "an outage takes nothing away"
    finally:
        own.remove()


async def test_a_node_whose_lease_is_deleted_is_told_and_withdraws_nobody(etcd: EtcdServer) -> None:
    etcd.put(f"{PREFIX}/subnets/10.5.3.0-24", '{"PublicIP":"1.2.3.4"}')
    async with leases(etcd) as source:
        await source.acquire(node(3))
        told: list[Known] = []
        task = asyncio.create_task(source.follow(told.append))
        await eventually(lambda: told)
        etcd.ctl("del", f"{PREFIX}/subnets/", "--prefix")
        with pytest.raises(Revoked):
            await asyncio.wait_for(task, PATIENCE_S)
    assert all(len(known.leases) == 2 for known in told)


async def test_a_lease_is_renewed_before_its_end_with_the_same_bytes(etcd: EtcdServer) -> None:
    async with leases(etcd, margin_s=86_400 - 1.0) as source:
        lease = await source.acquire(node(3))
        key = str(lease.subnets).replace("/", "-")
        before = etcd.ctl("get", f"{PREFIX}/subnets/{key}", "-w", "fields")
        task = asyncio.create_task(source.keep())
        await eventually(lambda: etcd.ctl("get", f"{PREFIX}/subnets/{key}", "-w", "fields") != before)
        task.cancel()
    assert lease.attributes == node(3)
    assert list(stored(etcd)) == [key]


async def test_a_lease_that_somebody_deleted_is_not_made_again_by_a_renewal(etcd: EtcdServer) -> None:
    async with leases(etcd, margin_s=86_400 - 0.2) as source:
        await source.acquire(node(3))
        etcd.ctl("del", f"{PREFIX}/subnets/", "--prefix")
        task = asyncio.create_task(source.keep())
        await asyncio.sleep(0.6)  # longer than until the renewal
        task.cancel()
    assert stored(etcd) == {}
