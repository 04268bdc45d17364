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
CHANGES = 2
WHOLE = 6
"""Lines of a table: the default route, the uplink's, the own block and its pod, two blocks of others."""
PODS = (("node1", "plan-a"), ("node2", "plan-b"), ("node3", "plan-far"))


def plan(lab: Testbed, path: Path) -> tuple[int, dict[str, Any]]:
    """The exit status, and what was foretold."""
    status, output = namespaces.run_inside(
        lab.lab.fabric,
        ["calicoctl", "plan", "-o", "json", "-f", str(path)],
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


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(("vxlan", "vxlan CrossSubnet", "direct"), id="vxlan"),
        pytest.param(("ipip", "vxlan", "ipip CrossSubnet", "direct"), id="ipip", marks=pytest.mark.uml),
    ],
)
def test_what_a_plan_foretells_is_what_every_node_then_holds(
    routed_lab: Testbed, mode: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "pool.yaml"
    with routed_lab.pods(*PODS):
        routed_lab.eventually(lambda: {WHOLE} == {*map(len, tables(routed_lab).values())}, what="all blocks are known")
        for each in mode:
            file.write_text(POOL.format(*MODES[each]))
            before = tables(routed_lab)
            status, told = plan(routed_lab, file)
            assert status == CHANGES
            after = {node["name"]: promised(before[node["name"]], node["routes"]) for node in told["nodes"]}
            assert after != before
            calicoctl(routed_lab, "apply", "-f", str(file))
            comes_true(routed_lab, after)
            assert plan(routed_lab, file)[0] == 0
