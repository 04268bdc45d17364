"""What ``calicoctl plan`` foretells: three nodes with a pod each, the last behind a router."""

from __future__ import annotations

import json
import re
from itertools import permutations
from textwrap import dedent
from typing import Any

import pytest

from datastore.resource import KINDS
from datastore.store import Store
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell, Shown

SWITCHES = GOLDEN / "plan_switches.txt"
MODES = {
    "direct": "{}",
    "ipip": "{ipipMode: Always}",
    "ipip CrossSubnet": "{ipipMode: CrossSubnet}",
    "vxlan": "{vxlanMode: Always}",
    "vxlan CrossSubnet": "{vxlanMode: CrossSubnet}",
}


def pool(spec: str = "{}", name: str = "default-ipv4-ippool", cidr: str = "10.244.0.0/16") -> str:
    """``spec`` as YAML's flow, what it has beside the CIDR."""
    fields = f"cidr: {cidr}" + (f", {spec[1:-1]}" if spec != "{}" else "")
    return document("IPPool", name, f"{{{fields}}}")


def document(kind: str, name: str, spec: str, labels: str = "{}") -> str:
    about = f"{{name: {name}, labels: {labels}}}"
    return f"---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {about}\nspec: {spec}\n"


def node(name: str, address: str, labels: str = "{}", more: str = "") -> str:
    return document("Node", name, f"{{bgp: {{ipv4Address: {address}{more}}}}}", labels)


NODES = (
    node("node1", "192.168.50.10/24", "{rack: a}")
    + node("node2", "192.168.50.11/24", "{rack: a}")
    + node("node3", "192.168.51.12/24", "{rack: b}")
)
PODS = (("node1", "a", "10.244.166.128"), ("node2", "b", "10.244.104.0"), ("node3", "c", "10.244.135.0"))


class Cluster(Shell):
    """A shell whose datastore is written by nodes, too: what a plan says of them comes true after each apply."""

    def apply(self, text: str) -> None:
        from calicoctl.settling import settle

        shown = self("apply -f -", text)
        assert shown.status == 0, shown
        self.ask(lambda store: settle(store, wall_ns=lambda: self.now_ns))

    def plan(self, text: str, flags: str = "") -> Shown:
        return self(f"plan {flags} -f -", text)

    def everything(self) -> list[object]:
        async def read(store: Store) -> list[object]:
            return [item for kind in KINDS for item in (await store.list(kind)).items]

        found: list[object] = self.ask(read)
        return found


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.apply(pool() + NODES)
    for where, name, address in PODS:
        add_pod(made, where, name, address)
    return made


def part(shown: Shown, heading: str) -> str:
    """What is said of one node."""
    return next(each for each in shown.out.split("\n\n") if each.startswith(f"{heading}\n")) + "\n"


def routes(shown: Shown, heading: str) -> str:
    """Only the routes that change, without reasons."""
    found = re.findall(r"^  (?:route   |      ->) (.*)$", part(shown, heading), re.MULTILINE)
    return "".join(f"-> {line}\n" if at % 2 else f"{line}\n" for at, line in enumerate(found))


def last(shown: Shown) -> str:
    return shown.out.splitlines()[-1]


def expected(text: str) -> str:
    return dedent(text).lstrip("\n")


# --- modes --------------------------------------------------------------------------------------------------------


def told_of_switches(cluster: Cluster) -> str:
    """What node1 is told of each switch of mode, and what all three come to."""
    told = []
    for old, new in permutations(MODES, 2):
        cluster.apply(pool(MODES[old]))
        shown = cluster.plan(pool(MODES[new]))
        assert shown.status == 2
        told.append(f"# {old} -> {new}\n{part(shown, 'node1')}{last(shown)}\n")
    return "\n".join(told)


def test_each_of_the_twenty_switches_of_mode_is_told_as_the_file_has_it(cluster: Cluster) -> None:
    assert told_of_switches(cluster) == SWITCHES.read_text()


def test_what_is_foretold_of_a_switch_is_what_the_next_plan_starts_from(cluster: Cluster) -> None:
    for old, new in permutations(MODES, 2):
        cluster.apply(pool(MODES[old]))
        there = told_as_json(cluster, pool(MODES[new]))
        cluster.apply(pool(MODES[new]))
        back = told_as_json(cluster, pool(MODES[old]))
        assert {route["after"] for route in there} == {route["before"] for route in back}


