"""The datastore is away while pods come and go, and while a node starts: packets flow, nothing waits, nothing leaks.

etcd and the API server die without a word, and come back with what they held.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from lab import apiserver, cluster, control_plane, daemons, etcd, namespaces, runtime, state
from lab.node import environment_of
from tests.etcd_server import needs_etcd
from tests.lab.conftest import lab_of
from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.server]

A, B = ("node1", "a"), ("node2", "b")
NODE = "node1"
"""Where pods come and go."""
CONF = json.dumps({**runtime.default_conflist()["plugins"][0], "name": "k8s-pod-network", "cniVersion": "1.0.0"})
ADD_WITHIN_S, DEL_WITHIN_S = 5.5, 3.0
"""Less than the datastore is waited for, on a machine that has other work too."""
BACK_WITHIN_S = 30.0
"""Longer than daemons wait between two tries, and a spooled DEL for the next."""


@dataclass(frozen=True)
class Server:
    check: Callable[[], object]
    end: Callable[[Testbed], object]
    begin: Callable[[Testbed], object]


def _needs_apiserver() -> None:
    if why := apiserver.missing():
        pytest.skip(why)


SERVERS = {
    "etcd": Server(
        needs_etcd,
        lambda lab: etcd.stop(state.folder(lab.lab.name)),
        lambda lab: etcd.start(lab.lab.fabric, state.folder(lab.lab.name)),
    ),
    "kubernetes": Server(
        _needs_apiserver,
        lambda lab: control_plane.kill_apiserver(lab.lab),
        lambda lab: control_plane.start_apiserver(lab.lab),
    ),
}


@dataclass
class Stage:
    """Two nodes with a pod each, and the server of their datastore."""

    lab: Testbed
    server: Server

    def calicoctl(self, *words: str) -> str:
        environment = environment_of("", {**self.lab.lab.environment, **control_plane.admin_environment(self.lab.lab)})
        status, output = namespaces.run_inside(self.lab.lab.fabric, ["calicoctl", *words], environment=environment)
        assert status == 0, output.decode()
        return output.decode()

    def scheduled(self, count: int) -> list[runtime.Pod]:
        """Pods that the datastore knows and nobody has connected."""
        pods = [runtime.Pod(f"late{n}", "default", secrets.token_hex(32)) for n in range(count)]
        for pod in pods:
            if control_plane.is_used(self.lab.lab):
                control_plane.add_pod(self.lab.lab, NODE, pod.namespace, pod.name)
            self.lab.run(NODE, "ip", "netns", "add", pod.netns)
        return pods

    def connected(self, count: int) -> list[runtime.Pod]:
        node = self.lab.node(NODE)
        for n in range(count):
            self.lab.add_pod(NODE, f"goes{n}")
        return [runtime.find(self.lab.lab, node, f"goes{n}") for n in range(count)]

    def plugin(self, command: str, pod: runtime.Pod) -> tuple[int, str, float]:
        """Exit status, output, and the seconds that it took."""
        began = time.monotonic()
        arguments = (
            f"K8S_POD_NAMESPACE={pod.namespace};K8S_POD_NAME={pod.name};K8S_POD_INFRA_CONTAINER_ID={pod.container}"
        )
        status, output = self.lab.plugin(
            NODE,
            CONF,
            COMMAND=command,
            CONTAINERID=pod.container,
            NETNS=f"/run/netns/{pod.netns}",
            IFNAME="eth0",
            PATH=runtime.PLUGIN_PATH,
            ARGS=f"IgnoreUnknown=1;{arguments}",
        )
        return status, output, time.monotonic() - began

    def is_connected(self) -> bool:
        return self.lab.ping(*A, self.lab.address(*B)) == 1

    def is_added(self, pod: runtime.Pod) -> bool:
        return self.plugin("ADD", pod)[0] == 0

    def is_free(self, address: str) -> bool:
        return "is not assigned" in self.calicoctl("ipam", "show", f"--ip={address}")

    def is_ready(self, node: str) -> bool:
        return self.lab.run(node, "sh", "-c", "calico-node -felix-ready 2>&1 || true") == ""


@pytest.fixture(scope="module", params=SERVERS)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    server = SERVERS[request.param]
    server.check()
    for lab in lab_of(cluster.Wish(name=f"t{os.getpid()}-out", nodes=2, datastore=request.param)):
        for pod in (A, B):
            lab.add_pod(*pod)
        made = Stage(lab, server)
        lab.eventually(made.is_connected, what="the pods reach each other")
        yield made


def test_pods_that_come_and_go_while_the_datastore_is_away_leave_nothing(stage: Stage) -> None:
    churn(stage, away_s=5.0, pods=2)


@pytest.mark.long
def test_pods_that_come_and_go_while_the_datastore_is_away_for_five_minutes_leave_nothing(stage: Stage) -> None:
    churn(stage, away_s=300.0, pods=40)


def churn(stage: Stage, *, away_s: float, pods: int) -> None:
    lab, going, coming = stage.lab, stage.connected(pods), stage.scheduled(2)
    freed = [lab.address(NODE, pod.name) for pod in going]
    kept = lab.routes("node2")
    with lab.flow(A, B, per_second=200) as flow:
        stage.server.end(lab)
        until = time.monotonic() + away_s
        waiting = list(going)
        while waiting or time.monotonic() < until:
            for pod in coming:
                status, output, took_s = stage.plugin("ADD", pod)
                assert (status, json.loads(output)["code"]) == (1, 11), output
                assert took_s < ADD_WITHIN_S
                assert_deleted(stage, pod)
            for pod in waiting[:1]:
                assert_deleted(stage, pod)
            waiting = waiting[1:]
        assert lab.routes("node2") == kept
        stage.server.begin(lab)
        for pod in coming:
            lab.eventually(partial(stage.is_added, pod), what="ADD works", patience_s=BACK_WITHIN_S)
        lab.eventually(
            lambda: all(map(stage.is_free, freed)), what="what was deleted is free", patience_s=BACK_WITHIN_S
        )
    assert flow.lost == 0
    for pod in coming:
        assert_deleted(stage, pod)
        lab.run(NODE, "ip", "netns", "del", pod.netns)
        if control_plane.is_used(lab.lab):
            control_plane.remove_pod(lab.lab, pod.namespace, pod.name)
    for pod in going:
        lab.del_pod(NODE, pod.name)
    assert "found 0 problems" in stage.calicoctl("ipam", "check")
    assert lab.routes(NODE).count("dev cali") == 1


def assert_deleted(stage: Stage, pod: runtime.Pod) -> None:
    status, output, took_s = stage.plugin("DEL", pod)
    assert (status, output) == (0, "")
    assert took_s < DEL_WITHIN_S


def test_a_node_that_starts_while_the_datastore_is_away_forwards_and_joins_when_it_is_back(stage: Stage) -> None:
    lab, (pod,) = stage.lab, stage.scheduled(1)
    kept = lab.routes(NODE)
    with lab.flow(B, A) as flow:
        stage.server.end(lab)
        for daemon in daemons.NAMES:
            lab.kill(NODE, daemon)
            lab.begin_unheard(NODE, daemon)
        status, output, took_s = stage.plugin("ADD", pod)
        assert (status, json.loads(output)["code"]) == (1, 11), output
        assert took_s < ADD_WITHIN_S
        assert_deleted(stage, pod)
        assert not stage.is_ready(NODE)
        assert lab.routes(NODE) == kept
        stage.server.begin(lab)
        lab.eventually(lambda: stage.is_ready(NODE), what="it is ready", patience_s=BACK_WITHIN_S)
        assert stage.is_added(pod)
        assert lab.routes(NODE) != kept
    assert flow.lost == 0
    assert_deleted(stage, pod)
    lab.run(NODE, "ip", "netns", "del", pod.netns)
    if control_plane.is_used(lab.lab):
        control_plane.remove_pod(lab.lab, pod.namespace, pod.name)
    lab.eventually(lambda: lab.routes(NODE) == kept, what="its table is as it was")
    assert "found 0 problems" in stage.calicoctl("ipam", "check")
