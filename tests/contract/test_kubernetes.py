"""What only a Kubernetes API server has: Nodes, Pods, definitions that refuse, rights, tokens, and its own troubles."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from datastore.codec import decode, encode
from datastore.events import Event, herald_of
from datastore.follow import Batch, follow
from datastore.kubernetes import pulse as pulse_of
from datastore.kubernetes.client import Client
from datastore.kubernetes.groups import Group, collection
from datastore.kubernetes.kubeconfig import Access
from datastore.kubernetes.pulse import Pulse
from datastore.kubernetes.store import PAGE, KubernetesStore
from datastore.policies import count, in_words
from datastore.resource import KINDS, Key, Resource
from datastore.resources import IPPool, Node, WorkloadEndpoint
from datastore.store import (
    Compacted,
    Conflict,
    Mark,
    Missing,
    NotSupported,
    Put,
    Rejected,
    StoreError,
    Unavailable,
)
from datastore.table import Table
from lab.apiserver import ADMIN, NODE
from lab.ports import free_port
from manifests.crds import definition, definitions
from tests.contract.words import PATIENCE_S, first_of, take
from tests.servers.kubernetes import KubeServer, strict_server

pytestmark = pytest.mark.server

GOLDEN = Path(__file__).parents[1] / "golden" / "kubernetes"
NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/default/pods"
POOLS = "/apis/crd.projectcalico.org/v1/ippools"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/calico-kube-controllers"


@pytest.fixture
def server() -> Iterator[KubeServer]:
    running = strict_server()
    running.clear()
    yield running


@asynccontextmanager
async def opened(store: KubernetesStore) -> AsyncIterator[KubernetesStore]:
    try:
        yield store
    finally:
        await store.close()


def pool(name: str, cidr: str = "10.0.0.0/16", **spec: Any) -> Resource:
    return Resource("IPPool", name, spec={"cidr": cidr, **spec})


def raw_pool(name: str, cidr: str) -> dict[str, Any]:
    """As kubectl makes one."""
    return {"apiVersion": Group.V1.value, "kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr}}


@asynccontextmanager
async def made(server: KubeServer, path: str, *objects: Mapping[str, Any]) -> AsyncIterator[None]:
    """Objects that somebody else made, for a while."""
    for each in objects:
        await server.do("POST", path, dict(each))
    try:
        yield
    finally:
        for each in objects:
            await server.do("DELETE", f"{path}/{each['metadata']['name']}", {"gracePeriodSeconds": 0})


def node(name: str, **labels: str) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": "192.168.50.10"}]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def pod(name: str, on: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeName": on, "containers": [{"name": "c", "image": "i"}]}}


async def told(attempt: Any) -> str:
    with pytest.raises(StoreError) as caught:
        await attempt
    return f"{type(caught.value).__name__}: {caught.value}"


# --- nodes and pods --------------------------------------------------------------------------------------------------


async def test_a_node_is_kubernetes_own_and_takes_calicos_part_by_one_patch(server: KubeServer) -> None:
    async with made(server, NODES, node("n1", zone="a")), opened(server.store()) as store:
        found = decode(Node, await store.get(Key("Node", "n1")))
        assert found.resource.labels["zone"] == "a"
        before = store.requests.total()
        written = await store.update(encode(replace(found, as_number=64999)))
        assert store.requests.total() == before + 1
        assert decode(Node, await store.get(Key("Node", "n1"))).as_number == 64999
        assert written == await store.get(Key("Node", "n1"))
        stored = await server.do("GET", f"{NODES}/n1")
        assert stored["metadata"]["annotations"]["projectcalico.org/ASNumber"] == "64999"
        assert stored["status"]["addresses"] == node("n1")["status"]["addresses"]
        with pytest.raises(Conflict):
            await store.update(encode(replace(found, as_number=1)))


async def test_nodes_are_made_and_deleted_by_kubernetes_alone(server: KubeServer) -> None:
    async with made(server, NODES, node("n1")), opened(server.store()) as store:
        assert await told(store.create(Resource("Node", "n2"))) == (
            "NotSupported: operation Create is not supported on Node(n2)"
        )
        with pytest.raises(NotSupported):
            await store.delete(Key("Node", "n1"))
        with pytest.raises(Missing, match='nodes "n2" not found'):
            await store.get(Key("Node", "n2"))


async def test_an_event_is_an_objects_own_and_told_again_is_counted(server: KubeServer) -> None:
    async with made(server, PODS, pod("p1", "n1")), opened(server.store()) as store:
        uid = (await server.do("GET", f"{PODS}/p1"))["metadata"]["uid"]
        event = Event(Key("Pod", "p1", "default"), "MTUTooLarge", "pod default/p1 is large", uid)
        for _ in range(2):
            await herald_of(store).announce(event, reporter="calico-node", host="n1")
        field = f"involvedObject.uid%3D{uid}"
        (shown,) = (await server.do("GET", f"/api/v1/namespaces/default/events?fieldSelector={field}"))["items"]
        assert (shown["reason"], shown["message"], shown["count"]) == ("MTUTooLarge", "pod default/p1 is large", 2)
        pools = Event(Key("IPPool", "a"), "EditWins", "pool a keeps ipipMode Never")
        await herald_of(store).announce(pools, reporter="calico-node", host="n1")


async def test_policies_are_counted_kubernetes_own_among_them(server: KubeServer) -> None:
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    own = [{"metadata": {"name": name}, "spec": {"podSelector": {}}} for name in ("a", "b", "c")]
    async with made(server, path, *own), opened(server.store()) as store:
        await store.create(Resource("GlobalNetworkPolicy", "g", spec={"selector": "all()"}))
        assert in_words(await count(store)) == "3 Kubernetes NetworkPolicy and 1 GlobalNetworkPolicy"


async def test_kubernetes_own_policies_are_shown_among_calicos_and_are_not_ours_to_write(server: KubeServer) -> None:
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    own = {"metadata": {"name": "a"}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}}
    async with made(server, path, own), opened(server.store()) as store:
        mine = await store.create(Resource("NetworkPolicy", "b", "default", spec={"selector": "all()"}))
        listed = await store.list("NetworkPolicy")
        assert [str(item.key) for item in listed.items] == [
            "NetworkPolicy(default/b)",
            "NetworkPolicy(default/knp.default.a)",
        ]
        key = Key("NetworkPolicy", "knp.default.a", "default")
        found = await store.get(key)
        assert found == listed.items[1]
        assert found.spec["ingress"][0]["destination"] == {"ports": [80]}
        for refused in (store.create(found), store.update(found), store.delete(key)):
            with pytest.raises(NotSupported, match="must be managed through the kubernetes API"):
                await refused
        await store.delete(mine.key)


def endpoint(name: str, on: str, address: str, container: str = "c1") -> Resource:
    spec = {"node": on, "pod": name, "ipNetworks": [address], "containerID": container, "mac": "02:00:00:00:00:01"}
    return Resource("WorkloadEndpoint", f"{on}-k8s-{name}-eth0", "default", spec=spec)


async def test_an_endpoint_is_written_into_its_pod_by_one_patch_and_taken_out_by_another(server: KubeServer) -> None:
    async with made(server, PODS, pod("p1", "n1")), opened(server.store()) as store:
        await store.list("WorkloadEndpoint")  # finds out which group there is
        before = store.requests.total()
        written = await store.create(endpoint("p1", "n1", "10.0.0.1/32"))
        assert store.requests.total() == before + 1
        assert decode(WorkloadEndpoint, written).mac == "02:00:00:00:00:01"
        found = decode(WorkloadEndpoint, await store.get(written.key))
        assert (str(found.networks[0]), found.container) == ("10.0.0.1/32", "c1")
        annotations = (await server.do("GET", f"{PODS}/p1"))["metadata"]["annotations"]
        assert annotations == {
            "cni.projectcalico.org/podIP": "10.0.0.1/32",
            "cni.projectcalico.org/podIPs": "10.0.0.1/32",
            "cni.projectcalico.org/containerID": "c1",
        }
        await store.delete(written.key, uid=written.uid)
        gone = decode(WorkloadEndpoint, await store.get(written.key))
        assert (gone.networks, gone.container) == ((), "c1")


async def test_a_pod_that_was_made_again_under_its_name_is_not_touched(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        async with made(server, PODS, pod("p1", "n1")):
            first = await store.create(endpoint("p1", "n1", "10.0.0.1/32"))
        async with made(server, PODS, pod("p1", "n1")):
            await store.create(endpoint("p1", "n1", "10.0.0.2/32", "c2"))
            with pytest.raises(Conflict):
                await store.delete(first.key, uid=first.uid)
            assert decode(WorkloadEndpoint, await store.get(first.key)).container == "c2"
        with pytest.raises(Missing):
            await store.delete(first.key, uid=first.uid)


async def test_a_node_is_told_of_its_own_pods_only(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        start = await store.list("WorkloadEndpoint", node="n1")
        async with aclosing(store.watch("WorkloadEndpoint", since=start.revision, node="n1")) as watch:
            assert await first_of(watch) == "mark"
            async with made(server, PODS, pod("theirs", "n2"), pod("mine", "n1")):
                assert (await take(watch, 1))[0].startswith("put WorkloadEndpoint(default/n1-k8s-mine-eth0)")
                listed = await store.list("WorkloadEndpoint", node="n1")
                assert [item.name for item in listed.items] == ["n1-k8s-mine-eth0"]
            while not (said := (await take(watch, 1))[0]).startswith("gone"):
                assert said.startswith("put WorkloadEndpoint(default/n1-k8s-mine-eth0)")
            assert said == "gone WorkloadEndpoint(default/n1-k8s-mine-eth0)"


async def test_profiles_are_what_namespaces_and_accounts_say(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        names = [item.name for item in (await store.list("Profile")).items]
        assert {"kns.default", "projectcalico-default-allow"} <= set(names)
        profile = await store.get(Key("Profile", "kns.default"))
        assert profile.spec["labelsToApply"]["pcns.projectcalico.org/name"] == "default"
        with pytest.raises(NotSupported):
            await store.update(profile)


# --- objects and definitions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", Group)
async def test_the_definitions_take_what_calico_wrote_and_drop_none_of_it(server: KubeServer, group: Group) -> None:
    await server.install(definitions(group))
    name = "crd_v1.json" if group is Group.V1 else "projectcalico_v3.json"
    for each in json.loads((GOLDEN / name).read_text()):
        if each["apiVersion"] == "v1":
            continue
        kind = "IPAMConfiguration" if each["kind"] == "IPAMConfig" else each["kind"]
        bare = {**each, "metadata": {k: v for k, v in each["metadata"].items() if k not in ("resourceVersion", "uid")}}
        stored = await server.do("POST", collection(group, kind), bare)
        assert stored["spec"] == each["spec"]
        await server.do("DELETE", f"{collection(group, kind)}/{each['metadata']['name']}")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"ipipMode": "Sometimes"}, 'Unsupported value: "Sometimes"'),
        (
            {"ipipMode": "Always", "vxlanMode": "Always"},
            "Forbidden: ipipMode and vxlanMode cannot both be enabled",
        ),
        ({"blockSize": 33}, "blockSize must be between 20 and 32"),
        ({"cidr": "10.0.0.0"}, "spec.cidr"),
        ({"natOutgoing": "yes"}, "natOutgoing"),
        ({"allowedUses": ["Anything"]}, 'Unsupported value: "Anything"'),
        ({"cidr": "fd00::/64", "ipipMode": "Always"}, "spec: Forbidden: IPIP is not supported on IPv6 pools"),
    ],
)
async def test_the_definitions_refuse_a_pool_that_cannot_be(server: KubeServer, spec: Any, said: str) -> None:
    async with opened(server.store()) as store:
        with pytest.raises(Rejected) as caught:
            await store.create(pool("p", **spec))
        assert said in str(caught.value)


async def test_a_pools_network_cannot_be_changed(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        stored = await store.create(pool("p"))
        with pytest.raises(Rejected, match="CIDR cannot be changed"):
            await store.update(replace(stored, spec={"cidr": "10.1.0.0/16"}))


async def test_with_the_group_v3_named_objects_are_plain(server: KubeServer) -> None:
    await server.install(definitions(Group.V3))
    store = KubernetesStore(server.client(), group="projectcalico.org/v3")
    async with opened(store):
        start = await store.list("IPPool")
        mine = await store.create(replace(pool("plain"), labels={"a": "b"}))
        assert (mine.labels, mine.spec["cidr"]) == ({"a": "b"}, "10.0.0.0/16")
        updated = await store.update(replace(mine, spec={**mine.spec, "natOutgoing": True}))
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            assert len(await take(watch, 2)) == 2
        assert (await store.delete(mine.key, revision=updated.revision)).uid == mine.uid
        stored = await server.do("GET", POOLS)
        assert stored["items"] == []


async def test_what_calico_left_half_deleted_is_gone_and_is_cleared_away(server: KubeServer) -> None:
    spec = {"handleID": "h", "block": {}, "deleted": True}
    corpse = {"apiVersion": Group.V1.value, "kind": "IPAMHandle", "metadata": {"name": "h"}, "spec": spec}
    path = collection(Group.V1, "IPAMHandle")
    await server.do("POST", path, corpse)
    async with opened(server.store()) as store:
        assert (await store.list("IPAMHandle")).items == ()
        with pytest.raises(Missing):
            await store.get(Key("IPAMHandle", "h"))
        assert (await server.do("GET", path))["items"] == []


async def test_an_object_that_cannot_be_read_is_told_is_not_gone_and_stops_no_other(server: KubeServer) -> None:
    broken = {"name": "b", "annotations": {"projectcalico.org/metadata": "{"}}
    bad = {"apiVersion": Group.V1.value, "kind": "IPPool", "metadata": broken, "spec": {"cidr": "10.1.0.0/16"}}
    async with opened(server.store()) as store:
        for name, cidr in (("a", "10.0.0.0/16"), ("c", "10.2.0.0/16")):
            await store.create(pool(name, cidr))
        start = await store.list("IPPool")
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            async with made(server, POOLS, bad):
                listed = await store.list("IPPool")
                assert [item.name for item in listed.items] == ["a", "c"]
                assert list(map(str, listed.unreadable)) == ["IPPool(b)"]
                with pytest.raises(Rejected, match="cannot be read"):
                    await store.get(Key("IPPool", "b"))
                await store.create(pool("d", "10.3.0.0/16"))
                first, second = await take(watch, 2)
                assert first == "unreadable IPPool(b)" and second.startswith("put IPPool(d)")
            assert await take(watch, 1) == ["gone IPPool(b)"]


async def test_a_name_that_is_a_path_leads_nowhere_else(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        await store.create(Resource("Tier", "t", spec={"order": 1}))
        with pytest.raises(StoreError):
            await store.get(Key("IPPool", "../tiers/t"))


async def test_a_long_list_comes_in_pages(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        await asyncio.gather(*(store.create(Resource("Tier", f"t{number:04}")) for number in range(PAGE + 1)))
        before = store.requests["list"]
        listed = await store.list("Tier")
        assert (len(listed.items), store.requests["list"] - before) == (PAGE + 1, 2)


# --- rights, tokens, trust -------------------------------------------------------------------------------------------


async def test_a_verb_that_rbac_does_not_grant_is_named_with_its_resource(server: KubeServer) -> None:
    async with opened(server.store(NODE)) as store:
        assert (await told(store.list("IPPool"))).startswith(
            "Forbidden: connection is unauthorized: RBAC does not grant list on ippools.crd.projectcalico.org: add "
            'apiGroups ["crd.projectcalico.org"], resources ["ippools"], verbs ["list"] to the ClusterRole'
        )
        watch = store.watch("Node", since="1")
        assert "RBAC does not grant watch on nodes" in await told(anext(watch))
        assert "RBAC does not grant patch on pods/status" in await told(store.create(endpoint("p", "n", "10.0.0.1/32")))


async def test_a_token_that_was_renewed_in_its_file_is_used_at_once(server: KubeServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired")
    access = Access(server=server.server.url, how="test", ca_file=str(server.server.ca), token_file=str(token))
    async with opened(KubernetesStore(Client(access, random=Random(1).random))) as store:
        assert "the token has expired, or the certificate is another cluster's" in await told(store.list("IPPool"))
        token.write_text(server.server.tokens[ADMIN] + "\n")
        assert (await store.list("IPPool")).items == ()
        token.unlink()
        assert (await store.list("IPPool")).items == ()  # for the moment in which it is replaced


@pytest.fixture
def other_ca(tmp_path: Path) -> Path:
    other = tmp_path / "other.crt"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {tmp_path}/key "
        f"-out {other} -subj /CN=other",
        shell=True,
        check=True,
        capture_output=True,
    )
    return other


async def test_a_server_that_the_ca_does_not_vouch_for_is_not_trusted(server: KubeServer, other_ca: Path) -> None:
    async with opened(server.store(K8S_CA_FILE=str(other_ca))) as store:
        said = await told(store.list("IPPool"))
    url = server.server.url
    assert said.startswith(f"Unavailable: the API server at {url} is not trusted: {other_ca} does not vouch")
    assert said.endswith("give the CA of this cluster")


async def test_a_server_that_is_not_there_is_named_with_where_that_is_from(server: KubeServer) -> None:
    nobody = f"https://127.0.0.1:{free_port()}"
    async with opened(server.store(K8S_API_ENDPOINT=nobody)) as store:
        assert await told(store.list("IPPool")) == (
            f"Unavailable: nobody listens at {nobody} (from K8S_API_ENDPOINT): see whether the API server runs, and "
            "whether it is there"
        )


async def test_a_definition_that_is_missing_is_named_with_what_installs_it(server: KubeServer) -> None:
    gone = definition(Group.V1, KINDS["IPReservation"])
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    async with opened(server.store()) as store:
        await store.list("IPReservation")
        await server.do("DELETE", f"{crds}/{gone['metadata']['name']}")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        await store.list("IPReservation")
                    except Unavailable as error:
                        said = str(error)
                        break
        finally:
            await server.install([gone])
        assert said == (
            "the API server has no CustomResourceDefinition ipreservations.crd.projectcalico.org: "
            "install it with: kubectl apply -f manifests/base/crds.yaml"
        )
        assert (await store.list("IPPool")).items == ()


# --- outages ---------------------------------------------------------------------------------------------------------


class Followed:
    """A table of the pools, kept by ``follow``."""

    def __init__(self) -> None:
        self.table = Table(IPPool)
        self.changed = asyncio.Event()
        self.trouble: list[StoreError | None] = []
        self.snapshots = 0

    def hear(self, batch: Batch) -> None:
        self.snapshots += batch.is_snapshot
        self.table.apply(batch)
        self.changed.set()

    def mind(self, kind: str, error: StoreError | None) -> None:
        self.trouble.append(error)
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(4 * PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def names(self) -> list[str]:
        return sorted(key.name for key in self.table.values)


@asynccontextmanager
async def following(store: KubernetesStore) -> AsyncIterator[Followed]:
    followed = Followed()
    task = asyncio.create_task(
        follow(store, "IPPool", followed.hear, random=Random(1).random, on_trouble=followed.mind)
    )
    try:
        yield followed
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_after_a_restart_of_the_server_one_list_brings_all_up_to_date(server: KubeServer) -> None:
    async with opened(server.store()) as store, following(store) as followed:
        await store.create(pool("before", "10.0.0.0/16"))
        await followed.until(lambda: followed.names == ["before"])
        lists = store.requests["list"]
        server.stop_apiserver()
        await followed.until(lambda: followed.trouble)
        assert followed.names == ["before"]
        server.start_apiserver()
        await server.until_ready()
        await server.do("POST", POOLS, raw_pool("after", "10.1.0.0/16"))
        await followed.until(lambda: followed.names == ["after", "before"])
        await followed.until(lambda: followed.trouble[-1] is None)
        assert store.requests["list"] - lists <= 1


async def test_a_revision_of_before_a_restart_and_a_compaction_is_compacted(server: KubeServer) -> None:
    async with opened(server.store()) as store:
        old = (await store.list("IPPool")).revision
        for number in range(3):
            await store.create(pool(f"p{number}", f"10.{number}.0.0/16"))
        now = (await store.list("IPPool")).revision
        server.stop_apiserver()
        server.compact(now)
        server.start_apiserver()
        await server.until_ready()
        with pytest.raises(Compacted):
            await first_of(store.watch("IPPool", since=old))


class Proxy:
    """Between a client and the server; ``swallow`` makes it take everything and pass on nothing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            for task in self._tasks:
                task.cancel()

    def swallow(self) -> None:
        self._flows.clear()

    def pass_on(self) -> None:
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while some := await source.read(65536):
                await self._flows.wait()
                target.write(some)
                await target.drain()
        except OSError:
            return
        finally:
            target.close()


