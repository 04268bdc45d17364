"""A flannel that is gone leaves nothing behind, and one that is not is named and left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import IPv4Interface, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from felix import conflicts
from felix.fib.model import Actual, AddRoute, Hop, Link, Op, Protocol, Route, show
from felix.fib.model_kernel import ModelKernel
from felix.fib.tunnel import MakeTunnel, RemoveTunnel, TunnelDevice, Vxlan
from felix.startup.flannel import ops, restore_text, seen_in, still_here

SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
:KUBE-POSTROUTING - [0:0]
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -s 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*mangle
:FORWARD ACCEPT [0:0]
COMMIT
"""


def node(name: str, number: int, **annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.50.{9 + number}"}]},
    }


def pod(name: str, phase: str = "Running") -> Mapping[str, Any]:
    return {"metadata": {"name": name, "namespace": "kube-flannel"}, "status": {"phase": phase}}


NODES = [node("node1", 1, **{"flannel.alpha.coreos.com/backend-type": "vxlan", "other": "x"}), node("node2", 2)]


def test_its_chains_and_the_jumps_into_them_go_and_no_other() -> None:
    assert restore_text(SAVED) == (
        '*nat\n-D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n'
        "-F FLANNEL-POSTRTG\n-X FLANNEL-POSTRTG\nCOMMIT\n"
        '*filter\n-D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n'
        "-F FLANNEL-FWD\n-X FLANNEL-FWD\nCOMMIT\n"
    )
    assert restore_text(SAVED.replace("FLANNEL", "KUBE")) == ""


def test_its_tunnel_and_its_routes_to_nodes_go_and_no_other() -> None:
    uplink = Hop("ens33", ip_address("192.168.50.11"))
    mine = [
        Route(ip_network("10.244.2.0/24"), (uplink,), protocol=Protocol.BOOT),  # host-gw's
        Route(ip_network("10.244.3.0/24"), (Hop("flannel.1", ip_address("10.244.3.0"), onlink=True),), protocol=3),
    ]
    others = [
        Route(ip_network("10.244.104.0/26"), (uplink,)),  # ours
        Route(ip_network("10.244.9.0/24"), (uplink,), protocol=Protocol.BOOT),  # no node's podCIDR
    ]

    async def scenario() -> None:
        kernel = ModelKernel()
        kernel.add_link("ens33", kind="")
        kernel.set_up("ens33")
        kernel.add_address("ens33", IPv4Interface("192.168.50.10/24"))
        vxlan = Vxlan(1, 8472, ip_address("192.168.50.10"), "ens33")
        made: list[Op] = [MakeTunnel(TunnelDevice("flannel.1", 1450, vxlan=vxlan)), *map(AddRoute, [*mine, *others])]
        assert [kernel.do(op) for op in made] == [None] * len(made)
        await kernel.apply(ops(await kernel.read(), seen_in(NODES[0], NODES, []).ways))
        left = await kernel.read()
        assert show(route for route in left.routes.values() if route.protocol != Protocol.KERNEL) == show(others)
        assert "flannel.1" not in left.links

    asyncio.run(scenario())


def test_the_nodes_annotations_of_flannel_are_known_by_their_prefix() -> None:
    assert seen_in(NODES[0], NODES, []).annotations == ("flannel.alpha.coreos.com/backend-type",)


def test_what_flannel_told_of_the_network_is_known_by_its_reason() -> None:
    by_flannel, by_another = ({"type": "NetworkUnavailable", "reason": each} for each in ("FlannelIsUp", "CalicoIsUp"))
    for conditions, is_told in (([by_flannel], True), ([by_another], False), ([], False)):
        mine = {**NODES[0], "status": {**NODES[0]["status"], "conditions": conditions}}
        assert seen_in(mine, NODES, []).is_told_up is is_told


@pytest.mark.parametrize(
    ("device", "is_flannels"),
    [("flannel.1", True), ("flannel-v6.1", True), ("flannel0", True), ("flannel.ipip", True), ("flannel.x", False)],
)
def test_its_tunnels_are_known_by_their_names(device: str, is_flannels: bool) -> None:
    actual = Actual({device: Link(device, 7)})
    assert ops(actual, {}) == ([RemoveTunnel(device)] if is_flannels else [])


def test_a_flannel_that_runs_or_is_configured_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "10-flannel.conflist").write_text("{}")
    (tmp_path / "10-calico.conflist").write_text("{}")
    seen = seen_in(NODES[0], NODES, [pod("kube-flannel-ds-x"), pod("web"), pod("kube-flannel-ds-old", "Succeeded")])
    configured, runs = still_here(seen, conflicts.lines(tmp_path))
    assert configured.startswith(f"conflict: {tmp_path}/10-flannel.conflist configures flannel: ")
    assert runs == "conflict: pod kube-flannel/kube-flannel-ds-x runs here"
    assert still_here(seen_in(NODES[0], NODES, [pod("web")]), []) == []


def test_a_node_that_does_not_show_its_folder_has_no_conflicts(tmp_path: Path) -> None:
    assert conflicts.lines(tmp_path / "nowhere") == ()
