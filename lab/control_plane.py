"""A lab's Kubernetes: the API server in the fabric, and the Nodes and Pods that a kubelet would make.

The server stands at the fabric's address on the nodes' subnet and ends with the fabric. Everything that is asked of it
is asked from inside the fabric.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import yaml

from datastore.kubernetes.client import Client
from datastore.store import Missing, StoreError
from lab import apiserver, inside, namespaces, state
from lab.apiserver import ADMIN, NODE, Server
from lab.namespaces import Holder
from lab.node import LabError
from lab.plan import BadWish
from lab.state import LabState

MANIFESTS = Path(__file__).parents[1] / "manifests" / "base"
PORT = 6443
_ETCD_PORTS = (2379, 2380)

Work = Callable[[Client], Awaitable[object]]


def start(lab_name: str, fabric: Holder, address: str) -> dict[str, str]:
    """Run the server and install what Calico needs; returns what its nodes' programs need to know.

    Raises BadWish where a program is missing, LabError when the server does not come up.
    """
    folder = _folder(lab_name)
    folder.mkdir()
    try:
        server = apiserver.prepare(folder, address, port=PORT, etcd_ports=_ETCD_PORTS)
    except apiserver.NoProgram as error:
        raise BadWish(f"--datastore kubernetes: {error}; ./test builds one where Go is installed") from None
    _record(server, folder)
    _spawn(fabric, folder, "etcd", server.etcd)
    _spawn(fabric, folder, "kube-apiserver", server.apiserver)

    async def set_up(client: Client) -> None:
        await apiserver.wait_until_ready(server)
        await apiserver.install(client, list(yaml.safe_load_all((MANIFESTS / "crds.yaml").read_text())))
        role = yaml.safe_load((MANIFESTS / "rbac.yaml").read_text())
        await apiserver.make(client, f"{_RBAC}/clusterroles", role)
        await apiserver.make(client, f"{_RBAC}/clusterrolebindings", _BINDING)

    _ask(fabric, server, set_up)
    return server.environment(NODE)


def kill_apiserver(lab: LabState) -> None:
    """Nobody is told before."""
    pid, started = (_folder(lab.name) / "kube-apiserver.pid").read_text().split()
    namespaces.end(Holder(int(pid), int(started)))


def start_apiserver(lab: LabState) -> None:
    """Again, with what its etcd holds; returns when it answers. Raises LabError."""
    server = _server(lab)
    _spawn(lab.fabric, _folder(lab.name), "kube-apiserver", server.apiserver)
    _ask(lab.fabric, server, lambda client: apiserver.wait_until_ready(server))


def admin_environment(lab: LabState) -> dict[str, str]:
    """For programs that a person runs; {} where the lab has no Kubernetes."""
    return _server(lab).environment(ADMIN) if is_used(lab) else {}


def is_used(lab: LabState) -> bool:
    return lab.environment.get("DATASTORE_TYPE") == "kubernetes"


def add_node(lab: LabState, name: str, address: str) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": str(IPv4Interface(address).ip)}]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
    _ask(lab.fabric, _server(lab), lambda client: apiserver.make(client, "/api/v1/nodes", node))


def remove_node(lab: LabState, name: str) -> None:
    """As an operator does. Its pods stay until somebody collects them."""
    _ask(lab.fabric, _server(lab), lambda client: _delete(client, f"/api/v1/nodes/{name}"))


def collect_pods(lab: LabState, node: str) -> None:
    """What Kubernetes' garbage collection does with the pods of a node that is gone."""

    async def go(client: Client) -> None:
        listed = await client.ask("GET", "/api/v1/pods", apiserver.anything("list", "pods"), query=_of_node(node))
        for pod in listed["items"]:
            await _delete(client, _pod_path(pod["metadata"]["namespace"], pod["metadata"]["name"]))

    _ask(lab.fabric, _server(lab), go)


def add_pod(lab: LabState, node: str, namespace: str, name: str) -> None:
    """A Pod that was scheduled to the node."""
    metadata = {"name": name, "namespace": namespace}
    spec = {"nodeName": node, "containers": [{"name": "pause", "image": "pause"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    async def go(client: Client) -> None:
        await apiserver.make(client, "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await apiserver.make(client, f"/api/v1/namespaces/{namespace}/pods", pod)

    _ask(lab.fabric, _server(lab), go)


def remove_pod(lab: LabState, namespace: str, name: str) -> None:
    _ask(lab.fabric, _server(lab), lambda client: _delete(client, _pod_path(namespace, name)))


_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_BINDING = {
    "metadata": {"name": "calico-node"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "calico-node"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": NODE}],
}


async def _delete(client: Client, path: str) -> None:
    """At once: no kubelet will confirm anything."""
    try:
        await client.ask("DELETE", path, apiserver.anything("delete", path), body={"gracePeriodSeconds": 0})
    except Missing:
        return


def _pod_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _of_node(name: str) -> dict[str, str]:
    return {"fieldSelector": f"spec.nodeName={name}"}


def _spawn(fabric: Holder, folder: Path, name: str, argv: Sequence[str]) -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    running = namespaces.leave_inside(fabric, argv, environment=environment, log=folder / f"{name}.log")
    (folder / f"{name}.pid").write_text(f"{running.pid} {running.started}")


def _ask(fabric: Holder, server: Server, work: Work) -> None:
    """Do it inside, as the administrator. Raises LabError."""

    async def go() -> str:
        client = apiserver.client_of(server, ADMIN)
        try:
            await work(client)
        except (StoreError, TimeoutError) as error:
            return f"the lab's API server: {error or 'did not become ready'}"
        finally:
            await client.close()
        return ""

    if problem := inside.call(fabric, lambda: asyncio.run(go()), patience_s=120.0):
        raise LabError(problem)


def _folder(lab_name: str) -> Path:
    return state.folder(lab_name) / "control-plane"


def _record(server: Server, folder: Path) -> None:
    raw: dict[str, Any] = {**asdict(server), "ca": str(server.ca)}
    (folder / "server.json").write_text(json.dumps(raw))


def _server(lab: LabState) -> Server:
    raw = json.loads((_folder(lab.name) / "server.json").read_text())
    return Server(**{**raw, "ca": Path(raw["ca"])})
