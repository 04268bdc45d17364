"""The main job on a Kubernetes API server. While that is away: test_outage."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from lab import apiserver, cluster, control_plane, inside, namespaces, state
from lab.node import environment_of
from tests.lab.testbed import Testbed

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(bool(apiserver.missing()), reason=apiserver.missing()),
]

A, B = ("node1", "a"), ("node2", "b")


@pytest.fixture(scope="module")
def lab() -> Iterator[Testbed]:
    """Two nodes. A test leaves it as it found it."""
    wish = cluster.Wish(name=f"t{os.getpid()}-kube", nodes=2, datastore="kubernetes")
    made = cluster.up(wish, lambda line: None)
    try:
        yield Testbed(made)
    finally:
        if state.folder(wish.name).exists():
            cluster.down(wish.name)


def calicoctl(lab: Testbed, *words: str) -> str:
    """As an administrator, who may do more than a node."""
    environment = environment_of("", {**lab.lab.environment, **control_plane.admin_environment(lab.lab)})
    status, output = namespaces.run_inside(lab.lab.fabric, ["calicoctl", *words], environment=environment)
    assert status == 0, output.decode()
    return output.decode()


def test_pods_reach_each_other_and_kubernetes_knows_their_addresses(lab: Testbed) -> None:
    with lab.pods(A, B) as (a, b):
        lab.eventually(lambda: lab.ping(*A, b), what="the pods reach each other")
        assert lab.routes("node1") == (
            "default via 192.168.50.1 dev ens33 proto static metric 100\n"
            "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
            f"{a} dev {_device(lab, 'a')} scope link\n"
            "blackhole 10.244.166.128/26 proto bird\n"
            "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100\n"
        )
        shown = json.loads(calicoctl(lab, "get", "wep", "-A", "-o", "json"))
        assert [each["spec"]["ipNetworks"] for each in shown["items"]] == [[f"{a}/32"], [f"{b}/32"]]
    assert "found 0 problems" in calicoctl(lab, "ipam", "check")


def test_a_node_that_joins_is_reached_and_one_that_is_deleted_leaves_nothing(lab: Testbed) -> None:
    joined = cluster.add_node(lab.lab.name, lambda line: None).name
    lab.add_pod(*A)
    lab.add_pod(joined, "there")
    address = lab.address(joined, "there")
    lab.eventually(lambda: lab.ping(*A, address), what=f"{joined}'s pod is reached")
    cluster.delete_node(lab.lab.name, joined)
    lab.reload()
    lab.eventually(lambda: "192.168.50.12" not in lab.routes("node1"), what=f"no route to {joined}")
    lab.del_pod(*A)
    assert joined not in calicoctl(lab, "ipam", "show", "--show-blocks") + calicoctl(lab, "get", "nodes")


def test_a_node_object_that_is_deleted_and_made_again_has_traffic_within_5_s(lab: Testbed) -> None:
    """As when a kubelet registers anew: the new object knows nothing of Calico, and its agent still runs."""
    with lab.pods(A, B) as (_, b):
        lab.eventually(lambda: lab.ping(*A, b), what="the pods reach each other")
        control_plane.remove_node(lab.lab, "node2")
        lab.eventually(lambda: "192.168.50.11" not in lab.routes("node1"), what="no route to node2")
        control_plane.add_node(lab.lab, "node2", lab.node("node2").address)
        lab.eventually(lambda: lab.ping(*A, b, patience_s=0.2), what="the pods reach each other again", patience_s=5)
        with lab.pods(("node2", "new")) as (new,):
            lab.eventually(lambda: lab.ping(*A, new), what="a new pod there is reached")
    lab.eventually(lambda: "found 0 problems" in calicoctl(lab, "ipam", "check"), what="nothing has leaked")


def _device(lab: Testbed, pod: str) -> str:
    from datastore import names

    return names.pod_device("default", pod)


@pytest.mark.long
def test_a_connection_through_which_nothing_passes_is_noticed_in_30_s(lab: Testbed) -> None:
    """Waits for the kernel to give up on it."""
    into, out = (f"type filter hook {hook} priority 0; tcp {port} 6443 drop;" for hook, port in _BOTH_WAYS)
    rules = f"table ip blackhole {{ chain i {{ {into} }}; chain o {{ {out} }}; }}"
    inside.call(lab.lab.fabric, lambda: subprocess.run(["nft", rules], check=True).returncode)
    try:
        began = time.monotonic()
        lab.eventually(
            lambda: "health.datastore ready=False" in lab.log("node1", "felix"), what="noticed", patience_s=40
        )
        assert time.monotonic() - began < 30
    finally:
        inside.call(lab.lab.fabric, lambda: subprocess.run(["nft", "delete table ip blackhole"], check=True).returncode)
    lab.eventually(lambda: _last_health(lab).endswith("ready=True why=''"), what="it is back", patience_s=40)


_BOTH_WAYS = (("input", "dport"), ("output", "sport"))


def _last_health(lab: Testbed) -> str:
    return [line for line in lab.log("node1", "felix").splitlines() if "health.datastore" in line][-1]
