"""The package ``kubernetes`` as a witness: what our driver writes it reads, and what it does our driver sees.

It is the client that Kubernetes' makers keep for Python, with its own way to read a kubeconfig, to watch, and to name
errors, and shares no line with ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config, watch
from kubernetes.client.exceptions import ApiException

from datastore.codec import decode
from datastore.kubernetes.groups import Group
from datastore.kubernetes.store import KubernetesStore
from datastore.resource import Key, Resource
from datastore.resources import Node
from datastore.store import Conflict, Exists, Gone, Missing, Put
from lab.apiserver import ADMIN
from tests.contract.words import take_changes
from tests.servers.kubernetes import KubeServer, strict_server

pytestmark = pytest.mark.server

GROUP, VERSION = Group.V1.value.split("/")
PLURAL = "ippools"
SPEC = {
    "cidr": "10.9.0.0/16",
    "ipipMode": "Always",
    "vxlanMode": "Never",
    "blockSize": 26,
    "natOutgoing": True,
    "assignmentMode": "Automatic",
    "nodeSelector": "all()",
}


@pytest.fixture
def server() -> Iterator[KubeServer]:
    running = strict_server()
    running.clear()
    yield running


@pytest.fixture
def kubeconfig(server: KubeServer, tmp_path: Path) -> Path:
    """As kubeadm writes one: the certificate inside, a token."""
    ca = base64.b64encode(server.server.ca.read_bytes()).decode()
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server.server.url, "certificate-authority-data": ca}}],
                "users": [{"name": "u", "user": {"token": server.server.tokens[ADMIN]}}],
            }
        )
    )
    return path


@pytest.fixture
def witness(kubeconfig: Path) -> Iterator[official.ApiClient]:
    with config.new_client_from_config(str(kubeconfig)) as api:
        yield api


@asynccontextmanager
async def ours(kubeconfig: Path) -> AsyncIterator[KubernetesStore]:
    """Ours, from the same file."""
    from datastore.connect import connect

    store = connect({"DATASTORE_TYPE": "kubernetes", "KUBECONFIG": str(kubeconfig)})
    assert isinstance(store, KubernetesStore)
    try:
        yield store
    finally:
        await store.close()


async def away(work: Callable[[], Any]) -> Any:
    """The package blocks."""
    return await asyncio.to_thread(work)


def pool(name: str) -> dict[str, Any]:
    return {"apiVersion": Group.V1.value, "kind": "IPPool", "metadata": {"name": name}, "spec": SPEC}


async def test_what_ours_writes_the_package_reads(kubeconfig: Path, witness: official.ApiClient) -> None:
    pools = official.CustomObjectsApi(witness)
    async with ours(kubeconfig) as store:
        made = await store.create(Resource("IPPool", "mine", spec=SPEC))
        seen = await away(lambda: pools.get_cluster_custom_object(GROUP, VERSION, PLURAL, "mine"))
        assert seen["spec"] == SPEC
        assert seen["metadata"]["resourceVersion"] == made.revision


async def test_what_the_package_writes_ours_reads_and_neither_overwrites_the_other(
    kubeconfig: Path, witness: official.ApiClient
) -> None:
    pools = official.CustomObjectsApi(witness)
    async with ours(kubeconfig) as store:
        await away(lambda: pools.create_cluster_custom_object(GROUP, VERSION, PLURAL, pool("theirs")))
        found = await store.get(Key("IPPool", "theirs"))
        assert found.spec == SPEC
        with pytest.raises(Exists):
            await store.create(Resource("IPPool", "theirs", spec=SPEC))
        patch = {"spec": {"natOutgoing": False}}
        await away(lambda: pools.patch_cluster_custom_object(GROUP, VERSION, PLURAL, "theirs", patch))
        with pytest.raises(Conflict):
            await store.update(found)
        stale = await away(lambda: pools.get_cluster_custom_object(GROUP, VERSION, PLURAL, "theirs"))
        now = await store.get(Key("IPPool", "theirs"))
        await store.update(replace(now, spec={**now.spec, "disabled": True}))
        with pytest.raises(ApiException) as told:
            await away(lambda: pools.replace_cluster_custom_object(GROUP, VERSION, PLURAL, "theirs", stale))
        assert told.value.status == 409


async def test_ours_is_told_what_the_package_does_in_its_order(kubeconfig: Path, witness: official.ApiClient) -> None:
    pools = official.CustomObjectsApi(witness)
    async with ours(kubeconfig) as store:
        since = (await store.list("IPPool")).revision
        async with aclosing(store.watch("IPPool", since=since)) as changes:
            await away(lambda: pools.create_cluster_custom_object(GROUP, VERSION, PLURAL, pool("a")))
            patch = {"spec": {"disabled": True}}
            await away(lambda: pools.patch_cluster_custom_object(GROUP, VERSION, PLURAL, "a", patch))
            await away(lambda: pools.delete_cluster_custom_object(GROUP, VERSION, PLURAL, "a"))
            told = [type(change) for change in await take_changes(changes, 3)]
    assert told == [Put, Put, Gone]


async def test_the_package_is_told_what_ours_does(kubeconfig: Path, witness: official.ApiClient) -> None:
    pools = official.CustomObjectsApi(witness)

    def follow(since: str) -> list[str]:
        events = watch.Watch().stream(
            pools.list_cluster_custom_object, GROUP, VERSION, PLURAL, resource_version=since, timeout_seconds=5
        )
        return [f"{event['type']} {event['object']['metadata']['name']}" for event in islice(events, 2)]

    async with ours(kubeconfig) as store:
        since = (await store.list("IPPool")).revision
        following = asyncio.create_task(away(lambda: follow(since)))
        made = await store.create(Resource("IPPool", "mine", spec=SPEC))
        await store.delete(made.key)
        assert await following == ["ADDED mine", "DELETED mine"]


async def test_a_node_of_the_package_carries_what_ours_writes_and_nothing_of_it_is_lost(
    kubeconfig: Path, witness: official.ApiClient
) -> None:
    core = official.CoreV1Api(witness)
    made = official.V1Node(metadata=official.V1ObjectMeta(name="witness", labels={"rack": "a"}))
    await away(lambda: core.create_node(made))
    try:
        async with ours(kubeconfig) as store:
            node = await store.get(Key("Node", "witness"))
            spec = {**node.spec, "bgp": {"ipv4Address": "192.168.50.10/24", "asNumber": 64999}}
            await store.update(replace(node, spec=spec))
            seen = await away(lambda: core.read_node("witness"))
            assert seen.metadata.annotations["projectcalico.org/IPv4Address"] == "192.168.50.10/24"
            assert seen.metadata.annotations["projectcalico.org/ASNumber"] == "64999"
            assert seen.metadata.labels["rack"] == "a"
            await away(lambda: core.patch_node("witness", {"metadata": {"labels": {"rack": "b"}}}))
            again = decode(Node, await store.get(Key("Node", "witness")))
            assert (again.as_number, again.resource.labels["rack"]) == (64999, "b")
    finally:
        await away(lambda: core.delete_node("witness"))


async def test_both_say_of_the_same_troubles_the_same(kubeconfig: Path, witness: official.ApiClient) -> None:
    pools = official.CustomObjectsApi(witness)
    async with ours(kubeconfig) as store:
        with pytest.raises(Missing):
            await store.get(Key("IPPool", "none"))
        with pytest.raises(ApiException) as told:
            await away(lambda: pools.get_cluster_custom_object(GROUP, VERSION, PLURAL, "none"))
        assert told.value.status == 404
