"""What the plugin prints, in each version's shape."""

import json
from ipaddress import ip_address

from felix.cni import result
from felix.cni.request import CniError, Code
from felix.cni.result import Interface, PodAddress

MADE = Interface(
    host_device="calic440f455693",
    name="eth0",
    mac="42:88:32:71:00:1a",
    netns="/run/netns/p",
    addresses=(PodAddress(ip_address("10.244.195.129"), 26),),
    mtu_bytes=1450,
)


def test_version_0_3_1_tells_each_addresss_family() -> None:
    assert json.loads(result.of(MADE, "0.3.1")) == {
        "cniVersion": "0.3.1",
        "interfaces": [
            {"name": "calic440f455693"},
            {"mac": "42:88:32:71:00:1a", "name": "eth0", "sandbox": "/run/netns/p"},
        ],
        "ips": [{"version": "4", "interface": 1, "address": "10.244.195.129/32"}],
        "routes": [{"dst": "10.244.195.129/26"}],
        "dns": {},
    }


def test_version_1_0_0_does_not() -> None:
    assert json.loads(result.of(MADE, "1.0.0"))["ips"] == [{"interface": 1, "address": "10.244.195.129/32"}]


def test_version_1_1_0_tells_the_mtu() -> None:
    assert json.loads(result.of(MADE, "1.1.0"))["interfaces"][1]["mtu"] == 1450


def test_version_0_2_0_knows_only_one_address_a_family() -> None:
    assert json.loads(result.of(MADE, "0.2.0")) == {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.244.195.129/32"},
        "dns": {},
    }


def test_an_error_is_a_code_and_a_message() -> None:
    error = CniError(Code.TRY_AGAIN_LATER, "the datastore is away")
    assert result.of_error(error) == b'{\n    "code": 11,\n    "msg": "the datastore is away"\n}'
