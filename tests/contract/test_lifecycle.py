"""What Kubernetes is told of a node's network, on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from datastore.kubernetes.condition import Network
from felix.startup import distribution, lifecycle, name
from lab.apiserver import ADMIN, NODE
from tests.servers.kubernetes import KubeServer, strict_server

pytestmark = pytest.mark.server

NODES = "/api/v1/nodes"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[KubeServer]:
    monkeypatch.setattr(name, "NODENAME_FILE", tmp_path / "nodename")  # type: ignore[operator]
    running = strict_server()
    running.clear()
    yield running
    asyncio.run(running.do("DELETE", f"{NODES}/node1"))


def environment(server: KubeServer) -> dict[str, str]:
    return {**server.server.environment(ADMIN), "NODENAME": "node1"}


async def conditions(server: KubeServer) -> dict[str, tuple[str, str]]:
    node = await server.do("GET", f"{NODES}/node1")
    return {each["type"]: (each["status"], each["reason"]) for each in node["status"]["conditions"]}


def test_a_ready_felix_makes_the_network_available_and_a_shutdown_takes_it_back(server: KubeServer) -> None:
    async def scenario() -> None:
        await server.do("POST", NODES, {"metadata": {"name": "node1"}, "status": {"conditions": [READY]}})
        ready = asyncio.Event()
        telling = asyncio.create_task(lifecycle.tell_when(ready, environment(server)))
        await asyncio.sleep(0)
        assert await conditions(server) == {"Ready": ("True", "KubeletReady")}
        ready.set()
        await telling
        assert await conditions(server) == {
            "Ready": ("True", "KubeletReady"),
            "NetworkUnavailable": ("False", "CalicoIsUp"),
        }
        await lifecycle.shut_down(environment(server))
        assert (await conditions(server))["NetworkUnavailable"] == ("True", "CalicoIsDown")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "otherwise", [{"DATASTORE_TYPE": "etcdv3"}, {"CALICO_NETWORKING_BACKEND": "none"}], ids=["etcd", "no backend"]
)
def test_a_node_whose_network_is_not_ours_to_tell_of_is_left_alone(
    server: KubeServer, otherwise: dict[str, str]
) -> None:
    async def scenario() -> None:
        await server.do("POST", NODES, {"metadata": {"name": "node1"}, "status": {"conditions": [READY]}})
        ready = asyncio.Event()
        ready.set()
        await lifecycle.tell_when(ready, {**environment(server), **otherwise})
        await lifecycle.shut_down({**environment(server), **otherwise})
        assert await conditions(server) == {"Ready": ("True", "KubeletReady")}

    asyncio.run(scenario())


def test_the_words_are_calicos() -> None:
    assert Network.UP.value == ("False", "CalicoIsUp", "Calico is running on this node")
    assert Network.DOWN.value == ("True", "CalicoIsDown", "Calico is shutting down on this node")


def test_a_cluster_of_kubeadms_is_told_by_its_config_map_to_who_may_read_it(server: KubeServer) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps"
    text = "networking:\n  podSubnet: 10.100.0.0/16\n"

    async def scenario() -> None:
        await server.do("POST", NODES, {"metadata": {"name": "node1"}})
        assert await distribution.read(environment(server)) == distribution.UNKNOWN
        await server.do("POST", path, {"metadata": {"name": "kubeadm-config"}, "data": {"ClusterConfiguration": text}})
        try:
            found = await distribution.read(environment(server))
            assert (found.words, list(map(str, found.networks))) == (("kubeadm",), ["10.100.0.0/16"])
            nobody = {**server.server.environment(NODE), "NODENAME": "node1"}
            assert await distribution.read(nobody) == distribution.UNKNOWN
        finally:
            await server.do("DELETE", f"{path}/kubeadm-config")

    asyncio.run(scenario())
