"""Who set a cluster up, and which network it gave to pods."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from datastore.memory import MemoryStore
from datastore.resource import Key
from felix.startup import name
from felix.startup.distribution import Distribution, told_by
from felix.startup.run import start_up
from tests.unit.felix.startup.test_run import ENVIRON, read_machine

KUBEADM = {
    "ClusterConfiguration": """\
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16,fd00:10:244::/56
  serviceSubnet: 10.96.0.0/12
"""
}


def test_kubeadm_names_the_pods_networks_and_rancher_only_itself() -> None:
    found = told_by({"kubeadm": {"data": KUBEADM}, "rancher": {"data": {"podSubnet": "podSubnet: 10.9.0.0/16"}}})
    assert (found.words, list(map(str, found.networks))) == (
        ("kubeadm", "rancher"),
        ["10.244.0.0/16", "fd00:10:244::/56"],
    )


@pytest.mark.parametrize(
    "text", ["", "podSubnet:", "podSubnet: none", "# podSubnet: 10.0.0.0/8", "serviceSubnet: 10.0.0.0/8"]
)
def test_what_names_no_network_names_none(text: str) -> None:
    assert told_by({"kubeadm": {"data": {"ClusterConfiguration": text}}}) == Distribution(("kubeadm",))
    assert told_by({}) == Distribution()


def test_a_network_in_quotes_is_one() -> None:
    (network,) = told_by({"kubeadm": {"data": {"x": '  podSubnet: "10.244.0.0/16"'}}}).networks
    assert str(network) == "10.244.0.0/16"


@pytest.mark.parametrize(
    ("cidr", "pool"),
    [("", "10.100.0.0/16"), ("10.244.0.0/16", "10.244.0.0/16")],
    ids=["the environment names none", "the environment names one"],
)
def test_the_first_pool_has_the_clusters_network_unless_the_environment_names_one(
    cidr: str, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name, "NODENAME_FILE", tmp_path / "nodename")

    async def read_distribution() -> Distribution:
        return told_by({"kubeadm": {"data": {"x": "podSubnet: 10.100.0.0/16"}}})

    async def scenario() -> None:
        store = MemoryStore()
        environ = {**ENVIRON, "CALICO_IPV4POOL_CIDR": cidr, "CLUSTER_TYPE": "k8s,bgp", "DATASTORE_TYPE": "kubernetes"}
        await start_up(store, environ, read_machine=read_machine, read_distribution=read_distribution)
        assert (await store.get(Key("IPPool", "default-ipv4-ippool"))).spec["cidr"] == pool
        assert (await store.get(Key("ClusterInformation", "default"))).spec["clusterType"] == "kdd,k8s,bgp,kubeadm"

    asyncio.run(scenario())