def told_as_json(cluster: Cluster, text: str) -> list[dict[str, Any]]:
    shown = cluster.plan(text, "-o json")
    return [route for node in json.loads(shown.out)["nodes"] for route in node["routes"]]


@pytest.mark.parametrize("spec", MODES.values(), ids=MODES)
def test_what_is_stored_already_changes_nothing(cluster: Cluster, spec: str) -> None:
    cluster.apply(pool(spec))
    assert str(cluster.plan(pool(spec))) == "3 nodes: nothing changes\n[rc 0]"
    for kind in ("ippools", "nodes"):
        assert cluster.plan(cluster(f"get {kind} -o yaml").out).status == 0


def test_a_cluster_that_has_not_settled_yet_is_not_held_against_the_edit() -> None:
    shell = Cluster()
    shell("apply -f -", pool("{ipipMode: Always}") + NODES)
    assert str(shell.plan(pool("{ipipMode: Always}"))) == "3 nodes: nothing changes\n[rc 0]"


def test_the_mtu_of_the_uplinks_can_be_told(cluster: Cluster) -> None:
    shown = cluster.plan(pool("{vxlanMode: Always}"), "--mtu 9000")
    assert "  device   + vxlan.calico up, MTU 8950, address 10.244.166.129/32" in shown.out
    assert "  pods     1 would be offered MTU 8950, not 9000: default/a\n" in shown.out


def test_pods_and_tunnels_are_told_of_a_smaller_mtu_that_a_setting_asks_for(cluster: Cluster) -> None:
    cluster.apply(pool("{ipipMode: Always}"))
    shown = cluster.plan(document("FelixConfiguration", "default", "{ipipMTU: 1400}"))
    assert part(shown, "node1") == expected("""
        node1
          device   tunl0 up, MTU 1480, address 10.244.166.129/32
                -> tunl0 up, MTU 1400, address 10.244.166.129/32
                   because pool default-ipv4-ippool may be reached through it
          pods     1 would be offered MTU 1400, not 1480: default/a
        """)


def test_an_uplink_that_the_node_names_is_called_by_its_name(cluster: Cluster) -> None:
    interfaces = "interfaces: [{name: eth7, addresses: [192.168.50.10/24]}]"
    cluster.apply(document("Node", "node1", f"{{bgp: {{ipv4Address: 192.168.50.10/24}}, {interfaces}}}"))
    shown = cluster.plan(pool("{ipipMode: CrossSubnet}"))
    assert routes(shown, "node1") == expected("""
        10.244.135.0/26 via <router> dev eth7 proto bird
        -> 10.244.135.0/26 via 192.168.51.12 dev tunl0 proto bird onlink
        """)


def test_a_destination_that_cannot_be_reached_for_now_keeps_its_route(cluster: Cluster) -> None:
    cluster.apply(pool("{vxlanMode: Always}"))
    shown = cluster.plan(document("Node", "node3", "{}"))
    assert part(shown, "node1") == expected("""
        node1
          waits    10.244.135.0/26 via 10.244.135.1 dev vxlan.calico onlink mtu 1450
                   because node node3 has no address
          session  - Mesh_192_168_51_12 with 192.168.51.12 port 179, AS 64512, own AS 64512
        """)
    assert last(shown) == "3 nodes: 2 routes wait, 4 BGP sessions change, nothing is lost"


def test_a_borrowed_address_is_foretold_as_a_route_of_its_own(cluster: Cluster) -> None:
    add_pod(cluster, "node2", "z", "10.244.166.140")
    shown = cluster.plan(pool("{ipipMode: Always}"))
    assert "  route    10.244.166.140 via 192.168.50.11 dev <uplink> proto bird\n" in part(shown, "node1")
    assert "        -> 10.244.166.140 via 192.168.50.11 dev tunl0 proto bird onlink\n" in part(shown, "node1")


# --- pools --------------------------------------------------------------------------------------------------------


