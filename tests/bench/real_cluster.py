"""The manifest on real kubelets: ``.venv/bin/python -m tests.bench.real_cluster`` prints one table.

Needs what tests/cluster needs (tests/cluster/bed.py). From apply to every node Ready and to every agent ready; 30 pods
from apply to the last one ready, and their end; proportional memory of the agent's processes on each node.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

from tests.cluster import bed
from tests.cluster.bed import NODES, RealCluster

PODS = 30
AGENT = {"felix": "-xo calico-felix", "bgp": "-xo bird", "bfd": "-fo '[c]alico-node -bfd'"}
"""The processes of an agent, as pgrep finds them."""
MANY = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many}}
spec:
  replicas: {PODS}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: c, image: "registry.local/probe:1", command: [sleep, infinity]}}]
"""


def main() -> None:
    if not os.environ.get("TORTIE_CLUSTER_TOOL"):
        print("TORTIE_CLUSTER_TOOL names no program that makes a cluster: skipped")
        return
    with tempfile.TemporaryDirectory() as folder, bed.real_cluster() as cluster:
        cluster.tool("import", str(bed.image(Path(folder))))
        print(f"load {os.getloadavg()[0]:.0f} at the start", flush=True)
        _deploy(cluster)
        _pods(cluster)
        for node in NODES:
            sizes = {name: _pss_mib(cluster, node, which) for name, which in AGENT.items()}
            told = " + ".join(f"{name} {size:.0f}" for name, size in sizes.items())
            print(f"{node}: {told} = {sum(sizes.values()):.0f} MiB PSS", flush=True)


def _deploy(cluster: RealCluster) -> None:
    began = time.monotonic()
    cluster.kubectl("apply", "-f", str(bed.MANIFEST))
    print(f"kubectl apply ended: {time.monotonic() - began:.1f} s", flush=True)
    cluster.until(cluster.nodes_are_ready, "every node to be Ready")
    print(f"every node Ready: {time.monotonic() - began:.1f} s", flush=True)
    cluster.until(cluster.agents_are_ready, "the agents to be ready")
    print(f"every agent ready: {time.monotonic() - began:.1f} s", flush=True)


def _pods(cluster: RealCluster) -> None:
    began = time.monotonic()
    cluster.kubectl("apply", "-f", "-", stdin=MANY)
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=120s")
    print(f"{PODS} pods ready: {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()
    cluster.kubectl("delete", "-f", "-", stdin=MANY)
    cluster.until(lambda: not cluster.get("pods", "-l", "app=many")["items"], "the pods to be gone")
    print(f"{PODS} pods gone: {time.monotonic() - began:.1f} s", flush=True)


def _pss_mib(cluster: RealCluster, node: str, which: str) -> float:
    text = cluster.on(node, "sh", "-c", f"cat /proc/$(pgrep {which})/smaps_rollup")
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
