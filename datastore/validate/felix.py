"""FelixConfiguration. Source: Calico validator.go (validateFelixConfigSpec), the CRD."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from datastore.addresses import read_address, read_cidr_or_address
from datastore.schema.felix import HealthTimeoutOverride, RouteTableIDRange, RouteTableRange
from datastore.schema.go_text import text_of
from datastore.schema.special import duration_ns
from datastore.validate import Room
from datastore.validate.claims import Claim
from datastore.validate.flaw import Flaw
from datastore.validate.metadata import LONGEST_LABEL, is_label
from datastore.validate.ports import check_port

Spec = Mapping[str, Any]

_MOST_NODE_PORT_RANGES = 7
_LONGEST_REGION = LONGEST_LABEL - len("openstack-region-")
"""Calico makes a namespace of it."""

_HIGHEST_TABLE = 0xFFFFFFFF
_MOST_TABLES = 0xFFFF


def _check_spec(spec: Spec) -> Iterable[Flaw]:
    yield from _check_node_ports(spec.get("kubeNodePortRanges", ()))
    yield from _check_external_nodes(spec.get("externalNodesList", ()))
    yield from _check_region(spec.get("openstackRegion", ""))
    for field, name in _ADDRESSES.items():
        yield from _check_address(name, spec.get(field, ""))
    ranges = spec.get("routeTableRanges", ())
    if sum(each["max"] - each["min"] + 1 for each in ranges) > _MOST_TABLES:
        told = " ".join(text_of(RouteTableIDRange, each) for each in ranges)
        yield Flaw("RouteTableRanges", "targets too many tables", f"&[{told}]")


_ADDRESSES = {
    "natOutgoingAddress": "NATOutgoingAddress",
    "deviceRouteSourceAddress": "DeviceRouteSourceAddress",
    "deviceRouteSourceAddressIPv6": "DeviceRouteSourceAddressIPv6",
}


def _check_node_ports(ranges: list[Any]) -> Iterable[Flaw]:
    if len(ranges) > _MOST_NODE_PORT_RANGES:
        yield Flaw(
            "KubeNodePortRanges", f"node port ranges list is too long (max {_MOST_NODE_PORT_RANGES})", list(ranges)
        )
    for each in ranges:
        if isinstance(each, str) and ":" not in each:
            yield Flaw("KubeNodePortRanges", "node port ranges should not contain named ports", list(ranges))


def _check_external_nodes(cidrs: list[str]) -> Iterable[Flaw]:
    for cidr in cidrs:
        try:
            address, _ = read_cidr_or_address(cidr)
        except ValueError:
            yield Flaw("ExternalNodesCIDRList", "has invalid CIDR(s)", cidr)
            continue
        if address.version != 4:
            yield Flaw("ExternalNodesCIDRList", "has invalid IPv6 CIDR", cidr)


def _check_region(region: str) -> Iterable[Flaw]:
    if len(region) > _LONGEST_REGION:
        yield Flaw("OpenstackRegion", "is too long", region)
    elif region and not is_label(region):
        yield Flaw("OpenstackRegion", "must be a valid DNS label", region)


def _check_address(name: str, value: str) -> Iterable[Flaw]:
    if value and not _is_of(value, 4, 6):
        yield Flaw(name, "is not a valid IP address", value)


def _is_of(value: str, *versions: int) -> bool:
    try:
        return read_address(value).version in versions
    except ValueError:
        return False


def _check_range(tables: Spec) -> Iterable[Flaw]:
    if not 1 <= tables["min"] <= tables["max"] <= 250:
        told = text_of(RouteTableRange, tables)
        yield Flaw("RouteTableRange", "must be a range of route table indices within 1..250", told)


def _check_id_range(tables: Spec) -> Iterable[Flaw]:
    reasons = {
        "min value cannot be greater than max value": tables["min"] > tables["max"],
        "cannot target indices < 1": tables["min"] <= 0,
        "max index too high": tables["max"] > _HIGHEST_TABLE,
    }
    told = text_of(RouteTableIDRange, tables)
    return (Flaw("RouteTableRange", why, told) for why, is_so in reasons.items() if is_so)


_OVERRIDE_NAME = re.compile(r"[a-zA-Z0-9_ -]+")


def _check_override(override: Spec) -> Iterable[Flaw]:
    told = text_of(HealthTimeoutOverride, override)
    if not _OVERRIDE_NAME.fullmatch(override["name"]):
        yield Flaw("HealthTimeoutOverride.Name", "name should match regex ^[a-zA-Z0-9_ -]+$", told)
    if duration_ns(override["timeout"]) < 0:
        yield Flaw("HealthTimeoutOverride.Timeout", "Timeout should not be negative", told)


def _is_address_of(field: str, version: int) -> Claim:
    return Claim(
        lambda spec: not spec.get(field) or _is_of(spec[field], version),
        f"{field} must be a valid IPv{version} address",
    )


def _selects_nodes_only_by_name(document: Spec) -> bool:
    name = document["metadata"].get("name", "")
    return "nodeSelector" not in document["spec"] or not (name == "default" or name.startswith("node."))


ROOM = Room(
    checks={
        "v3.FelixConfigurationSpec": _check_spec,
        "v3.RouteTableRange": _check_range,
        "v3.RouteTableIDRange": _check_id_range,
        "v3.HealthTimeoutOverride": _check_override,
        "numorstring.Port": check_port,
    },
    claims={
        "v3.FelixConfiguration": (
            Claim(
                _selects_nodes_only_by_name,
                "nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration",
            ),
        ),
        "v3.FelixConfigurationSpec": (
            Claim(
                lambda spec: not ("routeTableRange" in spec and "routeTableRanges" in spec),
                "routeTableRange and routeTableRanges cannot both be set",
            ),
            _is_address_of("natOutgoingAddress", 4),
            _is_address_of("deviceRouteSourceAddress", 4),
            _is_address_of("deviceRouteSourceAddressIPv6", 6),
        ),
        "v3.RouteTableRange": (
            Claim(
                lambda tables: 1 <= tables["min"] <= tables["max"] <= 250,
                "must be a range of route table indices within 1..250",
            ),
        ),
        "v3.RouteTableIDRange": (
            Claim(lambda tables: tables["min"] >= 1, "min must be >= 1"),
            Claim(lambda tables: tables["min"] <= tables["max"], "min must not be greater than max"),
        ),
    },
)
