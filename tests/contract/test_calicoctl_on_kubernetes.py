"""calicoctl on a real API server: what is another's there, and whose words are shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from calicoctl.terminal import Environ
from datastore.store import Store
from tests.servers.kubernetes import KubeServer, strict_server
from tests.unit.calicoctl.shell import Shell

pytestmark = pytest.mark.server

NODES = "/api/v1/nodes"
POLICY = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web, labels: {team: a}}
spec: {selector: all()}
"""
POOL = """
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.244.0.0/16}
"""
PEER = """
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec: {node: node1, peerIP: 192.0.2.1, asNumber: 64512}
"""


@dataclass
class KubernetesShell(Shell):
    server: KubeServer = field(default_factory=strict_server)

    def _connect(self, environ: Environ) -> Store:
        self.connections += 1
        return self.server.store()

    def _drive(self, environ: Environ, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


@pytest.fixture
def shell() -> Iterator[KubernetesShell]:
    strict_server().clear()
    yield KubernetesShell()


def labels(shell: KubernetesShell) -> dict[str, str]:
    return dict(json.loads(shell("get globalnetworkpolicy web -o json").out)["metadata"]["labels"])


def test_labels_of_a_policy_are_kept(shell: KubernetesShell) -> None:
    assert shell("create -f -", POLICY).status == 0
    assert labels(shell) == {"team": "a", "projectcalico.org/tier": "default"}
    assert shell("label globalnetworkpolicy web team=b --overwrite").status == 0
    assert labels(shell) == {"team": "b", "projectcalico.org/tier": "default"}


def test_a_node_of_kubernetes_is_not_deleted_and_nothing_of_it_is_touched(shell: KubernetesShell) -> None:
    asyncio.run(shell.server.do("POST", NODES, {"metadata": {"name": "node1"}}))
    try:
        assert shell("create -f -", PEER).status == 0
        assert str(shell("delete node node1")) == (
            "[stderr] Failed to delete 'Node' resource: resource does not exist: WorkloadEndpoint(node1-*) with error: "
            "malformed WorkloadEndpoint name - unable to determine Pod name\n[rc 1]"
        )
        assert "tor" in shell("get bgppeer").out
    finally:
        asyncio.run(shell.server.do("DELETE", f"{NODES}/node1"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            '{"ipipMode":"Always","vxlanMode":"Always"}',
            "spec: Forbidden: ipipMode and vxlanMode cannot both be enabled",
        ),
        (
            '{"ipipMode":"Off"}',
            '[spec.ipipMode: Unsupported value: "Off": supported values: "Never", "Always", "CrossSubnet", <nil>: '
            "Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
            "existing errors to complete validation]",
        ),
    ],
)
def test_a_mode_that_cannot_be_is_refused_in_the_servers_words(shell: KubernetesShell, spec: str, said: str) -> None:
    assert shell("create -f -", POOL).status == 0
    shown = shell(f"patch ippool pool -p '{{\"spec\":{spec}}}'")
    assert shown.err == (
        'hit error: updating existing resource: IPPool.crd.projectcalico.org "pool" is invalid: ' + said + "\n"
    )
    assert json.loads(shell("get ippool pool -o json").out)["spec"]["ipipMode"] == "Never"


def test_what_calicos_own_client_refuses_is_told_before_the_server_is_asked(shell: KubernetesShell) -> None:
    shell("create -f -", POOL)
    assert shell('patch ippool pool -p \'{"spec":{"allowedUses":["Nope"]}}\'').err == (
        "hit error: updating existing resource: error with field IPpool.AllowedUses = '[Nope]' (unknown use: Nope)\n"
    )
