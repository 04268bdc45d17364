"""A network as a key: the ones that Python has work their hash out anew at each look-up, in Python.

On its way from the wire into the kernel a route is looked up by its destination some thirty times. These equal
the plain ones and are found by them. Pure.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

Packed = tuple[int, int]
"""The address as a number, the length of the prefix."""


class DestinationV4(IPv4Network):
    def __init__(self, packed: Packed) -> None:
        """Raises ValueError for bits behind the prefix."""
        super().__init__(packed)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class DestinationV6(IPv6Network):
    def __init__(self, packed: Packed) -> None:
        """Raises ValueError for bits behind the prefix."""
        super().__init__(packed)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash
