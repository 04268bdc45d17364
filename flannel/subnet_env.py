"""/run/flannel/subnet.env: what this node has, for the CNI plugin, for Docker, and for the daemon's own next start.

Lines in this order, without quotes; a family's two lines only if it is on. The subnet is written as its first host
address. Read is what any daemon wrote: unknown lines are passed over, lists of more than one network count as nothing.

Pure: text only; :mod:`flannel.subnet_file` has the file. Source: flannel pkg/subnet/subnet.go (WriteSubnetFile).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from flannel.go_json import read_network
from flannel.lease import NO_SUBNETS, Subnets


@dataclass(frozen=True, slots=True)
class SubnetEnv:
    """``mtu_bytes`` 0 and networks of None: not known."""

    networks: Subnets = NO_SUBNETS
    subnets: Subnets = NO_SUBNETS
    mtu_bytes: int = 0
    masquerades: bool = False

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        if self.networks.v4 is not None and self.subnets.v4 is not None:
            yield f"FLANNEL_NETWORK={self.networks.v4}"
            yield f"FLANNEL_SUBNET={_first_host(self.subnets.v4)}"
        if self.networks.v6 is not None and self.subnets.v6 is not None:
            yield f"FLANNEL_IPV6_NETWORK={self.networks.v6}"
            yield f"FLANNEL_IPV6_SUBNET={_first_host(self.subnets.v6)}"
        yield f"FLANNEL_MTU={self.mtu_bytes}"
        yield f"FLANNEL_IPMASQ={str(self.masquerades).lower()}"


def _first_host(subnet: IPv4Network | IPv6Network) -> str:
    return f"{subnet.network_address + 1}/{subnet.prefixlen}"


def read(text: str) -> SubnetEnv:
    """What cannot be read counts as not there."""
    pairs = (line.strip().partition("=") for line in text.splitlines())
    said = {name: value for name, _, value in pairs}
    mtu = said.get("FLANNEL_MTU", "")
    return SubnetEnv(
        networks=Subnets(_v4(said, "FLANNEL_NETWORK"), _v6(said, "FLANNEL_IPV6_NETWORK")),
        subnets=Subnets(_v4(said, "FLANNEL_SUBNET"), _v6(said, "FLANNEL_IPV6_SUBNET")),
        mtu_bytes=int(mtu) if mtu.isascii() and mtu.isdigit() else 0,
        masquerades=said.get("FLANNEL_IPMASQ") == "true",
    )


def _v4(said: Mapping[str, str], name: str) -> IPv4Network | None:
    try:
        return read_network(said.get(name, ""), IPv4Network)
    except ValueError:
        return None


def _v6(said: Mapping[str, str], name: str) -> IPv6Network | None:
    try:
        return read_network(said.get(name, ""), IPv6Network)
    except ValueError:
        return None
