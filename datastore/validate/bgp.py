"""BGPConfiguration, BGPPeer and BGPFilter.

Source: Calico validator.go (validateBGPConfigurationSpec, validateBGPPeerSpec), the CRDs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from datastore.addresses import read_address
from datastore.validate import Room
from datastore.validate.checks import QUESTIONS, peer_address
from datastore.validate.claims import Claim
from datastore.validate.flaw import Flaw

Spec = Mapping[str, Any]

_PARTS = {2: 16, 3: 32}
"""``aa:nn`` is a standard community of 16-bit parts, ``aa:nn:mm`` a large one of 32-bit parts."""

_COMMUNITY = re.compile(r"\d+(:\d+){1,2}", re.ASCII)


def _check_configuration(spec: Spec) -> Iterable[Flaw]:
    named = spec.get("communities", ())
    for community in named:
        value = community.get("value", "")
        yield from _check_community(value, "Spec.Communities[].Value", "invalid community value or format used.")
    names = {community.get("name") for community in named}
    for advertisement in spec.get("prefixAdvertisements", ()):
        yield from _check_advertisement(advertisement, names)


def _check_advertisement(advertisement: Spec, names: set[str]) -> Iterable[Flaw]:
    cidr = advertisement.get("cidr", "")
    if not QUESTIONS["cidr"](cidr, ""):
        yield Flaw("Spec.PrefixAdvertisement[].CIDR", "invalid CIDR value.", cidr)
    for value in advertisement.get("communities", ()):
        why = "" if value in names else "community used is invalid or not defined."
        yield from _check_community(value, "Spec.PrefixAdvertisement[].Communities[]", why)


def _check_community(value: str, field: str, otherwise: str) -> Iterable[Flaw]:
    if not _COMMUNITY.fullmatch(value):
        if otherwise:
            yield Flaw(field, otherwise, value)
        return
    parts = value.split(":")
    bits = _PARTS[len(parts)]
    for part in parts:
        if int(part) >= 1 << bits:
            yield Flaw(field, f"invalid community value, expected {bits} bit value", value)


def _check_peer(spec: Spec) -> Iterable[Flaw]:
    gateway, peer = spec.get("reachableBy", ""), spec.get("peerIP", "")
    try:
        versions = {read_address(gateway).version, read_address(peer_address(peer)).version}
    except ValueError:
        return
    if len(versions) > 1:
        yield Flaw("ReachableBy", "ReachableBy and PeerIP address family mismatched", gateway)


def _not_both(one: str, other: str, otherwise: str = "") -> Claim:
    return Claim(
        lambda spec: not (spec.get(one) and spec.get(other)), otherwise or f"{one} and {other} cannot both be set"
    )


def _empty_when(one: str, other: str) -> Claim:
    return _not_both(one, other, f"{one} must be empty when {other} is set")


def _only_with_mesh(field: str) -> Claim:
    return Claim(
        lambda spec: field not in spec or spec.get("nodeToNodeMeshEnabled", True),
        f"{field} cannot be set when nodeToNodeMeshEnabled is false",
    )


_CONFIGURATION = (
    _only_with_mesh("nodeMeshPassword"),
    _only_with_mesh("nodeMeshMaxRestartTime"),
    Claim(
        lambda spec: not spec.get("communities") or bool(spec.get("prefixAdvertisements")),
        "communities are defined but not used in prefixAdvertisements",
    ),
)
_PEER = (
    _not_both("node", "nodeSelector"),
    _not_both("peerIP", "peerSelector"),
    _empty_when("asNumber", "peerSelector"),
    _empty_when("peerIP", "localWorkloadSelector"),
    _empty_when("peerSelector", "localWorkloadSelector"),
    Claim(
        lambda spec: not spec.get("localWorkloadSelector") or bool(spec.get("asNumber")),
        "asNumber is required when localWorkloadSelector is set",
    ),
    Claim(
        lambda spec: not spec.get("reachableBy") or bool(spec.get("peerIP")),
        "reachableBy must be empty when peerIP is empty",
    ),
    _not_both(
        "keepOriginalNextHop",
        "nextHopMode",
        "keepOriginalNextHop and nextHopMode cannot both be set; keepOriginalNextHop is deprecated, use nextHopMode"
        " instead",
    ),
)
_RULE = (
    Claim(
        lambda rule: bool(rule.get("cidr")) == bool(rule.get("matchOperator")),
        "cidr and matchOperator must both be set or both be empty",
    ),
    Claim(
        lambda rule: "prefixLength" not in rule or bool(rule.get("cidr")), "cidr is required when prefixLength is set"
    ),
    Claim(
        lambda rule: not rule.get("operations") or rule["action"] == "Accept",
        "operations may only be used with action Accept",
    ),
)

ROOM = Room(
    checks={"v3.BGPConfigurationSpec": _check_configuration, "v3.BGPPeerSpec": _check_peer},
    claims={
        "v3.BGPConfigurationSpec": _CONFIGURATION,
        "v3.BGPPeerSpec": _PEER,
        "v3.BGPFilterRuleV4": _RULE,
        "v3.BGPFilterRuleV6": _RULE,
    },
)
