"""Pods for a shell's cluster: addresses from the real allocator, and the endpoints that the CNI plugin writes."""

from __future__ import annotations

from ipaddress import ip_address

from datastore import names
from datastore.resource import Resource
from datastore.store import Store
from ipam import facts
from ipam.allocator import Allocator
from ipam.block import Holder
from ipam.records import Records
from tests.unit.calicoctl.shell import Shell

NETWORK = "k8s-pod-network"
SINCE = "2026-11-22 06:03:54.165471326 +0000 UTC"


def add_pod(shell: Shell, node: str, container: str, address: str, *, since: str = SINCE) -> None:
    """A container that is no Kubernetes pod. ``since`` is what the allocation says of its time."""

    async def work(store: Store) -> None:
        allocator = Allocator(Records(store), node, facts=lambda: facts.read(store, node), wall_ns=lambda: shell.now_ns)
        holder = Holder(names.pod_handle(NETWORK, container), {"node": node, "timestamp": since})
        await allocator.assign_address(ip_address(address), holder)
        await store.create(_endpoint(node, container, address))

    shell.ask(work)


def _endpoint(node: str, container: str, address: str) -> Resource:
    spec = {
        "orchestrator": "cni",
        "node": node,
        "containerID": container,
        "endpoint": "eth0",
        "ipNetworks": [f"{address}/32"],
        "profiles": [NETWORK],
        "interfaceName": f"cali{container}",
    }
    return Resource("WorkloadEndpoint", names.of_endpoint(node, "cni", container, "eth0"), "default", spec=spec)
