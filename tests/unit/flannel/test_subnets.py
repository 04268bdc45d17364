"""The range that a configuration leaves, and the choice of a free subnet."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from flannel import netconf, subnets
from flannel.go_json import BadDocument
from flannel.subnets import OutOfSubnets, Range

V6 = '"EnableIPv4": false, "EnableIPv6": true, "IPv6Network"'


def shown(document: str) -> str:
    ranges = subnets.check(netconf.read(f"{{{document}}}"))
    return "; ".join(f"/{one.length} {one}" for one in (ranges.v4, ranges.v6) if one is not None)


def v4(document: str) -> Range[IPv4Network]:
    found = subnets.check(netconf.read(f"{{{document}}}")).v4
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("document", "range_"),
    [
        ('"Network": "10.3.0.0/16"', "/24 10.3.1.0 ... 10.3.255.0"),
        ('"Network": "10.0.0.0/24"', "/26 10.0.0.64 ... 10.0.0.192"),
        ('"Network": "10.0.0.0/28"', "/30 10.0.0.4 ... 10.0.0.12"),
        ('"Network": "10.0.0.0/22"', "/24 10.0.1.0 ... 10.0.3.0"),
        ('"Network": "10.0.0.0/23"', "/25 10.0.0.128 ... 10.0.1.128"),
        ('"Network": "10.3.0.0/16", "SubnetLen": 28, "SubnetMin": "10.3.5.0"', "/28 10.3.5.0 ... 10.3.255.240"),
        (f'{V6}: "fc00::/48"', "/64 fc00:0:0:1:: ... fc00:0:0:ffff::"),
        ('"Network": "10.3.0.0/16", "EnableIPv6": true, "IPv6Network": "fc00::/64"',
         "/24 10.3.1.0 ... 10.3.255.0; /66 fc00::4000:0:0:0 ... fc00::c000:0:0:0"),
    ],
)  # fmt: skip
def test_a_network_is_cut_without_its_first_subnet_and_with_its_last(document: str, range_: str) -> None:
    assert shown(document) == range_


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("", "Network: please define a correct Network parameter"),
        (f'{V6}: "fc00::/125"', "IPv6Network: network is too small. Minimum useful network prefix is /124"),
        ('"EnableIPv4": false, "EnableIPv6": true', "IPv6Network: please define a correct IPv6Network"),
        ('"Network": "10.0.0.0/29"', "Network: network is too small. Minimum useful network prefix is /28"),
        ('"Network": "10.0.0.0/16", "SubnetLen": 31', "SubnetLen: SubnetLen must be less than /31"),
        ('"Network": "10.0.0.0/16", "SubnetLen": 17', "SubnetLen: /17 in 10.0.0.0/16: network must be able"),
        ('"Network": "10.3.0.0/16", "SubnetMin": "10.4.0.0"', "SubnetMin: 10.4.0.0: SubnetMin and SubnetMax must be"),
        ('"Network": "10.3.0.0/16", "SubnetMax": "10.3.7.9"', "SubnetMax: is not on a SubnetLen boundary: 10.3.7.9"),
        ('"Network": "10.3.0.0/16", "SubnetMin": "10.3.9.0", "SubnetMax": "10.3.8.0"',
         "SubnetMin: 10.3.9.0 is behind SubnetMax, 10.3.8.0"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_cut_is_refused_with_the_fields_name(document: str, why: str) -> None:
    with pytest.raises(BadDocument) as caught:
        shown(document)
    assert str(caught.value).startswith(why)


def test_the_first_hundred_that_overlap_no_lease_are_the_candidates() -> None:
    taken = [IPv4Network(text) for text in ("10.3.1.0/24", "10.3.4.128/25", "10.3.8.0/22")]
    found = v4('"Network": "10.3.0.0/16"').free(taken)
    assert len(found) == subnets.MOST_CANDIDATES
    assert [str(one) for one in found[:7]] == [f"10.3.{n}.0/24" for n in (2, 3, 5, 6, 7, 12, 13)]


def test_leases_of_smaller_larger_and_nested_subnets_are_never_overlapped() -> None:
    texts = ("10.3.0.0/17", "10.3.16.0/24", "10.3.200.4/30", "10.3.200.0/24", "9.0.0.0/8")
    taken = [IPv4Network(text) for text in texts]
    found = v4('"Network": "10.3.0.0/16"').free(taken, most=1000)
    assert not any(one.overlaps(other) for one in found for other in taken)
    assert len(found) == 127
    assert str(found[-1]) == "10.3.255.0/24"


def test_when_all_are_leased_it_says_how_they_come_back() -> None:
    with pytest.raises(OutOfSubnets, match=r"out of subnets: all of 10\.0\.0\.4 \.\.\. 10\.0\.0\.12"):
        subnets.pick(v4('"Network": "10.0.0.0/28"'), [IPv4Network("10.0.0.0/28")], lambda found: found[0])


def test_a_subnet_of_another_length_or_outside_of_the_edges_is_not_of_the_range() -> None:
    range_ = v4('"Network": "10.3.0.0/16", "SubnetMax": "10.3.9.0"')
    texts = ("10.3.9.0/24", "10.3.0.0/24", "10.3.10.0/24", "10.3.4.0/25")
    assert [range_.has(IPv4Network(text)) for text in texts] == [True, False, False, False]
