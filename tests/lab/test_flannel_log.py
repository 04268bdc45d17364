"""The documents' log of a start as host-gw after vxlan, line by line, with Kubernetes for the leases."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from flannel.kube_leases import NODES
from lab.apiserver import ADMIN
from tests.lab.flannel_nodes import eventually
from tests.lab.namespace import ip, other_network, private_network
from tests.servers.kubernetes import KubeServer, skip_where_none_can_run

pytestmark = [pytest.mark.root, pytest.mark.server]

PREFIX = "flannel.alpha.coreos.com"
ME = 1
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ADDRESSES = {
    0: "172.22.0.239",
    1: "172.22.1.176",
    2: "172.22.0.117",
    3: "172.22.0.76",
    4: "172.22.0.212",
    5: "172.22.0.64",
}
PEERS = [number for number in ADDRESSES if number != ME]

THE_DOCUMENTS = """\
I Found network config - Backend type: host-gw
I Determining IP address of default interface
I Using interface with name eth0 and address 172.22.1.176
I Defaulting external address to interface address (172.22.1.176)
I Setting NodeNetworkUnavailable
I Setting up masking rules
I Changing default FORWARD chain policy to ACCEPT
I Wrote subnet file to {env}
I Running backend.
I Waiting for all goroutines to exit
I Watching for new subnet leases
"""
A_PEER = """\
I Subnet added: 10.244.{n}.0/24 via {ip}
W Replacing existing route to {{Ifindex: {tunnel} Dst: 10.244.{n}.0/24 Src: <nil> Gw: 10.244.{n}.0 Flags: [onlink] \
Table: 254 Realm: 0}} with {{Ifindex: {uplink} Dst: 10.244.{n}.0/24 Src: <nil> Gw: {ip} Flags: [] Table: 0 Realm: 0}}
"""


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    """In the node's own namespace, which has the documents' uplink."""
    skip_where_none_can_run()
    with private_network(), other_network() as far:
        ip(f"link add eth0 type veth peer name far netns {far.path}")
        far.ip("link set far up")
        ip(f"addr add {ADDRESSES[ME]}/20 dev eth0")
        ip("link set eth0 up")
        ip("route add default via 172.22.0.1")
        server = KubeServer()
        try:
            yield server
        finally:
            server.end()


def add_nodes(kube: KubeServer) -> None:
    for number in ADDRESSES:
        cidr = f"10.244.{number}.0/24"
        node = {"metadata": {"name": f"node{number}"}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}}
        asyncio.run(kube.do("POST", NODES, node))


def annotate_peers(kube: KubeServer, backend: str) -> None:
    for number in PEERS:
        mac = f'{{"VNI":1,"VtepMAC":"0a:00:00:00:00:0{number}"}}'
        said = {
            f"{PREFIX}/backend-type": backend,
            f"{PREFIX}/backend-data": mac if backend == "vxlan" else "null",
            f"{PREFIX}/kube-subnet-manager": "true",
            f"{PREFIX}/public-ip": ADDRESSES[number],
        }
        asyncio.run(kube.do("PATCH", f"{NODES}/node{number}", {"metadata": {"annotations": said}}))


def run(kube: KubeServer, folder: Path, backend: str, until: str, count: int) -> str:
    """A daemon's whole log: it ends when ``until`` was logged or the table shows it ``count`` times."""
    config, log = folder / "net-conf.json", folder / f"{backend}.log"
    config.write_text(json.dumps({"Network": "10.244.0.0/16", "Backend": {"Type": backend}}))
    words = [sys.executable, "-m", "flannel", "-kube-subnet-mgr", "-ip-masq", f"-net-config-path={config}"]
    words += [f"-subnet-file={folder}/subnet.env", f"-kubeconfig-file={kubeconfig(kube, folder)}"]
    with log.open("wb") as file:
        process = subprocess.Popen(words, stderr=file, env={"PATH": PATH, "NODE_NAME": f"node{ME}"})
    try:
        eventually(lambda: (log.read_text() + ip("route")).count(until) >= count)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
    return log.read_text()


def kubeconfig(kube: KubeServer, folder: Path) -> Path:
    """As its administrator."""
    access = kube.server.environment(ADMIN)
    whole = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [
            {
                "name": "test",
                "cluster": {"server": access["K8S_API_ENDPOINT"], "certificate-authority": access["K8S_CA_FILE"]},
            }
        ],
        "users": [{"name": "test", "user": {"token": access["K8S_API_TOKEN"]}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(whole))
    return path


def told(log: str) -> str:
    """Without date, time, process and place."""
    return re.sub(r"^([IWEF])\d{4} [\d:.]+ +\d+ \S+\] ", r"\1 ", log, flags=re.MULTILINE)


def index_of(device: str) -> int:
    return int(ip(f"-o link show {device}").partition(":")[0])


def test_the_log_of_host_gw_after_vxlan_is_the_documents(kube: KubeServer, tmp_path: Path) -> None:
    add_nodes(kube)
    annotate_peers(kube, "vxlan")
    run(kube, tmp_path, "vxlan", "dev flannel.1 onlink", len(PEERS))
    annotate_peers(kube, "host-gw")
    indexes = {"tunnel": index_of("flannel.1"), "uplink": index_of("eth0")}
    log = run(kube, tmp_path, "host-gw", "Replacing existing route", len(PEERS))
    wanted = THE_DOCUMENTS.format(env=tmp_path / "subnet.env")
    wanted += "".join(A_PEER.format(n=number, ip=ADDRESSES[number], **indexes) for number in PEERS)
    assert len(wanted.splitlines()) == 21
    assert told(log).startswith(wanted)
    routes = [line for line in ip("route").splitlines() if line.startswith("10.244.")]
    assert routes == [f"10.244.{number}.0/24 via {ADDRESSES[number]} dev eth0" for number in PEERS]
    assert (tmp_path / "subnet.env").read_text() == (
        "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=true\n"
    )
