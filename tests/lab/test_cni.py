"""The CNI plugin through its real protocol, on the real kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab import inside, probe, runtime
from lab.node import write_file
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

CONF = {"cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "calico", "ipam": {"type": "calico-ipam"}}


def conf(**changes: Any) -> str:
    return json.dumps({**CONF, **changes})


@pytest.fixture
def netns(shared_lab: Testbed) -> Any:
    """The path of an empty pod namespace on node1."""
    shared_lab.run("node1", "ip", "netns", "add", "byhand")
    yield "/run/netns/byhand"
    call(shared_lab, "DEL", "", container="byhand1")
    shared_lab.run("node1", "ip", "netns", "del", "byhand", may_fail=True)


def call(
    lab: Testbed, command: str, netns: str, *, container: str = "byhand1", stdin: str = "", args: str = ""
) -> tuple[int, str]:
    return lab.plugin(
        "node1",
        stdin or conf(),
        COMMAND=command,
        CONTAINERID=container,
        NETNS=netns,
        IFNAME="eth0",
        PATH="/opt/cni/bin",
        ARGS=args,
    )


def error(lab: Testbed, command: str, netns: str, **how: str) -> tuple[int, str]:
    status, output = call(lab, command, netns, **how)
    assert status == 1
    said = json.loads(output)
    return said["code"], said["msg"]


def test_a_pod_has_what_calico_gives_it(shared_lab: Testbed) -> None:
    with shared_lab.pods(("node1", "as-calico")) as (address,):
        device = _device(shared_lab, address)
        assert f"{address} dev {device} scope link\n" in shared_lab.routes("node1")
        link = shared_lab.run("node1", "ip", "-d", "link", "show", "dev", device)
        assert "link/ether ee:ee:ee:ee:ee:ee" in link
        assert "mtu 1500" in link
        assert shared_lab.run("node1", "ip", "route", pod="as-calico").split("\n")[:2] == [
            "default via 169.254.1.1 dev eth0 ",
            "169.254.1.1 dev eth0 scope link ",
        ]
        assert f"inet {address}/32 scope global eth0" in shared_lab.run("node1", "ip", "address", pod="as-calico")
        for path, value in (
            (f"net/ipv4/conf/{device}/proxy_arp", "1"),
            (f"net/ipv4/conf/{device}/forwarding", "1"),
            (f"net/ipv4/conf/{device}/route_localnet", "1"),
            (f"net/ipv4/neigh/{device}/proxy_delay", "0"),
            (f"net/ipv6/conf/{device}/accept_ra", "0"),
            ("net/ipv4/ip_forward", "1"),
        ):
            assert shared_lab.run("node1", "cat", f"/proc/sys/{path}").strip() == value, path
        assert shared_lab.ping("node1", "as-calico", "192.168.50.10") == 1


def _device(lab: Testbed, address: str) -> str:
    (line,) = [line for line in lab.routes("node1").splitlines() if line.startswith(f"{address} ")]
    return line.split()[2]


def test_the_result_is_calicos(shared_lab: Testbed, netns: str) -> None:
    status, output = call(shared_lab, "ADD", netns)
    assert status == 0
    result = json.loads(output)
    (ip,) = result["ips"]
    assert result["cniVersion"] == "0.3.1"
    assert (ip["version"], ip["interface"]) == ("4", 1)
    assert result["interfaces"][0] == {"name": "calibyhand1"}
    assert result["interfaces"][1]["sandbox"] == netns
    assert result["routes"] == [{"dst": ip["address"].replace("/32", "/26")}]


def test_add_twice_is_add_once(shared_lab: Testbed, netns: str) -> None:
    first, second = call(shared_lab, "ADD", netns), call(shared_lab, "ADD", netns)
    assert first == second
    assert shared_lab.routes("node1").count("calibyhand1") == 1


def test_check_finds_what_was_taken_away(shared_lab: Testbed, netns: str) -> None:
    checking = conf(cniVersion="0.4.0")
    call(shared_lab, "ADD", netns, stdin=checking)
    assert call(shared_lab, "CHECK", netns, stdin=checking) == (0, "OK\n")
    shared_lab.run("node1", "ip", "-n", "byhand", "route", "del", "default")
    assert error(shared_lab, "CHECK", netns, stdin=checking) == (999, "byhand1: no default route through eth0")
    assert call(shared_lab, "ADD", netns, stdin=checking)[0] == 0
    assert call(shared_lab, "CHECK", netns, stdin=checking)[0] == 0


def test_del_twice_and_del_of_an_unknown_container_succeed(shared_lab: Testbed, netns: str) -> None:
    call(shared_lab, "ADD", netns)
    for _ in range(2):
        assert call(shared_lab, "DEL", netns) == (0, "")
        assert "calibyhand1" not in shared_lab.run("node1", "ip", "link")
        assert "calibyhand1" not in shared_lab.routes("node1")
    assert call(shared_lab, "DEL", "", container="nobody") == (0, "")


def test_del_of_a_pod_whose_namespace_is_gone_succeeds(shared_lab: Testbed, netns: str) -> None:
    call(shared_lab, "ADD", netns)
    shared_lab.run("node1", "ip", "netns", "del", "byhand")
    assert call(shared_lab, "DEL", netns) == (0, "")


def test_a_namespace_that_is_gone_is_said(shared_lab: Testbed) -> None:
    code, message = error(shared_lab, "ADD", "/run/netns/gone", container="gone1")
    assert (code, message) == (3, "the network namespace /run/netns/gone does not exist")


def test_what_is_not_a_namespace_is_refused_and_nothing_leaks(shared_lab: Testbed) -> None:
    code, message = error(shared_lab, "ADD", "/etc/passwd", container="passwd1")
    assert code == 999
    assert message.startswith("the pod's network namespace cannot be entered")
    assert "calipasswd1" not in shared_lab.run("node1", "ip", "link")


def test_bad_json_and_missing_variables_are_said(shared_lab: Testbed, netns: str) -> None:
    assert error(shared_lab, "ADD", netns, stdin="{")[0] == 6
    status, output = shared_lab.plugin("node1", conf(), COMMAND="ADD", NETNS=netns, IFNAME="eth0", PATH="/opt/cni/bin")
    assert (status, json.loads(output)) == (
        1,
        {"code": 4, "msg": "required env variables [CNI_CONTAINERID] missing"},
    )


def test_version_is_answered(shared_lab: Testbed) -> None:
    status, output = shared_lab.plugin("node1", '{"cniVersion":"1.0.0"}', COMMAND="VERSION")
    assert status == 0
    assert "1.1.0" in json.loads(output)["supportedVersions"]


def test_status_is_ready(shared_lab: Testbed) -> None:
    assert shared_lab.plugin("node1", conf(cniVersion="1.1.0"), COMMAND="STATUS", PATH="/opt/cni/bin") == (0, "")


def test_gc_keeps_what_the_runtime_names(shared_lab: Testbed, netns: str) -> None:
    call(shared_lab, "ADD", netns)
    kept = [{"containerID": pod.container, "ifname": "eth0"} for pod in _lab_pods(shared_lab)]
    stdin = conf(
        cniVersion="1.1.0", **{"cni.dev/valid-attachments": [*kept, {"containerID": "byhand1", "ifname": "eth0"}]}
    )
    assert shared_lab.plugin("node1", stdin, COMMAND="GC", PATH="/opt/cni/bin") == (0, "")
    assert "calibyhand1" in shared_lab.routes("node1")
    stdin = conf(cniVersion="1.1.0", **{"cni.dev/valid-attachments": kept})
    assert shared_lab.plugin("node1", stdin, COMMAND="GC", PATH="/opt/cni/bin") == (0, "")
    assert "calibyhand1" not in shared_lab.routes("node1")


def _lab_pods(lab: Testbed) -> Any:
    return runtime.pods(lab.lab, lab.node("node1"))


def test_the_mtu_of_the_configuration_is_the_pods(shared_lab: Testbed, netns: str) -> None:
    assert call(shared_lab, "ADD", netns, stdin=conf(mtu=1440))[0] == 0
    assert "mtu 1440" in shared_lab.run("node1", "ip", "-n", "byhand", "link", "show", "eth0")
    assert "mtu 1440" in shared_lab.run("node1", "ip", "link", "show", "calibyhand1")


def test_an_address_can_be_asked_for(shared_lab: Testbed, netns: str) -> None:
    status, output = call(shared_lab, "ADD", netns, args="IP=10.244.166.190")
    assert status == 0
    assert json.loads(output)["ips"][0]["address"] == "10.244.166.190/32"


def test_a_plugin_behind_a_socket_of_felix_only_is_for_root(shared_lab: Testbed) -> None:
    assert shared_lab.run("node1", "stat", "-c", "%a %U", "/var/run/calico/cni.sock").strip() == "600 root"


CHAINED = (
    {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
)
CAPABILITIES = {
    "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 0, "egressBurst": 0},
}


@pytest.mark.server
@pytest.mark.parametrize("plugin", CHAINED, ids=lambda plugin: plugin["type"])
def test_a_plugin_chained_behind_ours_does_its_part(own_lab: Testbed, plugin: dict[str, Any]) -> None:
    if not Path("/usr/lib/cni", plugin["type"]).exists():
        pytest.skip(f"{plugin['type']} of containernetworking-plugins is not installed")
    conflist = runtime.default_conflist()
    chain = {**conflist, "cniVersion": "0.4.0", "plugins": [*conflist["plugins"], plugin]}
    write_file(own_lab.node("node1").holder, str(runtime.CONFLIST), json.dumps(chain))
    own_lab.add_pod("node1", "web", capabilities=CAPABILITIES)
    if plugin["type"] == "portmap":
        page = own_lab.start("node1", lambda ready: probe.serve_page("through the node", ready), pod="web")
        assert inside.call(own_lab.node("node2").holder, lambda: probe.fetch_page("192.168.50.10", 8080)) == (
            "through the node"
        )
        page.stop()
    else:
        device = _device(own_lab, own_lab.address("node1", "web"))
        assert "qdisc tbf" in own_lab.run("node1", "tc", "qdisc", "show", "dev", device)
    own_lab.del_pod("node1", "web")
    assert "10.244.166.128 dev" not in own_lab.routes("node1")


def test_fifty_pods_at_once_get_fifty_addresses(own_lab: Testbed) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(50):
        own_lab.run("node1", "ip", "netns", "add", f"burst{number}")

    def add(number: int) -> str:
        status, output = call(own_lab, "ADD", f"/run/netns/burst{number}", container=f"burst{number}x")
        assert status == 0, output
        return str(json.loads(output)["ips"][0]["address"])

    with ThreadPoolExecutor(max_workers=50) as threads:
        addresses = list(threads.map(add, range(50)))
    assert len(set(addresses)) == 50
    assert own_lab.routes("node1").count("scope link") >= 50