def test_of_two_pools_only_the_routes_of_the_one_that_is_edited_change(cluster: Cluster) -> None:
    cluster.apply(pool(name="second", cidr="10.99.0.0/24"))
    add_pod(cluster, "node2", "d", "10.99.0.65")
    shown = cluster.plan(pool("{ipipMode: CrossSubnet}", "second", "10.99.0.0/24"))
    assert part(shown, "node3") == expected("""
        node3
          route    10.99.0.64/26 via <router> dev <uplink> proto bird
                -> 10.99.0.64/26 via 192.168.50.11 dev tunl0 proto bird onlink
                   because pool second, ipipMode CrossSubnet, node node2, bgp 192.168.50.11
          route    + 10.99.0.128/26 via 192.168.50.10 dev tunl0 proto bird onlink
                   because pool second, ipipMode CrossSubnet, node node1, bgp 192.168.50.10
          route    + blackhole 10.99.0.192/26 proto bird
                   because own block, affinity node3-10-99-0-192-26
          device   + tunl0 up, MTU 1480, address 10.99.0.192/32
                   because pool second may be reached through it
          address  10.99.0.192 taken from IPAM
          pods     1 would be offered MTU 1480, not 1500: default/c
        """)


def test_a_disabled_pool_gives_no_tunnel_addresses_so_its_blocks_are_sent_direct(cluster: Cluster) -> None:
    cluster.apply(pool("{ipipMode: Always}"))
    shown = cluster.plan(pool("{ipipMode: Always, disabled: true}"))
    assert routes(shown, "node1") == expected("""
        10.244.104.0/26 via 192.168.50.11 dev tunl0 proto bird onlink
        -> 10.244.104.0/26 via 192.168.50.11 dev <uplink> proto bird
        10.244.135.0/26 via 192.168.51.12 dev tunl0 proto bird onlink
        -> 10.244.135.0/26 via <router> dev <uplink> proto bird
        """)
    assert "because pool default-ipv4-ippool, ipipMode Always, but direct for now: node2 publishes no ipip" in shown.out
    assert last(shown) == "3 nodes: 6 routes change, 3 addresses are given back, nothing is lost"


def test_a_pool_that_is_deleted_under_its_pods_loses_their_addresses(cluster: Cluster) -> None:
    shown = cluster("plan --delete ippool default-ipv4-ippool")
    assert shown.out.startswith("IPPool(default-ipv4-ippool) would be deleted\n")
    assert part(shown, "node1") == expected("""
        node1
          route    - 10.244.104.0/26 via 192.168.50.11 dev <uplink> proto bird
                   it was for pool default-ipv4-ippool, node node2, bgp 192.168.50.11
          route    - 10.244.135.0/26 via <router> dev <uplink> proto bird
                   it was for pool default-ipv4-ippool, node node3, bgp 192.168.51.12
          route    - blackhole 10.244.166.128/26 proto bird
                   it was for own block, affinity node1-10-244-166-128-26
        """)
    assert shown.out.splitlines()[-4:] == [
        "lost  10.244.104.0 of default/b on node2: pool default-ipv4-ippool would be gone, and no other has it",
        "lost  10.244.135.0 of default/c on node3: pool default-ipv4-ippool would be gone, and no other has it",
        "lost  10.244.166.128 of default/a on node1: pool default-ipv4-ippool would be gone, and no other has it",
        "3 nodes: 9 routes are removed, 3 addresses are lost",
    ]
    assert shown.status == 2


def test_a_node_that_a_pool_selects_no_more_loses_its_tunnel(cluster: Cluster) -> None:
    cluster.apply(pool("{ipipMode: CrossSubnet}"))
    shown = cluster.plan(pool("{ipipMode: CrossSubnet, nodeSelector: \"rack == 'a'\"}"))
    assert shown.out.startswith("IPPool(default-ipv4-ippool) nodeSelector: all() -> rack == 'a'\n")
    assert routes(shown, "node2") == expected("""
        10.244.135.0/26 via 192.168.51.12 dev tunl0 proto bird onlink
        -> 10.244.135.0/26 via <router> dev <uplink> proto bird
        """)
    assert last(shown) == "3 nodes: 4 routes change, 1 address is given back, nothing is lost"


def test_a_pool_that_may_not_be_announced_is_reached_by_nobody_else(cluster: Cluster) -> None:
    shown = cluster.plan(pool("{disableBGPExport: true}"))
    assert last(shown) == "3 nodes: 6 routes are removed, nothing is lost"


# --- BGP ----------------------------------------------------------------------------------------------------------

NO_MESH = document("BGPConfiguration", "default", "{nodeToNodeMeshEnabled: false}")


