"""The OPEN: what this speaker claims of itself, and what ExaBGP does not look at in a peer's.

The restart bit and the forwarding bit are set when they are true, where ExaBGP always sets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exabgp.bgp.message.open import Open
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.capability import Capabilities
from exabgp.bgp.message.open.capability.addpath import AddPath as AddPathCapability
from exabgp.bgp.message.open.capability.capability import Capability
from exabgp.bgp.message.open.capability.graceful import Graceful as GracefulCapability
from exabgp.bgp.message.open.holdtime import HoldTime
from exabgp.bgp.message.open.routerid import RouterID
from exabgp.bgp.message.open.version import Version
from exabgp.bgp.neighbor import Neighbor
from exabgp.protocol.ip import IP

from bgp.message import Fault, Graceful
from bgp.neighbour import AddPath
from bgp.session import Event
from bgp.wire.ends import Ends
from bgp.wire.families import FAMILIES

SURVIVES_NOTIFICATIONS = 0x04
"""The N bit (RFC 8538) among the four flags of the graceful restart capability."""
_CAPABILITIES = 2
"""The one optional parameter of an OPEN that there is."""


def neighbor_of(ends: Ends) -> Any:
    neighbor = Neighbor()
    neighbor["peer-address"] = IP.create(str(ends.peer_address))
    neighbor["local-address"] = IP.create(str(ends.local_address))
    neighbor["local-as"] = ASN(ends.local_as)
    neighbor["peer-as"] = ASN(ends.peer_as)
    neighbor["router-id"] = RouterID(str(ends.router_id))
    neighbor["hold-time"] = HoldTime(ends.hold_time_s)
    neighbor["adj-rib-in"] = False
    neighbor["adj-rib-out"] = False
    neighbor["capability"]["graceful-restart"] = ends.restart_time_s
    neighbor["capability"]["route-refresh"] = True
    for version in ends.spoken:
        neighbor.add_family(FAMILIES[version])
    return neighbor


def open_of(ends: Ends, neighbor: Any) -> Any:
    if not ends.has_capabilities:
        return _open_with(ends, Capabilities())
    capabilities = Capabilities().new(neighbor, ends.has_restarted, ASN(ends.local_as))
    forwarding = GracefulCapability.FORWARDING_STATE if ends.keeps_forwarding else 0
    flags = GracefulCapability.RESTART_STATE if ends.has_restarted else 0
    if ends.restart_time_s:
        flags |= SURVIVES_NOTIFICATIONS if ends.survives_notifications else 0
        capabilities[Capability.CODE.GRACEFUL_RESTART] = GracefulCapability().set(
            flags, ends.restart_time_s, [(*FAMILIES[version], forwarding) for version in ends.spoken]
        )
    if ends.add_path:
        families = [FAMILIES[version] for version in ends.spoken]
        capabilities[Capability.CODE.ADD_PATH] = AddPathCapability(families, int(ends.add_path))
    return _open_with(ends, capabilities)


def _open_with(ends: Ends, capabilities: Any) -> Any:
    return Open(Version(4), ASN(ends.local_as), HoldTime(ends.hold_time_s), RouterID(str(ends.router_id)), capabilities)


def check_open(body: bytes) -> Fault | None:
    """What ExaBGP accepts or answers with text: the version, and parameters that are not as long as they say."""
    if body[0] != 4:
        return Fault(Event.OPEN_ERROR, 2, 1, b"\x00\x04", f"version {body[0]}")
    parameters, at, size = body[9], 10, 1
    if parameters == 255 and len(body) >= 13 and body[10] == 255:  # RFC 9072
        parameters, at, size = int.from_bytes(body[11:13], "big"), 13, 2
    if at + parameters != len(body):
        return Fault(Event.OPEN_ERROR, 2, 0, b"", f"parameter length {parameters}")
    while at < len(body):
        if body[at] != _CAPABILITIES:
            return Fault(Event.OPEN_ERROR, 2, 4, b"", f"parameter {body[at]}")
        at += 1 + size + int.from_bytes(body[at + 1 : at + 1 + size], "big")
    return None


def capability_words(theirs: Any, graceful: Graceful | None) -> Iterator[str]:
    if Capability.CODE.ROUTE_REFRESH in theirs:
        yield "refresh"
    if Capability.CODE.ENHANCED_ROUTE_REFRESH in theirs:
        yield "enhanced-refresh"
    if graceful is not None:
        yield "restart-able" if graceful.is_able else "restart-aware"
    if Capability.CODE.FOUR_BYTES_ASN in theirs:
        yield "AS4"
    directions = set(theirs.get(Capability.CODE.ADD_PATH, {}).values())
    if directions & {AddPath.RECEIVE, AddPath.BOTH}:
        yield "add-path-rx"
    if directions & {AddPath.SEND, AddPath.BOTH}:
        yield "add-path-tx"
    if Capability.CODE.EXTENDED_MESSAGE in theirs:
        yield "ext-messages"


def forget_nonsense(offered: Any) -> None:
    """RFC 7911, 4: a family with another value than these counts as not named."""
    for family in [family for family, value in offered.items() if not AddPath.RECEIVE <= value <= AddPath.BOTH]:
        del offered[family]