async def test_a_watch_through_which_nothing_comes_is_taken_up_again_without_a_list(server: KubeServer) -> None:
    proxy = Proxy(int(server.server.url.rpartition(":")[2]))
    async with proxy.listening() as url:
        client = server.client(longest_silence_s=2.0, environment={"K8S_API_ENDPOINT": url})
        async with opened(KubernetesStore(client)) as store, following(store) as followed:
            await followed.until(lambda: followed.snapshots)
            await server.do("POST", POOLS, raw_pool("heard", "10.1.0.0/16"))
            await followed.until(lambda: followed.names == ["heard"])
            proxy.swallow()
            await followed.until(lambda: followed.trouble)
            assert str(followed.trouble[0]) == ("a watch has heard nothing for 2 s: its connection is taken for dead")
            await server.do("POST", POOLS, raw_pool("p", "10.0.0.0/16"))
            proxy.pass_on()
            await followed.until(lambda: followed.names == ["heard", "p"])
            assert followed.snapshots == 1


NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@asynccontextmanager
async def renewed(server: KubeServer, node: str) -> AsyncIterator[None]:
    """As by a kubelet, though more often."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(0.1)
            now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            await server.do("PATCH", f"{NODE_LEASES}/{node}", {"spec": {"renewTime": now}})

    async with made(server, NODE_LEASES, {"metadata": {"name": node}, "spec": {"holderIdentity": node}}):
        kubelet = asyncio.create_task(renew())
        try:
            yield
        finally:
            kubelet.cancel()
            await asyncio.wait([kubelet])


async def test_a_proxy_that_hangs_is_noticed_by_the_silence_of_the_nodes_lease(server: KubeServer) -> None:
    proxy = Proxy(int(server.server.url.rpartition(":")[2]))
    async with proxy.listening() as url, renewed(server, "n1"):
        client = server.client(environment={"K8S_API_ENDPOINT": url})
        pulse = Pulse(client, "n1", quiet_s=1.0, answer_s=1.0)
        async with opened(KubernetesStore(client, pulse=pulse)) as store, following(store) as followed:
            await followed.until(lambda: followed.snapshots)
            await asyncio.sleep(2.0)  # twice as long as it may be quiet
            assert followed.trouble == []
            proxy.swallow()
            await followed.until(lambda: followed.trouble)
            assert str(followed.trouble[0]) == "nothing came from the API server for 1 s, and much should have"
            await server.do("POST", POOLS, raw_pool("p", "10.0.0.0/16"))
            proxy.pass_on()
            await followed.until(lambda: followed.names == ["p"])
            assert followed.snapshots == 1


async def test_a_lease_that_nobody_renews_any_more_is_no_silence_of_the_server(server: KubeServer) -> None:
    client = server.client()
    pulse = Pulse(client, "n1", quiet_s=0.2, answer_s=5.0)
    async with opened(KubernetesStore(client, pulse=pulse)) as store, following(store) as followed:
        async with made(server, NODE_LEASES, {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}):
            await followed.until(lambda: followed.snapshots)
            await asyncio.sleep(1.5)
        await asyncio.sleep(1.5)  # and then there is none
        assert followed.trouble == []


def test_a_silent_server_is_noticed_in_30_s() -> None:
    assert pulse_of.QUIET_S + pulse_of.ANSWER_S < 30
    assert pulse_of.QUIET_S >= 2 * 10  # a kubelet renews every ten seconds


# --- a server that is asked too much ---------------------------------------------------------------------------------


async def test_a_server_that_asks_us_to_wait_is_asked_again_after_that_time() -> None:
    """Waits the second that it asks for."""
    answers = [
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ]
    times: list[float] = []
    clock = asyncio.get_running_loop().time

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while times[2:] == [] and await reader.readuntil(b"\r\n\r\n"):
            times.append(clock())
            writer.write(answers[len(times) - 1])
            if len(times) == len(answers):
                return

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        client = Client(Access(server=url, how="test"), random=Random(1).random)
        store = KubernetesStore(client, group="crd.projectcalico.org/v1")
        with pytest.raises(Rejected, match="cannot be read"):  # the second answer is an empty object
            await store.get(Key("IPPool", "p"))
        await store.close()
    assert times[1] - times[0] >= 1.0


# --- what Kubernetes has itself -----------------------------------------------------------------------------------


async def test_a_lease_is_kubernetes_own_and_takes_every_word_of_the_controllers(server: KubeServer) -> None:
    from controllers import lease

    wall = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
    async with opened(server.store()) as store:
        made = await store.create(lease.taken("one", None, wall=wall))
        assert (await server.do("GET", LEASES))["spec"]["holderIdentity"] == "one"
        with pytest.raises(Conflict):
            await store.update(replace(lease.taken("two", made, wall=wall), revision="1"))
        free = await store.update(lease.let_go(await store.get(lease.KEY)))
        taken = await store.update(lease.taken("two", free, wall=wall))
        assert (lease.holder_of(free), lease.holder_of(taken)) == ("", "two")
        assert [each.key for each in (await store.list("Lease")).items] == [lease.KEY]
        await store.delete(lease.KEY)


async def test_a_secret_is_listed_and_watched_by_its_name_and_read_as_text(server: KubeServer) -> None:
    from datastore.kubernetes.beside import Beside

    path = "/api/v1/namespaces/kube-system/secrets"

    def body(name: str, **data: str) -> dict[str, object]:
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}

    async with opened(server.store()) as store:
        assert isinstance(store, KubernetesStore)
        await server.do("POST", path, body("other", mesh="bm8="))
        secret = Beside(store).secret("bgp")
        listing = await secret.list("Secret")
        assert listing.items == ()
        changes = secret.watch("Secret", since=listing.revision)
        assert isinstance(await anext(changes), Mark)
        await server.do("POST", path, body("bgp", mesh="b3BlbnNlc2FtZQ==", binary="/w=="))
        while not isinstance(change := await anext(changes), Put):
            pass
        assert (change.resource.name, change.resource.spec) == ("bgp", {"mesh": "opensesame"})
        await changes.aclose()
        for name in ("bgp", "other"):
            await server.do("DELETE", f"{path}/{name}")


async def test_services_and_endpoint_slices_are_read_as_the_speaker_reads_them(server: KubeServer) -> None:
    from bgp.services import EndpointSlice, Service
    from datastore.kubernetes.beside import Beside

    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    part = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.1.5"], "nodeName": "node1", "conditions": {"ready": True}}],
    }
    web = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]},
    }
    async with opened(server.store()) as store:
        assert isinstance(store, KubernetesStore)
        await server.do("POST", "/api/v1/namespaces/default/services", web)
        await server.do("POST", slices, part)
        found = {each.name: decode(Service, each) for each in (await Beside(store).services().list("Service")).items}
        assert (found["web"].type, found["web"].policy, found["web"].families) == ("NodePort", "Local", ("IPv4",))
        assert found["web"].cluster_ips == (found["web"].cluster_ip,)
        listed = [decode(EndpointSlice, each) for each in (await Beside(store).endpoint_slices().list("x")).items]
        (read,) = [each for each in listed if each.service == ("default", "web")]
        assert (read.family, read.endpoints[0]["nodeName"]) == ("IPv4", "node1")
        await server.do("DELETE", "/api/v1/namespaces/default/services/web")
        await server.do("DELETE", f"{slices}/web-1")
