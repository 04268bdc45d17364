"""Start-up writes what is missing, keeps what is there, and names the variable that cannot be meant."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from datastore.codec import encode
from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from felix import startup
from felix.startup import BadEnvironment, pool_from, start_up

ENVIRON = {"NODENAME": "node1", "IP": "192.168.50.10/24", "CALICO_IPV4POOL_CIDR": "10.244.0.0/16"}


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "nodename"
    monkeypatch.setattr(startup, "NODENAME_FILE", path)
    return path


def with_store(scenario: Callable[[MemoryStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await scenario(MemoryStore())

    return asyncio.run(run())


def test_a_first_start_makes_node_pool_identity_and_tiers(own_file: Path) -> None:
    async def scenario(store: MemoryStore) -> None:
        assert await start_up(store, ENVIRON) == [
            "node node1 created at 192.168.50.10/24",
            "pool default-ipv4-ippool created: 10.244.0.0/16, blocks /26",
        ]
        assert (await store.get(Key("Node", "node1"))).spec == {"bgp": {"ipv4Address": "192.168.50.10/24"}}
        assert (await store.get(Key("IPPool", "default-ipv4-ippool"))).spec == {
            "cidr": "10.244.0.0/16",
            "vxlanMode": "Never",
            "ipipMode": "Never",
            "natOutgoing": True,
            "blockSize": 26,
            "nodeSelector": "all()",
            "allowedUses": ["Workload", "Tunnel"],
            "assignmentMode": "Automatic",
        }
        cluster = (await store.get(Key("ClusterInformation", "default"))).spec
        assert cluster["datastoreReady"] is True
        assert len(cluster["clusterGUID"]) == 32
        assert "calicoVersion" not in cluster
        tiers = {tier.name: tier.spec["order"] for tier in (await store.list("Tier")).items}
        assert tiers == {"default": 1_000_000, "kube-admin": 1_000, "kube-baseline": 10_000_000}
        assert own_file.read_text() == "node1"

    with_store(scenario)


def test_a_second_start_changes_nothing() -> None:
    async def scenario(store: MemoryStore) -> None:
        await start_up(store, ENVIRON)
        before = [await store.list(kind) for kind in ("Node", "IPPool", "ClusterInformation", "Tier")]
        assert await start_up(store, {**ENVIRON, "IP": "", "CALICO_IPV4POOL_CIDR": "10.9.0.0/16"}) == [
            "node node1 is as it was, at 192.168.50.10/24"
        ]
        assert [await store.list(kind) for kind in ("Node", "IPPool", "ClusterInformation", "Tier")] == before

    with_store(scenario)


def test_what_others_wrote_on_the_node_stays() -> None:
    async def scenario(store: MemoryStore) -> None:
        spec = {"bgp": {"ipv4Address": "10.0.0.1/24", "routeReflectorClusterID": "1.0.0.1"}, "fromTheFuture": 1}
        await store.create(Resource("Node", "node1", spec=spec, labels={"rack": "a"}))
        await start_up(store, {**ENVIRON, "AS": "64999"})
        node = await store.get(Key("Node", "node1"))
        assert node.labels == {"rack": "a"}
        assert node.spec == {
            "bgp": {"ipv4Address": "192.168.50.10/24", "routeReflectorClusterID": "1.0.0.1", "asNumber": 64999},
            "fromTheFuture": 1,
        }

    with_store(scenario)


def test_no_pool_is_made_when_none_is_wanted_or_one_exists() -> None:
    async def scenario(store: MemoryStore) -> None:
        await start_up(store, {**ENVIRON, "NO_DEFAULT_POOLS": "true"})
        assert (await store.list("IPPool")).items == ()
        await store.create(Resource("IPPool", "mine", spec={"cidr": "10.1.0.0/16"}))
        await start_up(store, ENVIRON)
        assert [pool.name for pool in (await store.list("IPPool")).items] == ["mine"]

    with_store(scenario)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("IP", "10.0.0.300", "IP=10.0.0.300: "),
        ("IP", "fd00::1", "IP=fd00::1: must be an IPv4 address"),
        ("IP", "autodetect", "IP=autodetect: detection is still to come"),
        ("AS", "65536.1", "AS=65536.1: must be a number from 1 to 4294967295"),
        ("CALICO_IPV4POOL_CIDR", "10.0.0.1/16", "CALICO_IPV4POOL_CIDR=10.0.0.1/16: "),
        ("CALICO_IPV4POOL_CIDR", "10.0.0.0/27", "CALICO_IPV4POOL_CIDR=10.0.0.0/27: is smaller than a block (/26)"),
        ("CALICO_IPV4POOL_BLOCK_SIZE", "33", "CALICO_IPV4POOL_BLOCK_SIZE=33: must be a number from 20 to 32"),
        (
            "CALICO_IPV4POOL_IPIP",
            "Sometimes",
            "CALICO_IPV4POOL_IPIP=Sometimes: must be Never (or Off), Always or Cross",
        ),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named_and_nothing_is_written(variable: str, value: str, said: str) -> None:
    async def scenario(store: MemoryStore) -> None:
        with pytest.raises(BadEnvironment) as caught:
            await start_up(store, {**ENVIRON, variable: value})
        assert str(caught.value).startswith(said)
        assert (await store.list("Node")).items == ()
        assert (await store.list("IPPool")).items == ()

    with_store(scenario)


@pytest.mark.parametrize(
    ("said", "meant"),
    [("Always", "Always"), ("ALWAYS", "Always"), ("cross-subnet", "CrossSubnet"), ("Off", "Never"), ("", "Never")],
)
def test_the_first_pools_mode_is_read_as_upstream_reads_it(said: str, meant: str) -> None:
    for kind, field in (("IPIP", "ipipMode"), ("VXLAN", "vxlanMode")):
        pool = pool_from({**ENVIRON, f"CALICO_IPV4POOL_{kind}": said})
        assert pool is not None and encode(pool).spec[field] == meant


def test_one_pool_is_not_encapsulated_twice() -> None:
    with pytest.raises(BadEnvironment, match="one of them must be Never"):
        pool_from({**ENVIRON, "CALICO_IPV4POOL_IPIP": "Always", "CALICO_IPV4POOL_VXLAN": "CrossSubnet"})


def test_a_node_with_anothers_address_is_refused() -> None:
    async def scenario(store: MemoryStore) -> None:
        await start_up(store, ENVIRON)
        with pytest.raises(BadEnvironment, match="node node1 has this address already"):
            await start_up(store, {**ENVIRON, "NODENAME": "node2"})

    with_store(scenario)


def test_ten_nodes_that_start_at_once_make_one_pool_and_one_identity() -> None:
    async def scenario(store: MemoryStore) -> None:
        await asyncio.gather(
            *(start_up(store, {**ENVIRON, "NODENAME": f"n{at}", "IP": f"10.0.0.{at}/24"}) for at in range(1, 11))
        )
        assert len((await store.list("Node")).items) == 10
        assert len((await store.list("IPPool")).items) == 1

    with_store(scenario)
