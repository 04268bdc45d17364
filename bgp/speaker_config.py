"""What the speaker does when it runs alone: one file, YAML or JSON, into neighbours, routes and a policy. Pure.

Neighbours have BGPPeer's fields under BGPPeer's names, and those that a peer needs beside them where no datastore
knows it: which families, who dials, whose client. Policies are BGPFilter's rules, or one of the words:

- ``all``: everything goes. ``none``: nothing does. ``originated``: what this file originates, nothing that was learned.

A word may end a list of rules. Without a policy everything is taken in and only what is originated goes out.

Numbers are decimal and nothing else is one: YAML would read the community 65000:7 in base 60.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import yaml

from bgp.best import MOST_NEXT_HOPS
from bgp.export import Announcement, Exports
from bgp.filters import Filter, Unreadable, community
from bgp.filters import read as read_filter
from bgp.mesh import BFD_IF_CONNECTED, LONGEST_PASSWORD_BYTES, LONGEST_RESTART_TIME_S, name_of, seconds_of, split_port
from bgp.message import Community, Origin
from bgp.neighbour import DEFAULT_PORT, DEFAULT_RESTART_TIME_S, AddPath, Kind, ListenAt, Neighbour, NextHopMode
from bgp.passing import CLOSED, Policy
from bgp.section import BadConfig, Section
from bgp.session import HOLD_TIME_S

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_LOCAL_PREF = 100
_FAMILIES = {"ipv4": 4, "ipv6": 6}
_OF_A_CLUSTER = ("node", "nodeSelector", "peerSelector", "localWorkloadSelector", "reversePeering")
_LISTS_OF_RULES = ("importV4", "importV6", "exportV4", "exportV6")


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """``writes_routes``: the best routes go into the kernel's main table. ``merge_paths``: how many paths are used
    together where they are equally good.
    """

    router_id: IPv4Address
    local_as: int
    addresses: tuple[Address, ...] = ()
    listen: ListenAt = field(default_factory=ListenAt)
    restart_time_s: int = DEFAULT_RESTART_TIME_S
    neighbours: tuple[Neighbour, ...] = ()
    originated: Exports = field(default_factory=dict)
    policy: Policy = CLOSED
    writes_routes: bool = True
    state_folder: str = "/var/lib/calico"
    run_folder: str = "/var/run/calico"
    metrics_port: int = 0
    merge_paths: int = 1


def read(text: str) -> SpeakerConfig:
    """Raises BadConfig, whose words begin with the field's name."""
    try:
        raw = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise BadConfig(f"the file: {error}") from None
    return _speaker(Section(raw, ""))


