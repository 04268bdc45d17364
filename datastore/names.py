"""Names that are derived from other things. They are keys, so they match upstream's bit for bit.

Source: Calico libcalico-go/lib/names and lib/backend/model; the golden vectors are in tests/unit/datastore.
"""

from __future__ import annotations

import base64
import hashlib
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

_LONGEST_NAME = 253


def of_cidr(cidr: Network) -> str:
    """``10.65.0.0/26`` → ``10-65-0-0-26``; ``fd00::/122`` → ``fd00---122``."""
    return str(cidr).replace(".", "-").replace(":", "-").replace("/", "-")


def of_affinity(node: str, cidr: Network) -> str:
    """The BlockAffinity's name: node and block, the node cut and hashed where both do not fit into a name."""
    block = of_cidr(cidr)
    if len(node) + 1 + len(block) < _LONGEST_NAME:
        return f"{node}-{block}"
    digest = hashlib.sha256(f"{node}+{block}".encode()).hexdigest()[:11]
    return f"{node[: _LONGEST_NAME - 1 - len(block) - 13]}-{block}-{digest}"


def affinity_labels(node: str, cidr: Network) -> dict[str, str]:
    """The labels by which upstream finds a node's affinities; one without them is invisible to it."""
    digest = base64.b32encode(hashlib.sha3_256(node.encode()).digest()).decode().rstrip("=")
    return {
        "projectcalico.org/affinity-type": "host",
        "projectcalico.org/hostname-hash": digest,
        "projectcalico.org/ip-version": str(cidr.version),
    }


def of_handle(handle_id: str) -> str:
    return handle_id.lower()


def pod_handle(network: str, container: str) -> str:
    """Who holds a pod's address: the network of the CNI configuration and the container."""
    return f"{network}.{container}".split("\r", 1)[0]


def of_endpoint(node: str, orchestrator: str, workload: str, interface: str) -> str:
    """A WorkloadEndpoint's name; a dash inside a part is doubled, so that parts can be told apart."""
    return "-".join(part.replace("-", "--") for part in (node, orchestrator, workload, interface))


def endpoint_parts(name: str) -> list[str]:
    """Of a WorkloadEndpoint's name: node, orchestrator, workload, interface. A name of another kind has other parts."""
    return [part.replace("\0", "-") for part in name.replace("--", "\0").split("-")]


def pod_device(namespace: str, pod: str, *, prefix: str = "cali") -> str:
    """The host end of a Kubernetes pod's veth."""
    return prefix + hashlib.sha1(f"{namespace}.{pod}".encode()).hexdigest()[:11]


def container_device(container: str, *, prefix: str = "cali") -> str:
    """The host end of any other container's veth."""
    return prefix + container[:11]