def test_without_the_mesh_nothing_is_learned(cluster: Cluster) -> None:
    shown = cluster.plan(NO_MESH)
    assert part(shown, "node1") == expected("""
        node1
          route    - 10.244.104.0/26 via 192.168.50.11 dev <uplink> proto bird
                   it was for pool default-ipv4-ippool, node node2, bgp 192.168.50.11
          route    - 10.244.135.0/26 via <router> dev <uplink> proto bird
                   it was for pool default-ipv4-ippool, node node3, bgp 192.168.51.12
          session  - Mesh_192_168_50_11 with 192.168.50.11 port 179, AS 64512, own AS 64512
          session  - Mesh_192_168_51_12 with 192.168.51.12 port 179, AS 64512, own AS 64512
        """)
    assert last(shown) == "3 nodes: 6 routes are removed, 6 BGP sessions change, nothing is lost"


def test_vxlan_needs_no_bgp(cluster: Cluster) -> None:
    cluster.apply(pool("{vxlanMode: Always}"))
    assert last(cluster.plan(NO_MESH)) == "3 nodes: no route changes, 6 BGP sessions change, nothing is lost"


def test_a_reflector_outside_the_cluster_hands_on_what_it_is_told(cluster: Cluster) -> None:
    reflector = document("BGPPeer", "reflector", "{peerIP: 192.168.50.1, asNumber: 64512}")
    shown = cluster.plan(NO_MESH + reflector)
    assert last(shown) == "3 nodes: no route changes, 9 BGP sessions change, nothing is lost"


def test_a_node_that_is_deleted_takes_all_of_it_along(cluster: Cluster) -> None:
    shown = cluster("plan --delete node node2")
    assert part(shown, "node1") == expected("""
        node1
          route    - 10.244.104.0/26 via 192.168.50.11 dev <uplink> proto bird
                   it was for pool default-ipv4-ippool, node node2, bgp 192.168.50.11
          session  - Mesh_192_168_50_11 with 192.168.50.11 port 179, AS 64512, own AS 64512
        """)
    assert "lost  10.244.104.0 of default/b on node2: its endpoint would be deleted\n" in shown.out


# --- what is no matter of the nodes', and what is wrong -----------------------------------------------------------


def test_a_kind_that_no_route_depends_on_says_so(cluster: Cluster) -> None:
    shown = cluster.plan(document("GlobalNetworkSet", "some", "{nets: [192.0.2.0/24]}"))
    assert str(shown) == expected("""
        GlobalNetworkSet(some) would be created

        3 nodes: no route changes, nothing is lost
        [rc 2]""")


@pytest.mark.parametrize(
    ("words", "text", "why"),
    [
        ("-f -", pool("{ipipMode: Sometimes}"), "ipipMode"),
        ("-f -", pool("{ipipMode: Always, vxlanMode: Always}"), "ipipMode and vxlanMode cannot both be enabled"),
        ("-f -", pool(name="second", cidr="10.244.9.0/24"), "CIDR overlaps with IPPool(default-ipv4-ippool)"),
        ("-f -", "nonsense", "json"),
        ("--delete ippool none", "", "resource does not exist: IPPool(none)"),
        ("ippool default-ipv4-ippool", "", "give --delete"),
        ("-o yaml -f -", pool(), "unrecognized output format 'yaml'"),
    ],
)
def test_what_apply_would_refuse_cannot_be_planned(cluster: Cluster, words: str, text: str, why: str) -> None:
    shown = cluster(f"plan {words}", text)
    assert (shown.out, shown.status) == ("", 1)
    assert why in shown.err


def test_a_document_of_an_old_version_cannot_be_planned(cluster: Cluster) -> None:
    old = cluster("get ippool default-ipv4-ippool -o yaml").out
    cluster.apply(pool("{vxlanMode: Always}"))
    shown = cluster.plan(old)
    assert str(shown) == (
        "[stderr] failed to plan 'IPPool' resource: update conflict: IPPool(default-ipv4-ippool)\n[rc 1]"
    )


@pytest.mark.parametrize("words", ["plan -f -", "plan --delete -f -"])
def test_a_plan_writes_nothing(cluster: Cluster, words: str) -> None:
    before = cluster.everything()
    assert cluster(words, pool("{vxlanMode: Always}")).status == 2
    assert cluster.everything() == before
