"""What an UPDATE says, from ExaBGP's objects into values.

Host bits of a prefix are masked; of a link-local copy of an IPv6 route only the global one is taken.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any

from exabgp.bgp.message import Action
from exabgp.bgp.message.update.attribute import Attribute
from exabgp.bgp.message.update.attribute.aspath import SET
from exabgp.bgp.message.update.nlri.qualifier import PathInfo

from bgp.destination import DestinationV4, DestinationV6
from bgp.message import DEFAULT_LOCAL_PREF, Address, Attributes, Carried, Learned, Network, Numbered, Origin, Place


@dataclass(frozen=True, slots=True)
class Unread:
    """What ExaBGP is not shown of the attributes of an UPDATE."""

    carried: tuple[Carried, ...] = ()
    partial: frozenset[int] = frozenset()


def learned(update: Any, faults: tuple[str, ...], unread: Unread, *, is_void: bool) -> Iterator[Learned]:
    """One value per next hop; withdrawals go first. ``is_void``: its routes count as withdrawn (RFC 7606)."""
    withdrawn: list[Place] = []
    by_next_hop: dict[Any, list[Any]] = {}
    for nlri in update.nlris:
        if nlri.action == Action.WITHDRAW:
            withdrawn.append(_place(nlri))
        else:
            by_next_hop.setdefault(nlri.nexthop.ton() if nlri.nexthop.afi else b"", []).append(nlri)
    if is_void or Attribute.CODE.INTERNAL_TREAT_AS_WITHDRAW in update.attributes:
        withdrawn += [_place(nlri) for nlris in by_next_hop.values() for nlri in nlris]
        by_next_hop = {}
    if withdrawn or faults or not by_next_hop:
        yield Learned(withdrawn=tuple(withdrawn), faults=faults)
    for packed, nlris in _without_link_local(by_next_hop).items():
        attributes = _incoming(update.attributes, ip_address(packed) if packed else None, unread)
        yield Learned(announced=tuple(map(_place, nlris)), attributes=attributes)


def _without_link_local(by_next_hop: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    """An IPv6 next hop of 32 bytes is a global and a link-local address; ExaBGP makes a route of each."""
    if len(by_next_hop) < 2:
        return by_next_hop
    return {packed: nlris for packed, nlris in by_next_hop.items() if packed[:2] != b"\xfe\x80"}


def _place(nlri: Any) -> Place:
    network = _network(nlri)
    if nlri.path_info is PathInfo.NOPATH:
        return network
    return Numbered(network, int.from_bytes(nlri.path_info.pack(), "big"))


def _network(nlri: Any) -> Network:
    """RFC 4271, 4.3: the bits behind the prefix have no meaning."""
    packed, length = nlri.cidr.ton(), nlri.cidr.mask
    spare = len(packed) * 8 - length
    value = int.from_bytes(packed, "big") >> spare << spare
    return DestinationV4((value, length)) if len(packed) == 4 else DestinationV6((value, length))


def _incoming(attributes: Any, next_hop: Address | None, unread: Unread) -> Attributes:
    code = Attribute.CODE
    path = attributes.get(code.AS_PATH)
    segments = path.aspath if path is not None else ()
    origin, med, preference = attributes.get(code.ORIGIN), attributes.get(code.MED), attributes.get(code.LOCAL_PREF)
    originator, clusters = attributes.get(code.ORIGINATOR_ID), attributes.get(code.CLUSTER_LIST)
    return Attributes(
        next_hop=next_hop,
        local_pref=preference.localpref if preference is not None else DEFAULT_LOCAL_PREF,
        as_path=tuple(_path_of(segments)),
        origin=Origin(origin.origin) if origin is not None else Origin.INCOMPLETE,
        med=med.med if med is not None else 0,
        originator=IPv4Address(originator.ton()) if originator is not None else None,
        clusters=tuple(IPv4Address(each.ton()) for each in clusters.clusters) if clusters is not None else (),
        communities=tuple(_communities(attributes)),
        carried=unread.carried,
        partial=unread.partial,
    )


def _path_of(segments: Any) -> Iterator[int | tuple[int, ...]]:
    for segment in segments:
        numbers = (int(number) for number in segment)
        yield from (tuple(numbers),) if segment.ID == SET.ID else numbers


def _communities(attributes: Any) -> Iterator[tuple[int, ...]]:
    for each in attributes.get(Attribute.CODE.COMMUNITY) or ():
        yield struct.unpack("!HH", each.pack())
    for each in attributes.get(Attribute.CODE.LARGE_COMMUNITY) or ():
        yield struct.unpack("!LLL", each.pack())


def communication(data: bytes) -> str:
    """What a shutdown says (RFC 9003). It is a stranger's text: what is no letter is shown as such and not obeyed."""
    words = data[1 : 1 + data[0]].decode("utf-8", "replace") if data else ""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)
