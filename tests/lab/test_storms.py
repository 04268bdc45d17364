"""Many pods at once while the API server restarts, and all of them away again: no duplicate, no leak."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from lab import apiserver, cluster, control_plane, runtime
from lab.node import LabError
from tests.lab.conftest import lab_of
from tests.lab.test_kubernetes import calicoctl
from tests.lab.testbed import Testbed

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(bool(apiserver.missing()), reason=apiserver.missing()),
]

AWAY_S = 3.0
"""So long is the server away; a kubelet tries again and again, and so does the test."""
PATIENCE_S = 90.0


@pytest.fixture
def three_nodes() -> Iterator[Testbed]:
    yield from lab_of(cluster.Wish(name=f"t{os.getpid()}-storm", nodes=3, datastore="kubernetes"))


@pytest.fixture
def five_nodes() -> Iterator[Testbed]:
    yield from lab_of(cluster.Wish(name=f"t{os.getpid()}-storm5", nodes=5, datastore="kubernetes"))


def test_pods_that_are_added_while_the_server_restarts_all_run_and_leave_nothing(three_nodes: Testbed) -> None:
    weather(three_nodes, pods_a_node=10)


@pytest.mark.long
def test_200_pods_on_5_nodes_that_are_added_while_the_server_restarts_all_run_and_leave_nothing(
    five_nodes: Testbed,
) -> None:
    weather(five_nodes, pods_a_node=40)


def weather(lab: Testbed, *, pods_a_node: int) -> None:
    names = [f"pod{n}" for n in range(pods_a_node)]
    with ThreadPoolExecutor(len(lab.lab.nodes) + 1) as hands:
        adding = [hands.submit(_all, _add, lab, node.name, names) for node in lab.lab.nodes]
        hands.submit(_restart, lab).result()
        for done in adding:
            done.result()
        addresses = Counter(lab.address(node.name, name) for node in lab.lab.nodes for name in names)
        assert [address for address, count in addresses.items() if count > 1] == []
        assert len(addresses) == pods_a_node * len(lab.lab.nodes) == _assigned(lab)
        for address in addresses:
            _reach(lab, lab.lab.nodes[0].name, names[0], address)
        for done in [hands.submit(_all, _delete, lab, node.name, names) for node in lab.lab.nodes]:
            done.result()
    lab.eventually(lambda: _assigned(lab) == 0, what="every address is free", patience_s=30)
    assert "found 0 problems" in calicoctl(lab, "ipam", "check")


def _all(do: Callable[[Testbed, str, str], None], lab: Testbed, node: str, names: Sequence[str]) -> None:
    for name in names:
        do(lab, node, name)


def _restart(lab: Testbed) -> None:
    time.sleep(1)
    control_plane.kill_apiserver(lab.lab)
    time.sleep(AWAY_S)
    control_plane.start_apiserver(lab.lab)


def _add(lab: Testbed, node: str, name: str) -> None:
    """As a kubelet: what failed is cleared away and tried again, with another container."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            lab.add_pod(node, name, namespace=node)
            return
        except LabError:
            assert time.monotonic() < deadline, f"{name} on {node} was not connected in {PATIENCE_S:.0f} s"
            time.sleep(0.2)


def _reach(lab: Testbed, node: str, name: str, address: str) -> None:
    lab.eventually(lambda: lab.ping(node, name, address), what=f"{address} is reached")


def _delete(lab: Testbed, node: str, name: str) -> None:
    with suppress(runtime.PluginError):
        lab.del_pod(node, f"{node}/{name}")


def _assigned(lab: Testbed) -> int:
    """Addresses that IPAM holds."""
    shown = calicoctl(lab, "ipam", "show")
    line = next(line for line in shown.splitlines() if "IP Pool" in line)
    return int(line.split("|")[4].split()[0])