class _Loader(yaml.SafeLoader):
    """Of YAML 1.1's guesses only booleans, null, merge keys and decimal integers."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))


# The whole.


@dataclass(frozen=True, slots=True)
class _Common:
    """What neighbours take from the whole where they say nothing themselves."""

    local_as: int
    addresses: tuple[Address, ...]
    cluster_id: IPv4Address
    restart_time_s: int
    hold_time_s: int
    filters: Mapping[str, Filter]
    policy: _Policy

    def own(self, version: int) -> tuple[Address, ...]:
        return tuple(each for each in self.addresses if each.version == version)


def _speaker(section: Section) -> SpeakerConfig:
    addresses = section.take_values("addresses", _address)
    own_v4 = next((each for each in addresses if isinstance(each, IPv4Address)), None)
    router_id = section.take("routerID", _identifier, own_v4)
    if router_id is None:
        raise section.wrong("routerID", "is missing, and addresses has no IPv4 address to take it from")
    common = _Common(
        local_as=section.need("asNumber", _as_number),
        addresses=addresses,
        cluster_id=section.take("clusterID", _identifier, router_id),
        restart_time_s=section.take("restartTime", _restart_time, DEFAULT_RESTART_TIME_S),
        hold_time_s=section.take("holdTime", _hold_time, HOLD_TIME_S),
        filters=_filters(section),
        policy=_policy(section, _Policy()),
    )
    neighbours = _neighbours(section, common)
    is_reflector = "clusterID" in section or any(each.cluster_id for each in neighbours)
    found = SpeakerConfig(
        router_id=router_id,
        local_as=common.local_as,
        addresses=addresses,
        listen=ListenAt(
            section.take("listenPort", _port, DEFAULT_PORT), section.take_values("listenAddresses", _address)
        ),
        restart_time_s=common.restart_time_s,
        neighbours=neighbours,
        originated=_originated(section),
        policy=Policy(cluster_id=common.cluster_id if is_reflector else None),
        writes_routes=section.take("writeRoutes", _boolean, True),
        state_folder=section.take("stateFolder", _text, "/var/lib/calico"),
        run_folder=section.take("runFolder", _text, "/var/run/calico"),
        metrics_port=section.take("metricsPort", _port, 0),
        merge_paths=section.take("mergePaths", lambda raw: _in(1, MOST_NEXT_HOPS, raw, "a number of paths"), 1),
    )
    section.end()
    return found


def _filters(section: Section) -> Mapping[str, Filter]:
    none: Mapping[str, Any] = {}
    raw = section.take("filters", _mapping, none)
    return {name: _filter(name, spec, section.name_of(f"filters.{name}")) for name, spec in raw.items()}


def _filter(name: str, spec: Any, path: str) -> Filter:
    within = Section(spec, path)
    for each in _LISTS_OF_RULES:
        within.take_list(each, lambda raw, _: raw)
    within.end()
    try:
        return read_filter(name, spec)
    except Unreadable as error:
        raise BadConfig(f"{path}: {error}") from None


def _originated(section: Section) -> Exports:
    return dict(section.take_list("originate", originated))


def originated(raw: Any, path: str) -> tuple[Network, Announcement]:
    """``192.0.2.0/24``, or a mapping with ``prefix`` and attributes. Raises BadConfig."""
    section = Section(raw if isinstance(raw, Mapping) else {"prefix": raw}, path)
    dst = section.need("prefix", _network)
    told = Announcement(
        local_pref=section.take("localPreference", _number, DEFAULT_LOCAL_PREF),
        next_hop=section.take("nextHop", _address, None),
        as_path=section.take_values("asPath", _as_number),
        origin=section.take("origin", _origin, Origin.IGP),
        med=section.take("med", _number, None),
        communities=section.take_values("communities", _community),
    )
    section.end()
    if told.next_hop is not None and told.next_hop.version != dst.version:
        raise section.wrong("nextHop", f"must be an IPv{dst.version} address, as the prefix is")
    return dst, told


# Neighbours.


def _neighbours(section: Section, common: _Common) -> tuple[Neighbour, ...]:
    name = "neighbors" if "neighbors" in section else "neighbours"
    found = section.take_list(name, lambda raw, path: _neighbour(Section(raw, path), common))
    places: dict[Address, int] = {}
    for at, each in enumerate(found):
        if (other := places.setdefault(each.address, at)) != at:
            raise BadConfig(f"{name}[{at}].peerIP: {each.address} is that of {name}[{other}] too")
    return found


def _neighbour(section: Section, common: _Common) -> Neighbour:
    for name in _OF_A_CLUSTER:
        if name in section:
            raise section.wrong(name, "means something in a cluster's datastore only")
    address, port = section.need("peerIP", _place)
    local_as = section.take("localASNumber", _as_number, common.local_as)
    found = Neighbour(
        name=name_of(Kind.GLOBAL, address),
        kind=Kind.GLOBAL,
        address=address,
        peer_as=section.need("asNumber", _as_number),
        local_as=local_as,
        local_address=_source(section, address, common),
        port=section.take("port", _port, port or DEFAULT_PORT),
        is_passive=section.take("passive", _boolean, False),
        restart_time_s=section.take("maxRestartTime", _restart_time, common.restart_time_s),
        hold_time_s=section.take("holdTime", _hold_time, common.hold_time_s),
        keepalive_time_s=section.take("keepaliveTime", _duration, 0),
        ttl_hops=section.take("ttlSecurity", _hops, 0),
        password=section.take("password", _password, ""),
        gateway=section.take("reachableBy", _address, None),
        allowed_local_as=section.take("numAllowedLocalASNumbers", _number, 0),
        filters=(*_named_filters(section, common), _policy(section, common.policy).as_filter()),
        survives_notifications=section.take("survivesNotifications", _boolean, True),
        max_prefixes=section.take("maxPrefixes", _number, 0),
    )
    found = _passing_on(section, _with_families(section, found, common), common)
    is_multihop = section.take("multihop", _boolean, found.ttl_hops > 1)
    found = replace(
        found,
        is_watched=section.take("failureDetectionMode", _is_watched, False),
        needs_near_next_hops=not found.is_internal and not is_multihop,
        add_path=section.take("addPath", _add_path, AddPath.NONE),
        enforces_first_as=section.take("enforceFirstAS", _boolean, False) and not found.is_internal,
    )
    section.end()
    return found


def _is_watched(raw: Any) -> bool:
    if raw not in ("None", BFD_IF_CONNECTED):
        raise ValueError(f"must be None or {BFD_IF_CONNECTED}; BFD over more than one hop (RFC 5883) is not built")
    return bool(raw == BFD_IF_CONNECTED)


def _source(section: Section, peer: Address, common: _Common) -> Address | None:
    """The one that is given; else our only one of the family; else the kernel chooses (``None``)."""
    own = common.own(peer.version)
    default = own[0] if len(own) == 1 else None
    if section.take("sourceAddress", _text, "") in ("None", "UseNodeIP"):
        return None
    found = section.take("sourceAddress", _address, default)
    if found is not None and found.version != peer.version:
        raise section.wrong("sourceAddress", f"must be an IPv{peer.version} address, as peerIP is")
    return found


def _with_families(section: Section, found: Neighbour, common: _Common) -> Neighbour:
    versions = tuple(sorted(set(section.take_values("families", _family))))
    others = common.own(10 - found.address.version)
    other = section.take("nextHopOfOtherFamily", _address, others[0] if others else None)
    if any(version != found.address.version for version in versions) and other is None:
        raise section.wrong("families", f"addresses has no IPv{10 - found.address.version} address to be the next hop")
    return replace(found, versions=versions, other_address=other if versions else None)


def _passing_on(section: Section, found: Neighbour, common: _Common) -> Neighbour:
    is_client = section.take("reflectorClient", _boolean, False)
    keeps = section.take("keepOriginalNextHop", _boolean, False)
    mode = section.take("nextHopMode", _next_hop_mode, NextHopMode.KEEP if keeps else NextHopMode.AUTO)
    if section.take("nextHopSelf", _boolean, False):
        mode = NextHopMode.SELF
    if is_client and not found.is_internal:
        raise section.wrong("reflectorClient", "only a neighbour of our own AS can be one")
    return replace(found, cluster_id=common.cluster_id if is_client else None, next_hop_mode=mode)


# Policies.


def _named_filters(section: Section, common: _Common) -> tuple[Filter, ...]:
    def find(raw: Any) -> Filter:
        if raw not in common.filters:
            raise ValueError(f"there is no filter {raw!r}")
        return common.filters[raw]

    return section.take_values("filters", find)


Rules = Sequence[Mapping[str, Any]]

_TAKE_ALL = {"action": "Accept"}
_ORIGINATED = {"action": "Reject", "source": "RemotePeers"}
_WORDS = {"all": _TAKE_ALL, "none": {"action": "Reject"}, "originated": _ORIGINATED}


@dataclass(frozen=True, slots=True)
class _Policy:
    imports: Rules = (_TAKE_ALL,)
    exports: Rules = (_ORIGINATED,)

    def as_filter(self) -> Filter:
        """Raises Unreadable."""
        spec: dict[str, Any] = {}
        for version in (4, 6):
            spec[f"importV{version}"] = [rule for rule in self.imports if _is_of(rule, version)]
            spec[f"exportV{version}"] = [rule for rule in self.exports if _is_of(rule, version)]
        return read_filter("of the file", spec)


def _policy(section: Section, default: _Policy) -> _Policy:
    return _Policy(section.take("import", _rules, default.imports), section.take("export", _rules, default.exports))


def _is_of(rule: Mapping[str, Any], version: int) -> bool:
    cidr = rule.get("cidr")
    return cidr is None or ip_network(cidr, strict=False).version == version


def _rules(raw: Any) -> Rules:
    rules: list[Mapping[str, Any]] = []
    for each in raw if isinstance(raw, list) else [raw]:
        if isinstance(each, Mapping):
            _Policy([each]).as_filter()
            rules.append(each)
        elif each in _WORDS:
            rules.append(_WORDS[each])
        else:
            raise ValueError(f"must be {', '.join(_WORDS)} or a list of a BGPFilter's rules, not {each!r}")
    return rules


# Values. Each raises ValueError with what is wrong.


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"must be a text, not {raw!r}")
    return raw


def _mapping(raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise ValueError("must hold fields with values")
    return {str(name): value for name, value in raw.items()}


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"must be true or false, not {raw!r}")
    return raw


def _address(raw: Any) -> Address:
    try:
        return ip_address(_text(raw))
    except ValueError:
        raise ValueError(f"{raw!r} is no address") from None


def _place(raw: Any) -> tuple[Address, int]:
    place = split_port(_text(raw))
    if place is None:
        raise ValueError(f"{raw!r} is no address")
    return place


def _identifier(raw: Any) -> IPv4Address:
    found = _address(raw)
    if not isinstance(found, IPv4Address) or not int(found):
        raise ValueError(f"{raw!r}: must be written as an IPv4 address, and not be 0.0.0.0")
    return found


def _network(raw: Any) -> Network:
    try:
        return ip_network(_text(raw))
    except ValueError as error:
        raise ValueError(str(error)) from None


def _in(least: int, most: int, raw: Any, what: str) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw <= most:
        raise ValueError(f"must be {what} from {least} to {most}, not {raw!r}")
    return raw


def _number(raw: Any) -> int:
    return _in(0, 0xFFFFFFFF, raw, "a number")


def _port(raw: Any) -> int:
    return _in(1, 65535, raw, "a port")


def _hops(raw: Any) -> int:
    return _in(0, 255, raw, "a number of hops")


def _as_number(raw: Any) -> int:
    """``65001``, ``4200000001`` or ``65001.7`` (RFC 5396)."""
    if isinstance(raw, str) and re.fullmatch(r"\d{1,5}\.\d{1,5}", raw):
        high, low = (_in(0, 0xFFFF, int(half), "each half") for half in raw.split("."))
        raw = high << 16 | low
    return _in(1, 0xFFFFFFFF, raw, "an AS number")


def _duration(raw: Any) -> int:
    """Whole seconds, of a number of them or of Go's ``2m30s``."""
    seconds = seconds_of(raw) if isinstance(raw, str) else raw
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise ValueError(f"must be seconds or a duration like 2m30s, not {raw!r}")
    return int(seconds)


