"""net-conf.json: the documents' example, Go's rules, and errors that name the field."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from flannel import netconf, subnets
from flannel.go_json import BadDocument

THE_DOCUMENTS = """{
"Network": "10.0.0.0/8",
"SubnetLen": 20,
"SubnetMin": "10.10.0.0",
"SubnetMax": "10.99.0.0",
"Backend": {
"Type": "udp",
"Port": 7890
}
}"""


def test_the_documents_example_is_read_whole() -> None:
    config = netconf.read(THE_DOCUMENTS)
    assert config.network == ip_network("10.0.0.0/8")
    assert (config.backend, config.options.count("Port", 8285)) == ("udp", 7890)
    range_ = subnets.check(config).v4
    assert range_ is not None
    assert (str(range_), range_.length) == ("10.10.0.0 ... 10.99.0.0", 20)


def test_a_document_without_a_backend_means_udp() -> None:
    assert netconf.read('{"Network": "10.3.0.0/16"}').backend == "udp"


@pytest.mark.parametrize("text", ['{"Network": "10.3.0.0/16", "Backend": {}}', '{"Backend": null}'])
def test_a_backend_without_a_type_has_none(text: str) -> None:
    assert netconf.read(text).backend == ""


def test_names_of_fields_and_the_type_match_in_any_case_and_the_last_of_several_counts() -> None:
    text = '{"network": "10.3.0.0/16", "NETWORK": "10.4.0.0/16", "backend": {"type": "VXLAN", "vni": 7}}'
    config = netconf.read(text)
    assert (str(config.network), config.backend, config.options.count("VNI", 1)) == ("10.4.0.0/16", "vxlan", 7)


def test_unknown_fields_are_passed_over_and_null_leaves_numbers_and_flags_as_they_are() -> None:
    config = netconf.read('{"Network": "10.3.1.5/16", "SubnetLen": null, "EnableNFTables": null, "Colour": [1]}')
    assert (str(config.network), config.cut.length, config.uses_nftables) == ("10.3.0.0/16", None, False)


def test_a_family_that_is_off_has_no_network() -> None:
    both = '"Network": "10.3.0.0/16", "IPv6Network": "fc00::/48"'
    assert netconf.read(f"{{{both}}}").networks == (ip_network("10.3.0.0/16"),)
    only_v6 = netconf.read(f'{{"EnableIPv4": false, "enableIPv6": true, {both}}}')
    assert only_v6.networks == (ip_network("fc00::/48"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"Network": "10.3.0.0/16", "SubnetLen": "24"}', 'SubnetLen: a whole number is expected, not a text ("24")'),
        ('{"Network": "10.3.0.0/16", "SubnetLen": 24.0}', "SubnetLen: a whole number is expected, not a number (24.0)"),
        ('{"Network": "10.3.0.0/16", "SubnetLen": true}', "SubnetLen: a whole number"),
        ('{"Network": "10.3.0.0/16", "SubnetLen": -1}', "SubnetLen: -1 is not between 0 and"),
        ('{"Network": "10.3.0.0"}', "Network: '10.3.0.0' is not an IPv4 network; it is written as 10.244.0.0/16"),
        ('{"Network": "10.3.0.0/255.255.0.0"}', "Network: '10.3.0.0/255.255.0.0' is not an IPv4 network"),
        ('{"Network": "fc00::/48"}', "Network: 'fc00::/48' is not an IPv4 network"),
        ('{"Network": null}', "Network: an IPv4 network such as 10.244.0.0/16 is expected, not null"),
        ('{"Network": "10.3.0.0/16", "SubnetMin": "10.3.1.0/24"}', "SubnetMin: '10.3.1.0/24' is not an IPv4 address"),
        ('{"Network": "10.3.0.0/16", "EnableIPv6": "true"}', "EnableIPv6: true or false is expected"),
        ('{"Network": "10.3.0.0/16", "Backend": "vxlan"}', 'Backend: an object is expected, not a text ("vxlan")'),
        ('{"Network": "10.3.0.0/16", "Backend": {"Type": 5}}', "Backend.Type: a text is expected, not a number (5)"),
        ('{"EnableIPv4": false}', "EnableIPv4: none defined stack"),
        ('{"Network": "10.3.0.0/16",}', "is not JSON"),
        ("[]", "an object is expected, not a list"),
        ("{} // a comment", "is not JSON"),
    ],
)
def test_an_error_names_the_field(text: str, why: str) -> None:
    with pytest.raises(BadDocument) as caught:
        netconf.read(text)
    assert str(caught.value).startswith(why)


def test_an_option_that_is_wrong_is_named_with_its_place() -> None:
    config = netconf.read('{"Network": "10.3.0.0/16", "Backend": {"Type": "vxlan", "Port": "8472"}}')
    with pytest.raises(BadDocument, match=r"^Backend\.Port: a whole number"):
        config.options.count("Port", 0)


def test_all_zeros_for_an_edge_says_nothing() -> None:
    config = netconf.read('{"Network": "10.3.0.0/16", "SubnetMin": "0.0.0.0", "SubnetMax": "10.3.9.0"}')
    assert (config.cut.first, config.cut.last) == (None, ip_address("10.3.9.0"))
