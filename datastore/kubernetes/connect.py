"""A client of the API server that the environment names.

CALICO_API_GROUP   crd.projectcalico.org/v1 or projectcalico.org/v3; without it, what the server has
USE_POD_CIDR       "true" where addresses are host-local's
NODENAME           the node whose Lease is the server's pulse
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

from datastore.kubernetes.access import find
from datastore.kubernetes.client import Client
from datastore.kubernetes.pulse import Pulse
from datastore.kubernetes.store import KubernetesStore


def client_of(environ: Mapping[str, str]) -> Client:
    """Connects on the first request. Raises Rejected, the user's mistake."""
    return Client(find(environ, lambda path: Path(path).read_text(encoding="utf-8")), random=Random().random)


def connect_to(environ: Mapping[str, str]) -> KubernetesStore:
    """Connects on the first request. Raises Rejected, the user's mistake."""
    client, node = client_of(environ), environ.get("NODENAME", "")
    return KubernetesStore(
        client,
        pulse=Pulse(client, node) if node else None,
        group=environ.get("CALICO_API_GROUP", ""),
        use_pod_cidr=environ.get("USE_POD_CIDR", "").lower() == "true",
    )
