"""Numbers that both directions need: the families that are spoken (IPv4 and IPv6, unicast), the header's length."""

from __future__ import annotations

from exabgp.protocol.family import AFI, SAFI

FAMILIES = {4: (AFI.ipv4, SAFI.unicast), 6: (AFI.ipv6, SAFI.unicast)}
AFIS = {4: 1, 6: 2}
VERSIONS = {(1, 1): 4, (2, 1): 6}
"""IP version by AFI and SAFI: unicast is all that is spoken."""
HEADER_BYTES = 19
