"""Leases in a real Kubernetes API: annotations through nodes/status, podCIDR, the Node's condition, nodes that come and
go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from datastore.store import StoreError
from flannel import node_lease
from flannel.go_json import BadDocument
from flannel.kube_leases import NODES, KubeLeases
from flannel.lease import Attributes
from flannel.lease_table import Known
from flannel.source import NoLease
from tests.servers.kubernetes import KubeServer, strict_server

pytestmark = pytest.mark.server

CONFIG = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'
PREFIX = node_lease.DEFAULT_PREFIX
ME = Attributes(IPv4Address("192.0.2.1"), backend="vxlan", data='{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}')
PATIENCE_S = 20.0


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    server = strict_server()
    clear(server)
    yield server
    clear(server)


def clear(server: KubeServer) -> None:
    async def go() -> None:
        for each in (await server.do("GET", NODES))["items"]:
            await server.do("DELETE", f"{NODES}/{each['metadata']['name']}")

    asyncio.run(go())


async def add_node(server: KubeServer, name: str, cidr: str = "", **said: str) -> None:
    texts = {f"{PREFIX}/{word.replace('_', '-')}": text for word, text in said.items()}
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    await server.do("POST", NODES, {"metadata": {"name": name, "annotations": texts}, "spec": spec})


async def read(server: KubeServer, name: str) -> dict[str, Any]:
    return await server.do("GET", f"{NODES}/{name}")


@asynccontextmanager
async def leases(kube: KubeServer, folder: Path, config: str = CONFIG, **options: Any) -> AsyncIterator[KubeLeases]:
    path = folder / "net-conf.json"
    path.write_text(config)
    source = KubeLeases(kube.client(), "node1", path, node_lease.names(), **options)
    try:
        await source.config()
        yield source
    finally:
        await source.close()


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what the server tells has no event here
            await asyncio.sleep(0.01)


async def test_the_podcidr_is_the_lease_and_the_annotations_are_the_originals(kube: KubeServer, tmp_path: Path) -> None:
    await add_node(kube, "node1", "10.244.1.0/24")
    async with leases(kube, tmp_path) as source:
        lease = await source.acquire(ME)
        assert await source.held(ME) == ME
    said = (await read(kube, "node1"))["metadata"]["annotations"]
    assert str(lease.subnets) == "10.244.1.0/24"
    assert said == {
        f"{PREFIX}/backend-data": '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}',
        f"{PREFIX}/backend-type": "vxlan",
        f"{PREFIX}/kube-subnet-manager": "true",
        f"{PREFIX}/public-ip": "192.0.2.1",
    }


async def test_podcidrs_of_both_families_are_one_lease_and_ipv6_has_annotations_of_its_own(
    kube: KubeServer, tmp_path: Path
) -> None:
    both = ["10.244.1.0/24", "fd00:10:0:1::/64"]
    spec = {"podCIDR": both[0], "podCIDRs": both}
    await kube.do("POST", NODES, {"metadata": {"name": "node1"}, "spec": spec})
    config = CONFIG.replace("{", '{"EnableIPv6": true, "IPv6Network": "fd00:10::/48", ', 1)
    attributes = Attributes(ME.public_ip, IPv6Address("2001:db8::1"), ME.backend, ME.data, ME.data)
    async with leases(kube, tmp_path, config) as source:
        lease = await source.acquire(attributes)
        told: list[Known] = []
        task = asyncio.create_task(source.follow(told.append))
        await eventually(lambda: told and told[-1].leases)
        task.cancel()
    assert str(lease.subnets) == ", ".join(both)
    assert told[-1].leases == (lease,)
    said = (await read(kube, "node1"))["metadata"]["annotations"]
    assert said[f"{PREFIX}/public-ipv6"] == "2001:db8::1"
    assert said[f"{PREFIX}/backend-v6-data"] == ME.data


async def test_an_operators_public_ip_is_told_to_the_others(kube: KubeServer, tmp_path: Path) -> None:
    await add_node(kube, "node1", "10.244.1.0/24", public_ip_overwrite="172.18.0.2", node_public_ip="192.0.2.9")
    async with leases(kube, tmp_path) as source:
        assert await source.asked_addresses() == (IPv4Address("192.0.2.9"), None)
        assert (await source.acquire(ME)).attributes.public_ip == IPv4Address("172.18.0.2")
    assert (await read(kube, "node1"))["metadata"]["annotations"][f"{PREFIX}/public-ip"] == "172.18.0.2"


async def test_nothing_is_written_when_all_is_said_already(kube: KubeServer, tmp_path: Path) -> None:
    await add_node(kube, "node1", "10.244.1.0/24")
    async with leases(kube, tmp_path) as source:
        await source.acquire(ME)
        before = (await read(kube, "node1"))["metadata"]["resourceVersion"]
        await source.acquire(ME)
    assert (await read(kube, "node1"))["metadata"]["resourceVersion"] == before


async def test_the_network_is_told_to_be_available_beside_other_conditions(kube: KubeServer, tmp_path: Path) -> None:
    await add_node(kube, "node1", "10.244.1.0/24")
    other = {"type": "Ready", "status": "True"}
    await kube.do("PATCH", f"{NODES}/node1/status", {"status": {"conditions": [other]}})
    async with leases(kube, tmp_path) as source:
        await source.running()
    found = {each["type"]: each for each in (await read(kube, "node1"))["status"]["conditions"]}
    condition = found["NetworkUnavailable"]
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "False",
        "FlannelIsUp",
        "Flannel is running on this node",
    )
    assert found["Ready"]["status"] == "True"


async def test_the_condition_is_left_alone_if_the_flag_says_so(kube: KubeServer, tmp_path: Path) -> None:
    await add_node(kube, "node1", "10.244.1.0/24")
    async with leases(kube, tmp_path, tells_network=False) as source:
        await source.running()
    assert not (await read(kube, "node1"))["status"].get("conditions")


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("", "node 'node1' pod cidr not assigned: start kube-controller-manager --allocate-node-cidrs=true"),
        (
            "10.9.1.0/24",
            'subnet "10.244.0.0/16" specified in the flannel net config doesn\'t contain "10.9.1.0/24" PodCIDR',
        ),
    ],
)
async def test_a_podcidr_that_is_missing_or_outside_names_what_to_do(
    kube: KubeServer, tmp_path: Path, cidr: str, why: str
) -> None:
    await add_node(kube, "node1", cidr)
    async with leases(kube, tmp_path) as source:
        with pytest.raises(NoLease) as caught:
            await source.acquire(ME)
    assert str(caught.value).startswith(why)


async def test_a_configuration_that_cannot_be_read_is_named(kube: KubeServer, tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match=r"net-conf.json: error parsing subnet config: SubnetLen: a whole number"):
        async with leases(kube, tmp_path, '{"Network": "10.244.0.0/16", "SubnetLen": "24"}'):
            pass
    missing = KubeLeases(kube.client(), "node1", tmp_path / "nothing", node_lease.names())
    with pytest.raises(BadDocument, match="nothing: failed to read net conf: No such file or directory"):
        await missing.config()
    await missing.close()


async def test_a_node_that_does_not_exist_is_said(kube: KubeServer, tmp_path: Path) -> None:
    async with leases(kube, tmp_path) as source:
        with pytest.raises(StoreError, match="node1"):
            await source.acquire(ME)


PEER = {
    "kube_subnet_manager": "true",
    "backend_type": "vxlan",
    "backend_data": '{"VtepMAC":"0a:00:00:00:00:02"}',
    "public_ip": "192.0.2.2",
}


async def test_nodes_that_come_change_and_go_are_told_and_bad_annotations_take_nothing_away(
    kube: KubeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await add_node(kube, "node2", "10.244.2.0/24", **PEER)
    await add_node(kube, "stranger", "10.244.9.0/24")
    async with leases(kube, tmp_path) as source:
        told: list[Known] = []
        task = asyncio.create_task(source.follow(told.append))
        await eventually(lambda: shown(told) == "node2 10.244.2.0/24 192.0.2.2")
        await add_node(kube, "node3", "10.244.3.0/24", **{**PEER, "public_ip": "192.0.2.3"})
        await eventually(lambda: shown(told).endswith("node3 10.244.3.0/24 192.0.2.3"))
        await annotate(kube, "node3", {"public-ip": "here"})
        await eventually(lambda: "'here' is not an IPv4 address" in caplog.text)
        await annotate(kube, "node2", {"public-ip": "192.0.2.22"})
        await eventually(lambda: shown(told) == "node2 10.244.2.0/24 192.0.2.22; node3 10.244.3.0/24 192.0.2.3")
        await kube.do("DELETE", f"{NODES}/node2")
        await eventually(lambda: shown(told) == "node3 10.244.3.0/24 192.0.2.3")
        task.cancel()


async def test_a_node_that_is_made_anew_under_its_name_gets_its_annotations_again(
    kube: KubeServer, tmp_path: Path
) -> None:
    await add_node(kube, "node1", "10.244.1.0/24")
    async with leases(kube, tmp_path) as source:
        await source.acquire(ME)
        told: list[Known] = []
        task = asyncio.create_task(source.follow(told.append))
        await eventually(lambda: told)
        await kube.do("DELETE", f"{NODES}/node1")
        await eventually(lambda: not told[-1].leases)
        await add_node(kube, "node1", "10.244.1.0/24")
        await eventually(lambda: shown(told) == "node1 10.244.1.0/24 192.0.2.1")
        task.cancel()


async def annotate(server: KubeServer, name: str, said: dict[str, str]) -> None:
    texts = {f"{PREFIX}/{word}": text for word, text in said.items()}
    await server.do("PATCH", f"{NODES}/{name}", json.loads(json.dumps({"metadata": {"annotations": texts}})))


def shown(told: list[Known]) -> str:
    leases_now = told[-1].leases if told else ()
    return "; ".join(f"{one.node} {one.subnets} {one.attributes.public_ip}" for one in leases_now)
