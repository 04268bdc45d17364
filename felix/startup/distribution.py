"""Who set the cluster up, as far as its ConfigMaps tell: kubeadm, Rancher. kubeadm's also names the pods' network.

Both are words of the cluster's type, and the network is the first pool's where the environment names none. Who may not
read them is told nothing, and start-up goes on as on any other cluster.
Source: Calico node/pkg/lifecycle/startup/startup.go (extractKubeadmCIDRs, ensureDefaultConfig).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Forbidden, Missing

Network = IPv4Network | IPv6Network

_FOLDER = "/api/v1/namespaces/kube-system/configmaps"
_MAPS = {"kubeadm": "kubeadm-config", "rancher": "full-cluster-state"}
_POD_SUBNET = re.compile(r"^[ \t]*podSubnet:[ \t]*[\"']?([^\"'\n]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Distribution:
    """``words`` of the cluster's type; ``networks`` that pods are to have, at most one of each family."""

    words: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


UNKNOWN = Distribution()


async def read(environ: Mapping[str, str]) -> Distribution:
    """Of a cluster whose datastore is Kubernetes; of others nothing says where it is. Raises StoreError."""
    if environ.get("DATASTORE_TYPE") != "kubernetes":
        return UNKNOWN
    from datastore.kubernetes.connect import client_of  # 9 MiB that other datastores do without

    client = client_of(environ)
    found: dict[str, Mapping[str, Any]] = {}
    try:
        for word, name in _MAPS.items():
            with suppress(Missing, Forbidden):
                found[word] = await client.ask(
                    "GET", f"{_FOLDER}/{name}", Asked("get", "configmaps", Key("ConfigMap", name, "kube-system"))
                )
    finally:
        await client.close()
    return told_by(found)


def told_by(maps: Mapping[str, Mapping[str, Any]]) -> Distribution:
    """``maps``: the ConfigMaps that there are, by whose they are."""
    texts = (maps.get("kubeadm") or {}).get("data") or {}
    networks = {network.version: network for text in texts.values() for network in _networks(text)}
    return Distribution(tuple(maps), tuple(networks[version] for version in sorted(networks)))


def _networks(text: str) -> Iterator[Network]:
    """Two families are separated by a comma. What is no network is nothing that pods could have."""
    found = _POD_SUBNET.search(text)
    for word in found[1].split(",") if found else ():
        with suppress(ValueError):
            yield ip_network(word.strip(), strict=False)
