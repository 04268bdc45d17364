"""The two ends of a session."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from bgp.message import Address
from bgp.neighbour import AddPath
from bgp.session import HOLD_TIME_S


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of one session, and what this speaker claims about itself in its OPEN.

    ``versions`` are the families that are offered, none for that of the addresses. The next hop of what is announced is
    ``local_address``, in the other family ``other_address``. ``survives_notifications``: routes are to be kept over
    them (RFC 8538). ``add_path``: several paths a destination, in all families (RFC 7911). ``has_capabilities``: the
    peer knows what they are.
    """

    local_address: Address
    peer_address: Address
    local_as: int
    peer_as: int
    router_id: IPv4Address
    hold_time_s: int = HOLD_TIME_S
    restart_time_s: int = 120
    has_restarted: bool = False
    keeps_forwarding: bool = False
    versions: tuple[int, ...] = ()
    other_address: Address | None = None
    survives_notifications: bool = False
    add_path: AddPath = AddPath.NONE
    has_capabilities: bool = True

    @property
    def is_internal(self) -> bool:
        return self.local_as == self.peer_as

    @property
    def spoken(self) -> tuple[int, ...]:
        return self.versions or (self.local_address.version,)

    def next_hop(self, version: int) -> Address:
        """Our own. Of a family in which we have no address nothing is offered."""
        own = self.local_address if self.local_address.version == version else self.other_address
        assert own is not None, f"IPv{version} is offered, and there is no address for it"
        return own
