"""Start-up writes what is missing, keeps what is there, and names the variable that cannot be meant."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import ip_interface
from pathlib import Path
from random import Random
from typing import Any

import pytest

from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Store, Unavailable
from felix.startup import name, run
from felix.startup.detect import Link, Machine
from felix.startup.environment import BadEnvironment
from tests.models.faulty_store import Faults, FaultyStore, StoreLine
from tests.virtual_time import virtually

ENVIRON = {"NODENAME": "node1", "IP": "192.168.50.10/24", "CALICO_IPV4POOL_CIDR": "10.244.0.0/16"}


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "nodename"
    monkeypatch.setattr(name, "NODENAME_FILE", path)
    return path


async def read_machine(destinations: Iterable[tuple[int, str]]) -> Machine:
    return Machine([Link("ens33", 2, True, (ip_interface("192.168.50.10/24"),))], ["ens33"])


async def start_up(store: Store, environ: Mapping[str, str]) -> list[str]:
    return await run.start_up(store, environ, read_machine=read_machine)


def with_store(scenario: Callable[[MemoryStore], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await scenario(MemoryStore())

    return asyncio.run(run())


def test_a_first_start_makes_node_pool_identity_and_tiers(own_file: Path) -> None:
    async def scenario(store: MemoryStore) -> None:
        assert await start_up(store, ENVIRON) == [
            "IPv4 192.168.50.10/24: IP says so",
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
            "IPv4 192.168.50.10/24: the node has it, and IP says nothing",
            "node node1 is as it was, at 192.168.50.10/24",
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
        await start_up(store, {**ENVIRON, "CALICO_IPV4POOL_CIDR": "", "NO_DEFAULT_POOLS": "true"})
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
        ("IP_AUTODETECTION_METHOD", "best", "IP_AUTODETECTION_METHOD=best: must be first-found"),
        ("CALICO_NETWORKING_BACKEND", "ospf", "CALICO_NETWORKING_BACKEND=ospf: must be bird, vxlan or none"),
        ("POD_TEMPLATE_GENERATION", "new", "POD_TEMPLATE_GENERATION=new: must be a number from 0"),
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


def test_an_address_is_detected_said_with_its_reason_and_not_changed_by_a_second_start() -> None:
    async def scenario(store: MemoryStore) -> None:
        environ = {**ENVIRON, "IP": "autodetect"}
        assert (await start_up(store, environ))[0] == "IPv4 192.168.50.10/24: first-found: ens33 has the default route"
        assert (await start_up(store, environ))[:2] == [
            "IPv4 192.168.50.10/24: it was chosen before and is still on ens33",
            "node node1 is as it was, at 192.168.50.10/24",
        ]

    with_store(scenario)


def test_the_address_that_kubernetes_has_for_the_node_is_taken() -> None:
    async def scenario(store: MemoryStore) -> None:
        spec = {"addresses": [{"address": "node1", "type": "Hostname"}, {"address": "10.0.0.7", "type": "InternalIP"}]}
        await store.create(Resource("Node", "node1", spec=spec))
        await start_up(store, {**ENVIRON, "IP": "autodetect"})
        assert (await store.get(Key("Node", "node1"))).spec["bgp"] == {"ipv4Address": "10.0.0.7/32"}

    with_store(scenario)


def test_without_networking_of_ours_the_node_gets_no_address() -> None:
    async def scenario(store: MemoryStore) -> None:
        environ = {"NODENAME": "node1", "CALICO_NETWORKING_BACKEND": "none", "CALICO_K8S_NODE_REF": "k1"}
        await start_up(store, environ)
        spec = (await store.get(Key("Node", "node1"))).spec
        assert spec == {"orchRefs": [{"nodeName": "k1", "orchestrator": "k8s"}]}

    with_store(scenario)


def test_a_node_that_networks_needs_an_address() -> None:
    async def scenario(store: MemoryStore) -> None:
        with pytest.raises(BadEnvironment, match=r"^IP=none IP6=: no IPv4 or IPv6 addresses configured or detected"):
            await start_up(store, {**ENVIRON, "IP": "none"})

    with_store(scenario)


def test_the_settings_that_upstream_makes_are_made_once_and_never_changed() -> None:
    async def scenario(store: MemoryStore) -> None:
        mine = await store.create(Resource("BGPConfiguration", "default", spec={"asNumber": 65000}))
        await start_up(store, ENVIRON)
        made = {each.name: each.spec for each in (await store.list("FelixConfiguration")).items}
        assert made["default"]["reportingInterval"] == "0s"
        assert made["default"]["floatingIPs"] == "Disabled"
        assert made["node.node1"]["defaultEndpointToHostAction"] == "Return"
        assert (await store.get(mine.key)) == mine
        assert (await store.get(Key("IPAMConfiguration", "default"))).spec == {
            "strictAffinity": False,
            "autoAllocateBlocks": True,
        }

    with_store(scenario)


def test_kubernetes_is_told_in_the_clusters_type_and_gets_no_settings_of_single_nodes() -> None:
    async def scenario(store: MemoryStore) -> None:
        await start_up(store, {**ENVIRON, "DATASTORE_TYPE": "kubernetes", "CLUSTER_TYPE": "k8s,bgp"})
        assert (await store.get(Key("ClusterInformation", "default"))).spec["clusterType"] == "kdd,k8s,bgp"
        assert [each.name for each in (await store.list("FelixConfiguration")).items] == ["default"]

    with_store(scenario)


@virtually
async def test_a_datastore_that_is_away_is_waited_for_where_that_is_asked_for() -> None:
    line = StoreLine()
    line.cut()
    store = FaultyStore(MemoryStore(), Faults(Random(1), line=line))
    with pytest.raises(Unavailable):
        await start_up(store, ENVIRON)
    asyncio.get_running_loop().call_later(60, line.mend)
    said = await start_up(store, {**ENVIRON, "WAIT_FOR_DATASTORE": "true"})
    assert said[1] == "node node1 created at 192.168.50.10/24"


@pytest.mark.parametrize(
    ("environ", "remembered", "chosen"),
    [
        ({"NODENAME": "One", "HOSTNAME": "two"}, "three", "One"),
        ({"HOSTNAME": "two"}, "three\n", "three"),
        ({"HOSTNAME": "Two"}, "", "Two"),
        ({}, "", "host.example"),
    ],
)
def test_a_nodes_name_is_told_remembered_or_its_hosts(environ: dict[str, str], remembered: str, chosen: str) -> None:
    assert name.choose(environ, remembered=remembered, hostname="Host.example") == chosen
