"""A pod's interface as a value: what is to be made, and what is there. Pure; veth.py does it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

HOST_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY = IPv4Address("169.254.1.1")
"""Nobody has it: the host's end answers for it by proxy ARP, and every packet leaves by the host."""
GATEWAY_V6 = IPv6Address("fe80::ecee:eeff:feee:eeee")
"""The host's end has it, because the kernel makes it of its MAC (addr_gen_mode 0)."""


@dataclass(frozen=True, slots=True)
class VethPlan:
    """What to make. ``mac`` is the pod end's; ``allow_forwarding``: whether the pod itself may route."""

    host_device: str
    pod_device: str
    mac: str
    mtu_bytes: int
    addresses: tuple[Address, ...]
    allow_forwarding: bool = False

    @property
    def versions(self) -> frozenset[int]:
        return frozenset(address.version for address in self.addresses)


@dataclass(frozen=True, slots=True)
class PodSide:
    """What the pod's namespace shows of an interface; ``default_routes``: the versions of IP that have one."""

    mac: str
    mtu_bytes: int
    is_up: bool
    addresses: tuple[Address, ...]
    default_routes: frozenset[int]


def host_sysctls(device: str, versions: frozenset[int] = frozenset({4})) -> dict[str, str]:
    """What the host's end of a pod's veth needs before it is raised, by path below /proc/sys. ``versions``: the pod's.

    IPv6 is on there by default, so what keeps a pod from advertising routes to the host is written for every pod; a
    kernel without IPv6 has no such file, and need not.
    """
    return {
        f"net/ipv4/conf/{device}/route_localnet": "1",
        f"net/ipv4/neigh/{device}/proxy_delay": "0",
        f"net/ipv4/conf/{device}/proxy_arp": "1",
        f"net/ipv4/conf/{device}/forwarding": "1",
        f"net/ipv6/conf/{device}/accept_ra": "0",
        **(_host_sysctls_v6(device) if 6 in versions else {}),
    }


def _host_sysctls_v6(device: str) -> dict[str, str]:
    """The pod's gateway is there at once: its address follows from the MAC and is not asked about first."""
    return {
        f"net/ipv6/conf/{device}/disable_ipv6": "0",
        f"net/ipv6/conf/{device}/addr_gen_mode": "0",
        f"net/ipv6/conf/{device}/accept_dad": "0",
        f"net/ipv6/conf/{device}/proxy_ndp": "1",
        f"net/ipv6/conf/{device}/forwarding": "1",
    }
