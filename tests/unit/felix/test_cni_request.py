"""What a runtime may ask, and what it is told when it asks wrongly."""

import json
from ipaddress import ip_network
from typing import Any

import pytest

from felix.cni import frame
from felix.cni.request import CniError, Code, Command, Workload, read, read_conf

CONF: dict[str, Any] = {"cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "calico"}
ADD = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/p",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def conf(**changes: Any) -> bytes:
    return json.dumps({**CONF, **changes}).encode()


def refusal(variables: dict[str, str], stdin: bytes) -> tuple[int, str]:
    with pytest.raises(CniError) as caught:
        read(variables, stdin)
    return caught.value.code.value, caught.value.message


def test_an_add_with_kubernetes_arguments_is_for_a_pod() -> None:
    arguments = "IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=shop-0;K8S_POD_INFRA_CONTAINER_ID=c1"
    request = read({**ADD, "CNI_ARGS": arguments}, conf())
    assert request.command is Command.ADD
    assert request.workload == Workload("k8s", "c1", "eth0", "web", "shop-0")


def test_an_add_without_them_is_for_a_container() -> None:
    assert read(ADD, conf()).workload == Workload("cni", "c1", "eth0")


def test_an_address_may_be_asked_for() -> None:
    assert read({**ADD, "CNI_ARGS": "IP=10.0.0.7"}, conf()).address == "10.0.0.7"


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"])
def test_a_missing_variable_is_named(name: str) -> None:
    variables = {key: value for key, value in ADD.items() if key != name}
    assert refusal(variables, conf()) == (4, f"required env variables [{name}] missing")


def test_a_missing_command_is_named() -> None:
    assert refusal({}, conf()) == (4, "required env variables [CNI_COMMAND] missing")


def test_del_does_not_need_a_namespace() -> None:
    variables = {key: value for key, value in ADD.items() if key != "CNI_NETNS"}
    assert read({**variables, "CNI_COMMAND": "DEL"}, conf()).netns == ""


@pytest.mark.parametrize(
    ("stdin", "code", "said"),
    [
        (b"{", 6, "failed to load netconf: Expecting property name"),
        (b"[]", 6, "failed to load netconf: it is not a JSON object"),
        (conf(cniVersion="2.0.0"), 1, "unsupported CNI version 2.0.0"),
        (conf(name=""), 7, "name: a network must have one"),
        (conf(ipam={"type": "host-local"}), 7, "ipam.type: 'host-local' is not supported, only calico-ipam is"),
        (conf(mtu="big"), 7, "mtu: must be 0 (automatic) or a number from 68 to 65535, not 'big'"),
        (conf(mtu=1), 7, "mtu: must be 0 (automatic) or a number from 68 to 65535, not 1"),
        (conf(ipam={"ipv4_pools": "a"}), 7, "ipam.ipv4_pools: must be a list of pool names or CIDRs"),
        (conf(ipam=[1]), 7, "ipam: must be a JSON object"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_field(stdin: bytes, code: int, said: str) -> None:
    refused = refusal(ADD, stdin)
    assert refused[0] == code
    assert refused[1].startswith(said)


@pytest.mark.parametrize("container", ["-leads", "a b", "a/b", "../x", "a\n"])
def test_a_container_id_that_could_be_a_path_is_refused(container: str) -> None:
    assert refusal({**ADD, "CNI_CONTAINERID": container}, conf())[0] == Code.BAD_VARIABLES.value


def test_an_interface_name_that_linux_would_refuse_is_refused() -> None:
    assert refusal({**ADD, "CNI_IFNAME": "a-name-of-16-char"}, conf())[0] == 4


def test_status_and_gc_are_refused_before_the_version_that_has_them() -> None:
    assert refusal({"CNI_COMMAND": "STATUS"}, conf(cniVersion="1.0.0")) == (1, "config version does not allow STATUS")
    assert read({"CNI_COMMAND": "STATUS"}, conf(cniVersion="1.1.0")).command is Command.STATUS


def test_pools_are_named_by_cidr_or_by_name() -> None:
    read_ = read_conf(conf(ipam={"type": "calico-ipam", "ipv4_pools": ["10.1.0.0/16", "blue"]}))
    assert (read_.pools, read_.pool_names) == ((ip_network("10.1.0.0/16"),), ("blue",))


def test_gc_says_which_attachments_are_still_wanted() -> None:
    attachments = [{"containerID": "a", "ifname": "eth0"}]
    request = read(
        {"CNI_COMMAND": "GC", "CNI_PATH": "/p"}, conf(cniVersion="1.1.0", **{"cni.dev/valid-attachments": attachments})
    )
    assert request.conf.valid_attachments == (("a", "eth0"),)


def test_a_frame_comes_back_as_it_was_sent_however_it_is_cut() -> None:
    sent = frame.of(ADD, conf())
    for cut in range(len(sent)):
        assert frame.parse(sent[:cut]) is None
    assert frame.parse(sent) == (ADD, conf())


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"TCN2" + bytes(8), b"TCN1" + b"\xff" * 8, frame.of(ADD, b"{}") + b"x"],
)
def test_what_is_not_a_frame_is_refused(garbage: bytes) -> None:
    with pytest.raises(frame.BadFrame):
        frame.parse(garbage)
