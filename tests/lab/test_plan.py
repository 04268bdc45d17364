"""What ``calicoctl plan`` foretells is what then happens: every node's real table is compared with it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab import namespaces
from lab.node import environment_of
from tests.lab.modes import MODES, calicoctl
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

POOL = """
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.244.0.0/16
  natOutgoing: true
  ipipMode: {}
  vxlanMode: {}
"""
NO_MESH = """
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  nodeToNodeMeshEnabled: false
"""
CHANGES = 2
WHOLE = 6
"""Lines of a table: the default route, the uplink's, the own block and its pod, two blocks of others."""
PODS = (("node1", "plan-a"), ("node2", "plan-b"), ("node3", "plan-far"))


def plan(lab: Testbed, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was foretold."""
    status, output = namespaces.run_inside(
        lab.lab.fabric,
        ["calicoctl", "plan", "-o", "json", *words],
        environment=environment_of("", lab.lab.environment),
    )
    assert status in (0, CHANGES), output.decode()
    return status, json.loads(output)


def table(lab: Testbed, node: str) -> set[str]:
    """The node's real routes, in the words of a plan, which knows neither the uplink's name nor the router's."""
    lines = lab.routes(node).splitlines()
    return {re.sub(r"via 192\.168\.5[01]\.1 ", "via <router> ", line).replace("ens33", "<uplink>") for line in lines}


def tables(lab: Testbed) -> dict[str, set[str]]:
    return {node.name: table(lab, node.name) for node in lab.lab.nodes}


def promised(before: set[str], changes: list[dict[str, Any]]) -> set[str]:
    """The table after ``changes``, each of which must find what it says was there."""
    gone = {change["before"] for change in changes if change["before"]}
    assert gone <= before
    return (before - gone) | {change["after"] for change in changes if change["after"]}


def comes_true(lab: Testbed, foretold: dict[str, set[str]]) -> None:
    with suppress(AssertionError):  # the one below says what differs
        lab.eventually(lambda: tables(lab) == foretold, what="as foretold")
    assert tables(lab) == foretold


def hold_against(lab: Testbed, words: tuple[str, ...], *command: str) -> None:
    """What ``plan`` says of ``words`` is what every node holds after ``command``."""
    before = tables(lab)
    status, told = plan(lab, *words)
    assert status == CHANGES
    after = {node["name"]: promised(before[node["name"]], node["routes"]) for node in told["nodes"]}
    assert after != before
    calicoctl(lab, *command)
    comes_true(lab, after)


def wait_for_all_blocks(lab: Testbed) -> None:
    lab.eventually(lambda: {WHOLE} == {*map(len, tables(lab).values())}, what="every node knows all blocks")


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param(("vxlan", "vxlan CrossSubnet", "direct"), id="vxlan"),
        pytest.param(("ipip", "vxlan CrossSubnet", "direct"), id="ipip", marks=[pytest.mark.uml, pytest.mark.long]),
    ],
)
def test_what_a_plan_foretells_is_what_every_node_then_holds(
    routed_lab: Testbed, modes: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "pool.yaml"
    with routed_lab.pods(*PODS):
        wait_for_all_blocks(routed_lab)
        for mode in modes:
            file.write_text(POOL.format(*MODES[mode]))
            hold_against(routed_lab, ("-f", str(file)), "apply", "-f", str(file))
        assert plan(routed_lab, "-f", str(file))[0] == 0


def test_a_pool_that_is_deleted_under_its_pods_takes_the_routes_that_a_plan_names(own_lab: Testbed) -> None:
    pool = ("ippool", "default-ipv4-ippool")
    with own_lab.pods(*PODS):
        wait_for_all_blocks(own_lab)
        hold_against(own_lab, ("--delete", *pool), "delete", *pool)


def test_without_the_mesh_the_routes_go_that_a_plan_names(own_lab: Testbed, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(NO_MESH)
    with own_lab.pods(*PODS):
        wait_for_all_blocks(own_lab)
        hold_against(own_lab, ("-f", str(file)), "apply", "-f", str(file))
