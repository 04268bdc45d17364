"""ipam check asks a real API server which addresses Services use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.drivers import DRIVERS
from tests.contract.test_migration import DriverShell
from tests.servers.kubernetes import contract_server
from tests.unit.calicoctl.shell import GOLDEN

pytestmark = pytest.mark.server

SERVICES = "/api/v1/namespaces/default/services"
CONFIGURATION = """apiVersion: projectcalico.org/v3
kind: KubeControllersConfiguration
metadata: {name: default}
spec: {controllers: {loadBalancer: {assignIPs: AllServices}}}
"""


@pytest.fixture
def service() -> Iterator[None]:
    """Of type LoadBalancer, with an address."""
    server = contract_server()
    body = {
        "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.99.0.9"}]}},
    }
    asyncio.run(server.do("POST", SERVICES, body))
    made = asyncio.run(server.do("GET", f"{SERVICES}/web"))
    asyncio.run(server.do("PUT", f"{SERVICES}/web/status", {**made, "status": body["status"]}))
    yield
    asyncio.run(server.do("DELETE", f"{SERVICES}/web"))


def test_the_addresses_of_services_are_in_use(tmp_path: Path, service: None) -> None:
    with DRIVERS["kubernetes"](tmp_path) as datastore:
        shell = DriverShell(datastore=datastore, environ={"DATASTORE_TYPE": "kubernetes"})
        pools = (GOLDEN / "pools_and_nodes.yaml").read_text().partition("\n---\n")[0]
        assert shell("apply -f -", f"{pools}\n---\n{CONFIGURATION}").status == 0
        shown = shell("ipam check --show-all-ips")
        assert (shown.err, shown.status) == ("", 0)
        assert "  10.99.0.9 belongs to web\nFound 1 service load balancer(s).\n" in shown.out
