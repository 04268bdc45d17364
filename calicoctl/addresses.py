"""Addresses that users type."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from calicoctl.failure import Failure


def address_of(text: str) -> IPv4Address | IPv6Address:
    """An IPv4 address in IPv6's clothes is taken for what it is. Raises Failure."""
    try:
        address = ip_address(text)
    except ValueError:
        raise _wrong(text) from None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        raise _wrong(text)
    return address.ipv4_mapped or address


def _wrong(text: str) -> Failure:
    return Failure(f"Error executing command: invalid IP address specified: {text}", is_output=True)
