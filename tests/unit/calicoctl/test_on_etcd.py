"""The sessions of test_transcripts with etcd as the datastore, and what they leave in etcd: Calico's bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from calicoctl.terminal import Environ
from datastore.etcd import EtcdStore
from datastore.store import Store
from tests.etcd_server import EtcdServer, shared_server
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell, steps_of
from tests.unit.calicoctl.test_transcripts import check, furnished, with_three_pods

pytestmark = pytest.mark.server

RESOURCES = "/calico/resources/v3/projectcalico.org/"


@dataclass
class EtcdShell(Shell):
    """A datastore that waits needs an event loop, one for each command."""

    def _connect(self, environ: Environ) -> Store:
        self.connections += 1
        return self.wrap(EtcdStore(shared_server().settings))

    def _drive(self, environ: Environ, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def ask(self, work: Any) -> Any:
        async def whole() -> Any:
            store = EtcdStore(shared_server().settings)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(whole())


@pytest.fixture
def server() -> EtcdServer:
    shared = shared_server()
    shared.clear()
    return shared


def test_every_kind_is_shown_as_upstream_shows_it(server: EtcdServer) -> None:
    check(EtcdShell(), "tables")


def test_errors_are_worded_as_upstreams_are(server: EtcdServer) -> None:
    check(furnished(EtcdShell()), "errors")


def test_an_empty_datastore_has_no_addresses_and_reading_writes_nothing(server: EtcdServer) -> None:
    check(EtcdShell(), "ipam_nothing")


def test_addresses_and_settings_are_shown_as_upstream_shows_them(server: EtcdServer) -> None:
    check(with_three_pods(EtcdShell()), "ipam_three_pods")


def test_lost_addresses_are_found_and_released_as_upstream_does_it(
    server: EtcdServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = with_three_pods(EtcdShell())
    add_pod(shell, "node1", "cida1", "10.244.166.134")
    add_pod(shell, "node1", "cida2", "10.244.166.135")
    check(shell, "ipam_leak")


_GIVEN = re.compile(r'"(uid|creationTimestamp)":"[^"]*"')
_WRITTEN_BY_OTHERS = (
    "clusterinformations/default",  # with a GUID of its own
    "felixconfigurations/node.node",
    "ippools/default-ipv4-ippool",
    "nodes/",
    "profiles/k8s-pod-network",
    "workloadendpoints/",
)
"""What in etcd.json other programs wrote, or changed afterwards."""


def test_what_calicoctl_leaves_in_etcd_is_to_the_byte_what_upstreams_leaves(server: EtcdServer) -> None:
    shell = EtcdShell()
    for step in steps_of((GOLDEN / "tables.txt").read_text()):
        if step.stdin:
            shell(step.line, step.stdin)
    golden = json.loads((GOLDEN.parent / "etcd.json").read_text())
    compared = 0
    for key, document in golden.items():
        name = key.removeprefix(RESOURCES)
        if name == key or name.startswith(_WRITTEN_BY_OTHERS):
            continue
        expected = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        assert _GIVEN.sub("", server.value(key)) == _GIVEN.sub("", expected)
        compared += 1
    assert compared == 16


def test_pods_leave_calicos_ipam_data(server: EtcdServer) -> None:
    with_three_pods(EtcdShell())
    key = "/calico/ipam/v2/assignment/ipv4/block/10.244.104.0-26"
    written = json.loads(server.value(key))
    golden = json.loads((GOLDEN.parent / "etcd.json").read_text())
    assert list(written) == list(golden[key])
    assert list(written["attributes"][0]) == list(golden[key]["attributes"][0])
    for key in (
        "/calico/ipam/v2/handle/k8s-pod-network.cid0002",
        "/calico/ipam/v2/host/node2/ipv4/block/10.244.104.0-26",
    ):
        assert server.value(key) == json.dumps(golden[key], separators=(",", ":"))
