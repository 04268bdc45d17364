"""What a packet capture between two speakers shows: the destinations that one announces to the other.

Source: RFC 4271, 4.3. IPv4 only.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

_HEADER, _UPDATE = 19, 2


def announced_in(data: bytes) -> Iterator[IPv4Network]:
    """``data`` is one or more whole messages."""
    while len(data) >= _HEADER:
        length = int.from_bytes(data[16:18], "big")
        if data[18] == _UPDATE:
            yield from _prefixes(_after(_after(data[_HEADER:length])))
        data = data[length:]


def _after(field: bytes) -> bytes:
    """What follows a field that begins with its length."""
    return field[2 + int.from_bytes(field[:2], "big") :]


def _prefixes(nlri: bytes) -> Iterator[IPv4Network]:
    while nlri:
        size = (nlri[0] + 7) // 8
        yield IPv4Network((nlri[1 : 1 + size].ljust(4, b"\0"), nlri[0]))
        nlri = nlri[1 + size :]