def _restart_time(raw: Any) -> int:
    return _in(0, LONGEST_RESTART_TIME_S, _duration(raw), "seconds")


def _hold_time(raw: Any) -> int:
    found = _in(0, 0xFFFF, _duration(raw), "seconds")
    if found in (1, 2):
        raise ValueError("must be 0 or at least 3 seconds")
    return found


def _password(raw: Any) -> str:
    if len(_text(raw).encode()) > LONGEST_PASSWORD_BYTES:
        raise ValueError(f"is longer than {LONGEST_PASSWORD_BYTES} bytes")
    return _text(raw)


def _family(raw: Any) -> int:
    if raw not in _FAMILIES:
        raise ValueError(f"must be {' or '.join(_FAMILIES)}, not {raw!r}")
    return _FAMILIES[raw]


def _next_hop_mode(raw: Any) -> NextHopMode:
    try:
        return NextHopMode(raw)
    except ValueError:
        raise ValueError(f"must be {', '.join(each.value for each in NextHopMode)}, not {raw!r}") from None


def _add_path(raw: Any) -> AddPath:
    words = {str(each.name).lower(): each for each in (AddPath.NONE, AddPath.RECEIVE, AddPath.SEND, AddPath.BOTH)}
    if raw not in words:
        raise ValueError(f"must be {', '.join(words)}, not {raw!r}")
    return words[raw]


def _origin(raw: Any) -> Origin:
    words = {each.name.lower(): each for each in Origin}
    if raw not in words:
        raise ValueError(f"must be {', '.join(words)}, not {raw!r}")
    return words[raw]


def _community(raw: Any) -> Community:
    return community(_text(raw))
