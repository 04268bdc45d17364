"""ipam check finds each sort of thing that can be wrong; ipam release takes back what its report names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calicoctl import ipam_audit, load_balancers
from calicoctl.ipam_audit import Evidence, Use
from datastore.resource import Key, Resource
from datastore.store import Store
from tests.unit.calicoctl.pods import SINCE, add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell

BLOCK = Key("IPAMBlock", "10-244-166-128-26")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    add_pod(shell, "node1", "a", "10.244.166.128")
    add_pod(shell, "node1", "b", "10.244.166.129")
    return shell


def change(shell: Shell, key: Key, to: Callable[[dict[str, Any]], None]) -> None:
    async def work(store: Store) -> None:
        found = await store.get(key)
        spec: dict[str, Any] = json.loads(json.dumps(found.spec))
        to(spec)
        await store.update(replace(found, spec=spec))

    shell.ask(work)


def create(shell: Shell, resource: Resource) -> None:
    shell.ask(lambda store: store.create(resource))


def problems(shell: Shell, flag: str = "--show-problem-ips") -> list[str]:
    """What the check says beyond a check that finds nothing."""
    shown = shell(f"ipam check {flag} -o report.json")
    assert (shown.err, shown.status) == ("", 0)
    assert shown.out.startswith("Checking IPAM for inconsistencies...\n\nLoading all IPAM blocks...\n")
    scanned = shown.out[shown.out.index("Scanning for IPs that are allocated") :]
    return [line for line in scanned.splitlines() if line.startswith("  ") or "complete" in line]


def report() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("report.json").read_text())
    return found


def test_nothing_is_wrong_with_two_pods(shell: Shell) -> None:
    assert problems(shell) == ["Check complete; found 0 problems."]


def test_an_address_without_an_endpoint_is_leaked(shell: Shell) -> None:
    shell("delete wep node1-cni-a-eth0")
    assert problems(shell) == [
        f"  10.244.166.128 leaked; attrs Main:k8s-pod-network.a Extra:node=node1,timestamp={SINCE}",
        "Check complete; found 1 problems.",
    ]


def test_an_endpoint_without_an_address_is_told_with_its_owner(shell: Shell) -> None:
    assert shell("ipam release --ip 10.244.166.128").status == 0
    assert problems(shell) == [
        "  10.244.166.128 in use by Workload(default/node1-cni-a-eth0)"
        " and in active IPAM pool but has no IPAM allocation.",
        "Check complete; found 1 problems.",
    ]


def test_an_endpoint_whose_pool_is_disabled_is_outside(shell: Shell) -> None:
    shell("""patch ippool default-ipv4-ippool -p '{"spec":{"disabled":true}}'""")
    assert shell("ipam release --ip 10.244.166.129").status == 0
    assert problems(shell) == [
        "  10.244.166.129 in use by Workload(default/node1-cni-b-eth0) is not in any active IP pool.",
        "Check complete; found 1 problems.",
    ]


def test_an_address_that_two_use_is_told(shell: Shell) -> None:
    change(
        shell,
        Key("WorkloadEndpoint", "node1-cni-b-eth0", "default"),
        lambda spec: spec.update(ipNetworks=["10.244.166.128/32", "10.244.166.129/32"]),
    )
    assert problems(shell) == ["  10.244.166.128 has multiple owners.", "Check complete; found 0 problems."]


def test_a_handle_that_holds_nothing_is_a_problem_and_one_that_is_missing_is_told(shell: Shell) -> None:
    create(shell, Resource("IPAMHandle", "idle", spec={"handleID": "idle", "block": {}}))
    shell.ask(lambda store: store.delete(Key("IPAMHandle", "k8s-pod-network.a")))
    assert problems(shell, "--show-all-ips") == [
        "  idle doesn't have any active IPs.",
        "  k8s-pod-network.a is in use in a block but doesn't exist.",
        "Check complete; found 1 problems.",
    ]
    assert [each["ID"] for each in report()["leakedHandles"]] == ["idle"]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (lambda spec: spec["unallocated"].append(0), "ordinal 0 is allocated but appears in Unallocated"),
        (lambda spec: spec["unallocated"].append(5), "ordinal 5 appears more than once in Unallocated array"),
        (
            lambda spec: spec["unallocated"].append(64),
            "ordinal 64 appears in the Unallocated array but is out of the block",
        ),
        (
            lambda spec: spec["unallocated"].remove(5),
            "expected 64 addresses in this block, but Unallocated (61) + Allocated (2) = 63",
        ),
        (
            lambda spec: spec["attributes"].append({"handle_id": "x", "secondary": {}}),
            "attribute index 2 exists but is not indexed by an allocation",
        ),
    ],
)
def test_a_block_that_contradicts_itself_is_told(shell: Shell, to: Callable[[Any], None], why: str) -> None:
    change(shell, BLOCK, to)
    assert problems(shell) == [
        f"  IPAMBlock BlockKey(cidr=10.244.166.128/26) is invalid: {why}",
        "Check complete; found 1 problems.",
    ]


def test_a_block_that_cannot_be_read_does_not_stop_the_check(shell: Shell) -> None:
    create(shell, Resource("IPAMBlock", "broken", spec={"cidr": "nonsense"}))
    (invalid, found) = problems(shell)
    assert invalid.startswith("  IPAMBlock broken is invalid: ") and "cidr" in invalid
    assert found == "Check complete; found 1 problems."


def test_tunnel_addresses_of_a_node_are_in_use(shell: Shell) -> None:
    shell("delete wep node1-cni-a-eth0")
    shell("""patch node node1 -p '{"spec":{"bgp":{"ipv4IPIPTunnelAddr":"10.244.166.128"}}}'""")
    assert problems(shell) == ["Check complete; found 0 problems."]
    assert "  10.244.166.128 belongs to Node(node1)\n" in shell("ipam check --show-all-ips").out


LOAD_BALANCER = Resource(
    "KubeControllersConfiguration", "default", spec={"controllers": {"loadBalancer": {"assignIPs": "AllServices"}}}
)


def test_where_services_have_addresses_kubernetes_must_be_asked_for_them(shell: Shell) -> None:
    create(shell, LOAD_BALANCER)
    shown = shell("ipam check")
    assert (shown.err, shown.status) == ("KUBECONFIG environment variable or --kubeconfig parameter not set\n", 1)


def test_an_address_that_only_a_service_uses_is_not_leaked(shell: Shell) -> None:
    shell("delete wep node1-cni-a-eth0")
    create(shell, LOAD_BALANCER)
    spec = {"type": "LoadBalancer", "status": {"loadBalancer": {"ingress": [{"ip": "10.244.166.128"}]}}}
    service = Resource("Service", "web", "shop", spec=spec)

    async def read(store: Store) -> Evidence:
        async def services() -> list[Resource]:
            return [service, replace(service, spec={**spec, "loadBalancerClass": "metallb"})]

        return await ipam_audit.read(store, services)

    evidence = shell.ask(read)
    findings = ipam_audit.audit(evidence, now=ipam_audit.now_of(shell.now_ns))
    assert evidence.load_balancers == [service]
    assert (findings.leaked, findings.services) == ([], [Use("10.244.166.128", "web")])


@pytest.mark.parametrize(
    ("spec", "annotations", "assign_ips", "is_served"),
    [
        ({"type": "ClusterIP"}, {}, "AllServices", False),
        ({"type": "LoadBalancer"}, {}, "", True),
        ({"type": "LoadBalancer", "loadBalancerClass": "metallb"}, {}, "AllServices", False),
        ({"type": "LoadBalancer"}, {}, "RequestedServicesOnly", False),
        ({"type": "LoadBalancer", "loadBalancerClass": "calico"}, {}, "RequestedServicesOnly", True),
        ({"type": "LoadBalancer"}, {"projectcalico.org/ipv4pools": '["p"]'}, "RequestedServicesOnly", True),
        ({"type": "LoadBalancer", "loadBalancerIP": "1.2.3.4"}, {}, "RequestedServicesOnly", True),
    ],
)
def test_a_service_has_an_address_of_ours_where_calicos_controller_serves_it(
    spec: dict[str, Any], annotations: dict[str, str], assign_ips: str, is_served: bool
) -> None:
    service = Resource("Service", "web", "shop", spec=spec, annotations=annotations)
    assert load_balancers.served([service], assign_ips) == ([service] if is_served else [])


def test_an_address_that_rests_after_its_release_is_not_leaked(shell: Shell) -> None:
    assert shell("ipam configure --ip-cooldown-seconds 60").status == 0
    shell("delete wep node1-cni-a-eth0")
    assert shell("ipam release --ip 10.244.166.128").status == 0
    assert problems(shell) == ["Check complete; found 0 problems."]
    assert report()["allocations"]["10.244.166.128"][0]["coolingDown"] is True
    shown = shell("ipam show --ip 10.244.166.128")
    assert (shown.err, shown.status) == ("address 10.244.166.128 is in cooldown\n", 1)


def test_a_borrowed_address_is_shown_and_reported(shell: Shell) -> None:
    add_pod(shell, "node2", "c", "10.244.166.140")
    assert shell("ipam show --show-borrowed").out.splitlines()[3] == (
        "| 10.244.166.140 | node2          | 10.244.166.128/26 | node1       |      |              |"
    )
    assert problems(shell) == ["Check complete; found 0 problems."]
    (borrowed,) = report()["allocations"]["10.244.166.140"]
    assert borrowed.pop("sequenceNumber") > 0
    assert borrowed == (
        {
            "ip": "10.244.166.140",
            "handle": "k8s-pod-network.c",
            "node": "node2",
            "creationTimestamp": SINCE,
            "inUse": True,
            "borrowed": True,
            "owners": ["Workload(default/node2-cni-c-eth0)"],
        }
    )


def test_where_no_cluster_was_ever_made_the_check_says_so() -> None:
    shown = Shell()("ipam check")
    assert shown.err == "resource does not exist: ClusterInformation(default) with error: <nil>\n"
    assert shown.status == 1


# --- releasing ----------------------------------------------------------------------------------------------------


def leak(shell: Shell) -> None:
    """One address and one handle that nobody uses, and a report of them with the datastore locked."""
    shell("delete wep node1-cni-a-eth0")
    create(shell, Resource("IPAMHandle", "idle", spec={"handleID": "idle", "block": {}}))
    shell("datastore migrate lock")
    problems(shell)


def test_what_a_report_calls_idle_is_released(shell: Shell) -> None:
    leak(shell)
    assert str(shell("ipam release --from-report report.json")) == (
        "Releasing 1 old IPs...\nReleased 1 IPs successfully\n"
        "Deleting 1 handles...\nKey: '.' = Deleted OK; 'x' = skip, handle missing/changed.\n.\n"
        "Released 1 handles; 0 skipped; 0 errors.\nYou may now unlock the data store.\n[rc 0]"
    )
    assert problems(shell) == ["Check complete; found 0 problems."]


def test_an_address_that_was_given_out_again_stays_with_its_new_holder(shell: Shell) -> None:
    leak(shell)
    shell("ipam release --ip 10.244.166.128")
    add_pod(shell, "node1", "new", "10.244.166.128")
    shown = shell("ipam release --from-report report.json")
    assert "An error occurred while releasing some IPs: update conflict: 10.244.166.128." in shown.out
    assert "Handle ID: k8s-pod-network.new\n" in shell("ipam show --ip 10.244.166.128").out


def test_a_handle_that_changed_meanwhile_is_skipped(shell: Shell) -> None:
    leak(shell)
    change(shell, Key("IPAMHandle", "idle"), lambda spec: spec.update(block={"10.244.166.128/26": 1}))
    shown = shell("ipam release --from-report report.json")
    assert "\nx\nReleased 0 handles; 1 skipped; 0 errors.\n" in shown.out


def test_of_two_reports_only_what_both_call_idle_is_released(shell: Shell) -> None:
    shell("delete wep node1-cni-a-eth0")
    shell("datastore migrate lock")
    problems(shell)
    Path("report.json").rename("first.json")
    shell("delete wep node1-cni-b-eth0")
    problems(shell)
    shown = shell("ipam release --from-report first.json --from-report report.json")
    assert "Releasing 1 old IPs...\nReleased 1 IPs successfully\n" in shown.out
    assert shell("ipam show --ip 10.244.166.129").out.startswith("IP 10.244.166.129 is in use")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        (
            "clusterGUID",
            "another",
            "cluster does not match the provided report (report.json): mismatched cluster GUID. Refusing to release",
        ),
        (
            "version",
            "v9",
            "the provided report (report.json) was produced using a different version (v9) of calicoctl."
            " Refusing to release",
        ),
        (
            "clusterInformationRevision",
            "1",
            "the provided reports are all stale - at least one should be up-to-date. Please generate a new report while"
            " the data store is locked and try again",
        ),
        ("allocations", None, "report.json is no report of ipam check: 'NoneType' object has no attribute 'values'"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(shell: Shell, field: str, value: object, complaint: str) -> None:
    leak(shell)
    Path("report.json").write_text(json.dumps({**report(), field: value}))
    shown = shell("ipam release --from-report report.json")
    assert (shown.out, shown.err, shown.status) == ("", f"{complaint}\n", 1)
    assert shell("ipam show --ip 10.244.166.128").out.startswith("IP 10.244.166.128 is in use")


def test_force_releases_without_the_lock_and_says_so(shell: Shell) -> None:
    shell("delete wep node1-cni-a-eth0")
    problems(shell)
    assert shell("ipam release --from-report report.json").err == (
        "data store is not locked. Either lock the data store, or re-run with --force\n"
    )
    shown = shell("ipam release --force --from-report report.json")
    assert shown.out.startswith(
        "WARNING: Data store is not locked. Ignoring due to --force option\nReleasing 1 old IPs...\n"
    )
    assert "is not assigned" in shell("ipam show --ip 10.244.166.128").out


def test_a_report_that_is_not_there_is_named(shell: Shell) -> None:
    assert shell("ipam release --from-report none.json").err == "open none.json: no such file or directory\n"


# --- settings -----------------------------------------------------------------------------------------------------


def settings(shell: Shell) -> dict[str, Any]:
    found = shell.ask(lambda store: store.get(Key("IPAMConfiguration", "default")))
    return dict(found.spec)


def test_only_what_is_asked_for_is_set_beside_what_upstream_always_writes(shell: Shell) -> None:
    assert shell("ipam configure --strictaffinity=true --max-blocks-per-host=4").status == 0
    assert shell("ipam configure --ip-cooldown-seconds=30").status == 0
    assert settings(shell) == {
        "strictAffinity": True,
        "autoAllocateBlocks": True,
        "kubeVirtVMAddressPersistence": "Enabled",
        "maxBlocksPerHost": 4,
        "ipCooldownSeconds": 30,
    }


def test_a_limit_of_blocks_without_strict_affinity_is_refused_and_nothing_changes(shell: Shell) -> None:
    shell("ipam configure --strictaffinity=true")
    shown = shell("ipam configure --strictaffinity=false --max-blocks-per-host=4")
    assert shown.err == "error: MaxBlocksPerHost requires StrictAffinity to be enabled\n"
    assert settings(shell)["strictAffinity"] is True
