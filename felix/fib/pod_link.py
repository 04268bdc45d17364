"""A pod's interface as a value: what is to be made, and what is there. Pure; veth.py does it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

HOST_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY = IPv4Address("169.254.1.1")
"""Nobody has it: the host's end answers for it by proxy ARP, and every packet leaves by the host."""


@dataclass(frozen=True, slots=True)
class VethPlan:
    """What to make. ``mac`` is the pod end's; ``allow_forwarding``: whether the pod itself may route."""

    host_device: str
    pod_device: str
    mac: str
    mtu_bytes: int
    addresses: tuple[Address, ...]
    allow_forwarding: bool = False


@dataclass(frozen=True, slots=True)
class PodSide:
    """What the pod's namespace shows of an interface; ``routes`` as (destination, gateway)."""

    mac: str
    mtu_bytes: int
    is_up: bool
    addresses: tuple[Address, ...]
    has_default_route: bool


def host_sysctls(device: str) -> dict[str, str]:
    """What the host's end of a pod's veth needs, by path below /proc/sys."""
    return {
        f"net/ipv4/conf/{device}/route_localnet": "1",
        f"net/ipv4/neigh/{device}/proxy_delay": "0",
        f"net/ipv4/conf/{device}/proxy_arp": "1",
        f"net/ipv4/conf/{device}/forwarding": "1",
        f"net/ipv6/conf/{device}/accept_ra": "0",
    }
