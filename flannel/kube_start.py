"""The leases in Kubernetes that flags and environment name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

from datastore.kubernetes import access
from datastore.kubernetes.client import Client
from datastore.kubernetes.kubeconfig import Access
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Rejected
from flannel import node_lease
from flannel.flags import Flags
from flannel.kube_leases import KubeLeases


async def kube_leases(flags: Flags, environ: Mapping[str, str]) -> KubeLeases:
    """Raises Rejected with the flag's or variable's name, and StoreErrors where the node's name must be asked for."""
    client = Client(_access(flags, environ), random=Random().random)
    try:
        names = node_lease.names(flags.kube_annotation_prefix)
    except ValueError as error:
        raise Rejected("--kube-annotation-prefix", str(error)) from None
    return KubeLeases(
        client,
        await _node_name(client, environ),
        Path(flags.net_config_path),
        names,
        tells_network=flags.set_node_network_unavailable,
    )


def _access(flags: Flags, environ: Mapping[str, str]) -> Access:
    of_pod = {name: environ[name] for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT") if name in environ}
    said = {"KUBECONFIG": flags.kubeconfig_file, "K8S_API_ENDPOINT": flags.kube_api_url}
    try:
        return access.find({**of_pod, **said}, lambda path: Path(path).read_text(encoding="utf-8"))
    except Rejected as error:
        if error.path != "DATASTORE_TYPE":
            raise
        why = "no API server is named: set --kubeconfig-file or --kube-api-url, or run this in a pod of the cluster"
        raise Rejected("--kube-subnet-mgr", why) from None


async def _node_name(client: Client, environ: Mapping[str, str]) -> str:
    if environ.get("NODE_NAME"):
        return environ["NODE_NAME"]
    pod, namespace = environ.get("POD_NAME"), environ.get("POD_NAMESPACE")
    if not pod or not namespace:
        raise Rejected("NODE_NAME", "env variables POD_NAME and POD_NAMESPACE must be set, or NODE_NAME")
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
    found = await client.ask("GET", path, Asked("get", "pods", Key("Pod", pod)))
    return str(found["spec"]["nodeName"])
