"""A node whose pods were wired by Calico's own felix is taken over by starting ours, and none of them notices.

Its state is built as the original leaves it: routes to pods with metric 1024, the block's blackhole with protocol 80,
and the rules that it wrote (tests/golden), which end in a drop of every interface that it does not know.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.server]

GOLDEN = Path(__file__).parents[1] / "golden" / "upstream_iptables_legacy.txt"
NODE, POD, FAR = "node1", ("node1", "taken"), ("node2", "far")


def test_a_node_of_calicos_is_taken_over_without_a_lost_packet(own_lab: Testbed) -> None:
    with own_lab.pods(POD, FAR) as (address, far):
        own_lab.eventually(lambda: own_lab.ping(*POD, far), what="the pods reach each other")
        for daemon in ("felix", "bgp"):
            own_lab.stop(NODE, daemon)
        device = _as_calico_left_it(own_lab, address)
        assert f"{address} dev {device} scope link metric 1024" in own_lab.routes(NODE)
        assert own_lab.ping(*POD, far) == 1
        with own_lab.route_monitor(NODE) as changes, own_lab.flow(POD, FAR) as flow:
            for daemon in ("felix", "bgp"):
                own_lab.begin(NODE, daemon)
            own_lab.eventually(lambda: not _left(own_lab), what="nothing is left of Calico's own")
        assert flow.lost == 0
        assert _order(changes, address) == [f"{address} dev {device} scope link", f"Deleted {address} dev {device}"]
        assert own_lab.address(*POD) == address
        own_lab.add_pod(NODE, "newcomer")
        own_lab.eventually(lambda: own_lab.ping(NODE, "newcomer", far), what="a new pod has a network")


def _as_calico_left_it(lab: Testbed, address: str) -> str:
    """The name of the pod's device."""
    (route,) = [line for line in lab.routes(NODE).splitlines() if line.startswith(f"{address} ")]
    device = route.split()[2]
    block = next(line.split()[1] for line in lab.routes(NODE).splitlines() if line.startswith("blackhole"))
    lab.run(NODE, "ip", "route", "add", address, "dev", device, "scope", "link", "metric", "1024")
    lab.run(NODE, "ip", "route", "del", address, "dev", device, "metric", "0")
    lab.run(NODE, "ip", "route", "replace", "blackhole", block, "proto", "80")
    _forget_ours(lab)
    rules = GOLDEN.read_text().replace("calipa1", device)
    for name in sorted(set(re.findall(r"--match-set (\S+)", rules))):
        lab.run(NODE, "ipset", "create", name, "hash:ip" if name == "cali40this-host" else "hash:net")
    lab.run(NODE, "ipset", "add", "cali40s:2fl5z2zNsblcH22dih8gxUR", "10.244.0.0/16")
    lab.run(NODE, "iptables-legacy-restore", stdin=rules)
    return device


def _forget_ours(lab: Testbed) -> None:
    """What our felix had written into packet filters."""
    lab.run(NODE, "nft", "flush", "ruleset")
    for table in ("raw", "mangle", "nat", "filter"):
        for how in ("-F", "-X"):
            lab.run(NODE, "iptables-legacy", "-t", table, how)
    lab.run(NODE, "ipset", "destroy")


def _left(lab: Testbed) -> list[str]:
    rules = lab.run(NODE, "iptables-legacy-save") + lab.run(NODE, "ipset", "list", "-n")
    found = [line for line in rules.splitlines() if re.search("Unknown interface|cali-fw-|cali-to-wl|cali40s:", line)]
    return found + [line for line in lab.routes(NODE).splitlines() if "metric 1024" in line or "proto 80" in line]


def _order(changes: list[str], address: str) -> list[str]:
    """What became of the pod's route, without the ends of the lines."""
    found = (re.sub(r"( scope link)? (proto boot )?metric 1024.*", "", line).strip() for line in changes)
    return [re.sub(r"^(Deleted .*) scope link$", r"\1", line) for line in found if address in line.split()]
