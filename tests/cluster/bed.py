"""A real Kubernetes for the tests: kubelets, containerd and kube-proxy on nodes that are sets of namespaces.

A tool outside of this project makes it: TORTIE_CLUSTER_TOOL names its program, which knows up, down, import, kubectl,
exec and restart. Kubernetes' own programs are those that ./test builds, or those in K8S_BIN.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.apiserver import BUILT

PROJECT = Path(__file__).parents[2]
MANIFEST = PROJECT / "manifests" / "calico.yaml"
FLANNEL = PROJECT / "manifests" / "kube-flannel.yml"
OLDER_FLANNEL = Path(__file__).with_name("older_kube_flannel.yml")
UNINSTALL = PROJECT / "manifests" / "uninstall.yaml"
LEAVE_FLANNEL = PROJECT / "manifests" / "uninstall-flannel.yml"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
PLUGINS = ("loopback", "bridge", "host-local", "portmap", "ptp", "bandwidth")
OTHERS = ("containerd", "runc", "etcd", "busybox", "conntrack", "ipset", "iptables", "ping", "openssl")
NODES = ("node1", "node2")
ADDRESSES = ("192.168.50.10", "192.168.50.11")
NODE_PORT = 31334

WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      tolerations: [{operator: Exists}]
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: registry.local/probe:1
        command: [/bin/sh, -c, 'mkdir -p /www; echo $NODE > /www/index.html; exec httpd -f -p 80 -h /www']
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, nodePort: 31334}]
"""
"""A pod on each node that answers with the node's name, and a Service of them."""


def skip_where_it_cannot_run() -> None:
    if not os.environ.get("TORTIE_CLUSTER_TOOL"):
        pytest.skip("TORTIE_CLUSTER_TOOL names no program that makes a cluster")
    missing = [name for name in (*KUBERNETES, *OTHERS) if not _find(name)]
    missing += (
        [] if os.environ.get("K8S_BIN") else [name for name in PLUGINS if not Path("/usr/lib/cni", name).exists()]
    )
    if missing:
        pytest.skip(f"programs for a real cluster are missing: {', '.join(missing)}")


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("K8S_BIN", ""), os.environ["PATH"], str(BUILT))))


@dataclass(frozen=True, slots=True)
class Ping:
    """Of a ping that has ended."""

    sent: int
    received: int


class RealCluster:
    """``folder`` holds the programs and the tool's own files; :func:`real_cluster` makes one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tool = os.environ["TORTIE_CLUSTER_TOOL"]
        self._environment = {
            **os.environ,
            "CLUSTER_STATE": str(folder / "state"),
            "K8S_BIN": str(self._programs()),
            "KUBECACHEDIR": str(folder / "cache"),  # what kubectl knows of another cluster at this address is not ours
        }

    def _programs(self) -> Path:
        made = self._folder / "bin"
        made.mkdir()
        for name in KUBERNETES:
            (made / name).symlink_to(str(_find(name)))
        for name in PLUGINS:
            given = Path(os.environ.get("K8S_BIN", "/nowhere"), name)  # iproute2 has a bridge in PATH that is another
            (made / name).symlink_to(given if given.exists() else Path("/usr/lib/cni", name))
        return made

    def tool(self, *words: str, stdin: str = "", patience_s: float = 120.0) -> str:
        """Standard output. Raises AssertionError with what was said, when it fails."""
        done = subprocess.run(
            [sys.executable, self._tool, *words],
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=patience_s,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()} {done.stdout.strip()}"
        return done.stdout

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self.tool("kubectl", *words, stdin=stdin)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def on(self, node: str, *words: str) -> str:
        return self.tool("exec", node, *words)

    def inside(self, pod: str, script: str) -> str:
        return self.kubectl("exec", pod, "--", "/bin/sh", "-c", script)

    # --- what a user does ---------------------------------------------------------------------------------------------

    def install(self, document: str, *agents: str) -> None:
        """Apply it, and with a working network a web pod on each node. ``agents``: DaemonSet and namespace."""
        self.kubectl("apply", "-f", "-", stdin=document)
        self.until(self.nodes_are_ready, "every node to be Ready")
        self.until(lambda: self.agents_are_ready(*agents), "the agents to be ready")
        self.kubectl("apply", "-f", "-", stdin=WEB)
        self.until(lambda: self.pods_are_ready("-l", "app=web"), "a web pod on each node")

    def changed_by(self, manifest: Path) -> list[str]:
        """What another apply of it says of objects that it changes."""
        said = self.kubectl("apply", "-f", str(manifest)).splitlines()
        return [line for line in said if not line.endswith(" unchanged")]

    def unanswered(self) -> list[str]:
        """What a pod of node1 asks in vain: each node's pod by its address, the Service, and each node's port."""
        client, _ = self.web("node1")
        service = self.get("service", "web")["spec"]["clusterIP"]
        asked = {self.web(node)[1]: {node} for node in NODES}
        asked |= {f"{address}:{NODE_PORT}": set(NODES) for address in ADDRESSES}
        silent = [to for to, expected in asked.items() if self._fetch(client, to) not in expected]
        return silent + ([] if {self._fetch(client, service) for _ in range(20)} == set(NODES) else [service])

    def _fetch(self, client: str, to: str) -> str:
        return self.inside(client, f"wget -qO- http://{to}/ || true").strip()

    # --- waiting: Kubernetes tells of what it does to whoever asks again ---------------------------------------------

    def until(self, ready: Callable[[], object], what: str, *, patience_s: float = 90.0) -> float:
        """Seconds that it took. Raises AssertionError."""
        before = time.monotonic()
        while not ready():
            assert time.monotonic() - before < patience_s, f"waited {patience_s:.0f} s for {what}: {self._state()}"
            time.sleep(0.1)
        return time.monotonic() - before

    def nodes_are_ready(self) -> bool:
        return all(_condition(node, "Ready") == "True" for node in self.get("nodes")["items"])

    def pods_are_ready(self, *which: str) -> bool:
        found = self.get("pods", *which)["items"]
        return bool(found) and all(_condition(pod, "Ready") == "True" for pod in found)

    def agents_are_ready(self, name: str = "calico-node", namespace: str = "kube-system") -> bool:
        """Those of the DaemonSet's newest edition, on every node."""
        status = self.get("daemonset", name, "-n", namespace)
        seen = status["status"]
        return bool(
            seen.get("observedGeneration") == status["metadata"]["generation"]
            and seen.get("updatedNumberScheduled") == len(NODES)
            and seen.get("numberReady") == len(NODES)
        )

    def agents(self) -> list[str]:
        """The names of their pods."""
        found = self.get("pods", "-n", "kube-system", "-l", "k8s-app=calico-node")["items"]
        return [pod["metadata"]["name"] for pod in found]

    def _state(self) -> str:
        return self.kubectl("get", "nodes,pods", "-A", "-o", "wide")

    # --- traffic -----------------------------------------------------------------------------------------------------

    def web(self, node: str) -> tuple[str, str]:
        """Name and address of the web pod there."""
        (pod,) = self.get("pods", "-l", "app=web", f"--field-selector=spec.nodeName={node}")["items"]
        return pod["metadata"]["name"], pod["status"]["podIP"]

    @contextmanager
    def pinging(self, pod: str, address: str) -> Iterator[list[Ping]]:
        """50 a second for as long as the block runs; then the list has what became of them."""
        found: list[Ping] = []
        pid = self.inside(pod, f"/usr/bin/ping -i 0.02 {address} >/tmp/ping 2>&1 & echo $!").strip()
        yield found
        time.sleep(1)  # what is under way
        self.inside(pod, f"kill -INT {pid}")
        self.until(lambda: "transmitted" in self.inside(pod, "cat /tmp/ping"), "ping to end")
        said = self.inside(pod, "tail -3 /tmp/ping")
        counted = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert counted, said
        found.append(Ping(int(counted[1]), int(counted[2])))


