"""BGPFilter: rules that a peer's routes pass in order, on the way in and on the way out. The first to match decides.

A rule that matches carries out its operations and then accepts or rejects; when none matches the usual policy decides,
on a route as it was. Every condition of a rule must hold. A rule is read once, when its BGPFilter is.

Two things are as BIRD does them, because that is what the rules were written for: with a prefix length ``Equal`` never
matches and ``NotEqual`` always does (BIRD compares a prefix with a set then), and without one ``In`` means inside, the
prefix itself included. The device of a route is known for pods of this node alone: their names begin with ``cali``, and
an ``interface`` that matches all such names matches them.

Source: Calico api v3 bgpfilter.go, confd/pkg/resource/template/template_funcs.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

from bgp.export import GREATEST_METRIC, Announcement
from bgp.message import Attributes, Community

Network = IPv4Network | IPv6Network
R = TypeVar("R", Attributes, Announcement)

POD_DEVICE = "cali"


class Verdict(Enum):
    ACCEPT = "Accept"
    REJECT = "Reject"


class Unreadable(ValueError):
    """A rule that says what cannot be meant."""


@dataclass(frozen=True, slots=True)
class AddCommunity:
    community: Community


@dataclass(frozen=True, slots=True)
class Prepend:
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SetPriority:
    priority: int


Operation = AddCommunity | Prepend | SetPriority


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that is None or empty is not asked."""

    verdict: Verdict
    cidr: Network | None = None
    operator: str = ""
    lengths: tuple[int, int] | None = None
    is_from_peers: bool = False
    interface: str = ""
    peer_type: str = ""
    communities: tuple[Community, ...] = ()
    path_prefix: tuple[int, ...] = ()
    priority: int | None = None
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """``text`` is the spec that it was read from: what makes two of them equal, and what is remembered of one."""

    name: str
    text: str
    imports: Mapping[int, tuple[Rule, ...]] = field(default_factory=dict, compare=False, repr=False)
    exports: Mapping[int, tuple[Rule, ...]] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a route does not say of itself. ``device`` is where its packets leave, as far as that is known."""

    is_internal: bool
    is_learned: bool
    device: str = ""


def read(name: str, spec: Mapping[str, Any]) -> Filter:
    """Raises Unreadable."""
    try:
        return Filter(
            name,
            json.dumps(spec, sort_keys=True, default=dict),
            imports={version: _rules(spec.get(f"importV{version}")) for version in (4, 6)},
            exports={version: _rules(spec.get(f"exportV{version}")) for version in (4, 6)},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"BGPFilter {name}: {error}") from None


def from_text(name: str, text: str) -> Filter:
    """Raises Unreadable."""
    return read(name, json.loads(text))


def screen(
    dst: Network, route: R, filters: Sequence[Filter], circumstances: Circumstances, *, is_import: bool
) -> tuple[Verdict | None, R]:
    """The verdict and the route as the operations leave it; None when no rule matched."""
    for each in filters:
        for rule in (each.imports if is_import else each.exports)[dst.version]:
            if _matches(rule, dst, route, circumstances):
                return rule.verdict, _operate(route, rule.operations)
    return None, route


def _matches(rule: Rule, dst: Network, route: Attributes | Announcement, circumstances: Circumstances) -> bool:
    return (
        (rule.cidr is None or _matches_cidr(rule, rule.cidr, dst))
        and (not rule.is_from_peers or circumstances.is_learned)
        and (not rule.interface or _matches_device(rule.interface, circumstances.device))
        and (not rule.peer_type or (rule.peer_type == "iBGP") == circumstances.is_internal)
        and all(each in route.communities for each in rule.communities)
        and route.as_path[: len(rule.path_prefix)] == rule.path_prefix
        and (rule.priority is None or route.local_pref == GREATEST_METRIC - rule.priority)
    )


def _matches_cidr(rule: Rule, cidr: Network, dst: Network) -> bool:
    is_negated = rule.operator.startswith("Not")
    if rule.operator in ("Equal", "NotEqual"):
        return (rule.lengths is None and dst == cidr) != is_negated
    is_inside = dst.version == cidr.version and dst.prefixlen >= cidr.prefixlen and dst.network_address in cidr
    if rule.lengths is not None:
        is_inside = is_inside and rule.lengths[0] <= dst.prefixlen <= rule.lengths[1]
    return is_inside != is_negated


def _matches_device(pattern: str, device: str) -> bool:
    return bool(device) and fnmatchcase(device, pattern)


def _operate(route: R, operations: Sequence[Operation]) -> R:
    for each in operations:
        match each:
            case AddCommunity(community):
                if community not in route.communities:
                    route = replace(route, communities=(*route.communities, community))
            case Prepend(path):
                route = _prepend(route, path)
            case SetPriority(priority):
                route = replace(route, local_pref=GREATEST_METRIC - priority)
    return route


def _prepend(route: R, path: tuple[int, ...]) -> R:
    if isinstance(route, Attributes):
        return replace(route, as_path=(*path, *route.as_path))
    return replace(route, as_path=(*path, *route.as_path))


def _rules(raw: Sequence[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(_rule(each) for each in raw or ())


def _rule(raw: Mapping[str, Any]) -> Rule:
    cidr = ip_network(raw["cidr"], strict=False) if raw.get("cidr") else None
    return Rule(
        verdict=Verdict(raw["action"]),
        cidr=cidr,
        operator=_operator(raw.get("matchOperator") or "") if cidr is not None else "",
        lengths=_lengths(raw["prefixLength"], cidr) if cidr is not None and raw.get("prefixLength") else None,
        is_from_peers=raw.get("source") == "RemotePeers",
        interface=raw.get("interface") or "",
        peer_type=raw.get("peerType") or "",
        communities=tuple(community(each) for each in (raw.get("communities") or {}).get("values") or ()),
        path_prefix=tuple(int(each) for each in raw.get("asPathPrefix") or ()),
        priority=raw.get("priority"),
        operations=tuple(_operation(each) for each in raw.get("operations") or ()),
    )


def _operator(text: str) -> str:
    if text not in ("Equal", "NotEqual", "In", "NotIn"):
        raise ValueError(f"matchOperator {text!r}")
    return text


def _lengths(raw: Mapping[str, Any], cidr: Network) -> tuple[int, int]:
    least, most = raw.get("min"), raw.get("max")
    return (
        cidr.prefixlen if least is None else max(cidr.prefixlen, least),
        cidr.max_prefixlen if most is None else min(cidr.max_prefixlen, most),
    )


def _operation(raw: Mapping[str, Any]) -> Operation:
    if raw.get("addCommunity"):
        return AddCommunity(community(raw["addCommunity"]["value"]))
    if raw.get("prependASPath"):
        return Prepend(tuple(int(each) for each in raw["prependASPath"]["prefix"]))
    return SetPriority(int(raw["setPriority"]["value"]))


def community(text: str) -> Community:
    """``65000:7`` or ``65000:7:9``. Raises ValueError."""
    numbers = tuple(int(each) for each in text.split(":"))
    if len(numbers) not in (2, 3) or not all(
        0 <= each < (1 << 16 if len(numbers) == 2 else 1 << 32) for each in numbers
    ):
        raise ValueError(f"community {text!r}")
    return numbers
