"""What flanneld answers over HTTP, and what stands in its metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path

from datastore.monitoring.http import Answer
from flannel.health import Health
from tests.models.etcd_model import EtcdModel
from tests.models.flannel_node import PREFIX, FlannelNode
from tests.virtual_time import virtually

MOMENT_S = 10.0


def etcd_with(backend: str, **peers: str) -> EtcdModel:
    etcd = EtcdModel()
    etcd.put(f"{PREFIX}/config", f'{{"Network": "10.5.0.0/16", "Backend": {{"Type": "{backend}"}}}}')
    for number, (_, address) in enumerate(sorted(peers.items()), 2):
        value = f'{{"PublicIP":"{address}","BackendType":"{backend}"}}' if address else "{"
        etcd.put(f"{PREFIX}/subnets/10.5.{number}.0-24", value)
    return etcd


def lines(answer: Answer, *prefixes: str) -> list[str]:
    return [
        line for line in answer.text.splitlines() if line.startswith(tuple(f"tortie_flannel_{p}" for p in prefixes))
    ]


@virtually
async def test_before_there_is_a_configuration_it_says_that_it_is_not_ready() -> None:
    health = Health()
    assert (await health.answer("/healthz")).text == "flanneld is running"
    assert [int((await health.answer(path)).status) for path in ("/healthz", "/readyz", "/x")] == [200, 503, 404]
    told = await health.answer("/metrics")
    assert lines(told, "ready", "leases") == ["tortie_flannel_ready 0"]
    assert "process_resident_memory_bytes " in told.text
    assert (await health.answer("/notes")).text == ""


@virtually
async def test_leases_routes_and_the_peers_that_host_gw_cannot_reach_are_counted_and_named(tmp_path: Path) -> None:
    etcd = etcd_with("host-gw", b="192.168.99.2", c="192.168.98.3", d="")
    async with FlannelNode(etcd, tmp_path).daemon() as running:
        await asyncio.sleep(MOMENT_S)
        health = Health()
        health.daemon = running.agent
        told = await health.answer("/metrics")
        assert lines(
            told, "ready", "backend", "leases", "routes_wanted", "routes_actual", "off_link", "lease_lists"
        ) == [
            "tortie_flannel_ready 1",
            'tortie_flannel_backend{type="host-gw"} 1',
            'tortie_flannel_leases{state="readable"} 2',
            'tortie_flannel_leases{state="unreadable"} 1',
            "tortie_flannel_lease_lists_total 1",
            'tortie_flannel_routes_wanted{ip_version="4"} 1',
            'tortie_flannel_routes_wanted{ip_version="6"} 0',
            'tortie_flannel_routes_actual{ip_version="4"} 1',
            'tortie_flannel_routes_actual{ip_version="6"} 0',
            'tortie_flannel_off_link_peers{peer="192.168.98.3"} 1',
        ]
        notes = (await health.answer("/notes")).text.splitlines()
        assert any(
            "192.168.98.3 is not on a link of this node" in note and "use backend vxlan" in note for note in notes
        )
        assert (await health.answer("/readyz")).text == "flanneld is ready"


@virtually
async def test_renewals_outages_bad_leases_and_repairs_are_counted(tmp_path: Path) -> None:
    etcd = etcd_with("host-gw", b="192.168.99.2")
    node = FlannelNode(etcd, tmp_path)
    async with node.daemon(margin_s=86_400 - 60) as running:
        etcd.put(f"{PREFIX}/subnets/10.5.9.0-24", "{")
        await asyncio.sleep(90)
        etcd.is_away = True
        await asyncio.sleep(90)
        etcd.is_away = False
        await asyncio.sleep(MOMENT_S)
        health = Health()
        health.daemon = running.agent
        told = await health.answer("/metrics")
    assert lines(told, "lease_renewals", "bad", "repairs", "large", "watch") == [
        'tortie_flannel_lease_renewals_total{result="done"} 2',
        'tortie_flannel_lease_renewals_total{result="failed"} 1',
        f"tortie_flannel_watch_failures_total {running.agent.figures().source.watch_failures}",
        "tortie_flannel_bad_leases_total 2",
        "tortie_flannel_repairs_total 0",
        "tortie_flannel_large_pods 0",
    ]
    assert running.agent.figures().source.watch_failures > 1