@contextmanager
def real_cluster() -> Iterator[RealCluster]:
    """Two nodes without a network. Nothing is left of it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    try:
        made = RealCluster(folder)
        try:
            made.tool("up", "--nodes", str(len(NODES)), patience_s=300.0)
            yield made
        finally:
            made.tool("down")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def image(folder: Path) -> Path:
    made = folder / "image.tar"
    subprocess.run([sys.executable, PROJECT / "manifests" / "image.py", made], check=True, capture_output=True)
    return made


def _condition(item: Any, kind: str) -> str:
    return next((each["status"] for each in item["status"].get("conditions", ()) if each["type"] == kind), "")


def leave_flannel(cluster: RealCluster) -> list[str]:
    """Apply what takes flannel off the nodes, when its manifest is deleted: what they still have then."""
    cluster.kubectl("apply", "-f", str(LEAVE_FLANNEL))
    cluster.kubectl("-n", "kube-system", "rollout", "status", "daemonset/leave-flannel", "--timeout=90s")
    cluster.kubectl("delete", "-f", str(LEAVE_FLANNEL))
    return [f"{node}: {line}" for node in NODES for line in left_of_flannel(cluster, node)]


def left_of_calico(cluster: RealCluster, node: str) -> list[str]:
    """What a node still has that this project could have made: devices, routes, rules, sets, files, annotations."""
    return _left(cluster, node, ("cali", r"10\.244\.", "proto bird"), "projectcalico", "Calico")


def left_of_flannel(cluster: RealCluster, node: str) -> list[str]:
    """The same, of flannel's and its plugin's."""
    return _left(cluster, node, ("flannel", "FLANNEL", "cni0", "cbr0", r"10\.244\."), "flannel", "Flannel")


def _left(cluster: RealCluster, node: str, marks: Sequence[str], annotated: str, reason: str) -> list[str]:
    looked = (
        ("ip", "-o", "link"),
        ("ip", "route", "show", "table", "all"),
        ("iptables-save",),
        ("iptables-legacy-save",),
        ("nft", "list", "ruleset"),
        ("ipset", "list", "-n"),
        ("ls", "/etc/cni/net.d", "/opt/cni/bin", "/run", "/var/lib", "/var/lib/cni", "/var/lib/cni/networks"),
        ("find", "/run/NetworkManager", "/run/systemd", "-name", "'*calico*'"),
    )
    shown = "\n".join(cluster.on(node, "sh", "-c", f"{' '.join(words)} 2>/dev/null || true") for words in looked)
    mine = (line for line in shown.splitlines() if "KUBE-" not in line)
    found = [line for line in mine if re.search("|".join(marks), line)]
    object_ = cluster.get("node", node)
    found += [name for name in object_["metadata"]["annotations"] if annotated in name]
    return found + [each["reason"] for each in object_["status"]["conditions"] if reason in each["reason"]]
