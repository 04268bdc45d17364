"""What a backend is: from the leases of other nodes to everything that this node's kernel should hold.

A backend answers with the whole, each time: what is new, gone or changed is felix/fib's to find. A lease of another
type than the own one is a node that has not switched yet, or has already: what the kernel holds for it stays.

Pure. Source: flannel pkg/backend/common.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from felix.fib.model import Address, Desired, Network, Why
from felix.ground import Ground
from flannel.lease import NO_SUBNETS, Lease, Subnets


class Refused(Exception):
    """The user's mistake, or the machine's lack: the backend cannot work here. Says what to do."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The device that packets to other nodes leave by. ``public`` is what others are told to send to, which differs
    from the device's own address behind a NAT.
    """

    device: str
    mtu_bytes: int
    address: IPv4Address | None = None
    address_v6: IPv6Address | None = None
    public: IPv4Address | None = None
    public_v6: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Me:
    """This node. ``subnets``: none before it has a lease. ``macs`` of its tunnel devices, by name."""

    networks: Subnets
    subnets: Subnets = NO_SUBNETS
    macs: Mapping[str, str] = field(default_factory=dict)


Desire = Callable[[Me, Sequence[Lease], Ground], Desired]
"""From this node and all leases but its own."""

Macs = Mapping[str, str]
Data = Callable[[Macs], tuple[str, str]]
"""From MACs to BackendData and BackendV6Data of the own lease, as JSON texts or ""."""


def _no_data(macs: Macs) -> tuple[str, str]:
    return "", ""


@dataclass(frozen=True, slots=True)
class Pumped:
    """Packets that a program of ours forwards, in place of the kernel: it sends from this address and port."""

    local: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """``lease_type`` is what stands in leases, "" for none; ``mtu_bytes`` what pods get. ``tunnels``: the devices that
    packets to other nodes may go through, each with its MTU; ``devices`` those of them whose MAC the lease tells.
    """

    lease_type: str
    mtu_bytes: int
    desire: Desire
    tunnels: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    data: Data = _no_data
    pumped: Pumped | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One family of one peer's lease: ``subnet`` is behind ``node``, its public address."""

    subnet: Network
    node: Address
    lease: Lease

    @property
    def data(self) -> str:
        attributes = self.lease.attributes
        return attributes.data if self.subnet.version == 4 else attributes.data_v6

    def why(self, how: str) -> Why:
        return Why(f"lease of {self.name}, {how}")

    @property
    def name(self) -> str:
        return f"{self.lease.node} ({self.node})" if self.lease.node else f"{self.node}"


@dataclass(frozen=True, slots=True)
class Sorted:
    """``pending``: subnets that somebody has, but that are not for this backend to reach."""

    targets: tuple[Target, ...]
    pending: Mapping[Network, Why]


def sort_out(me: Me, peers: Iterable[Lease], lease_type: str) -> Sorted:
    """The peers' subnets by who can be reached in this way. Families that are off are left out."""
    targets: list[Target] = []
    pending: dict[Network, Why] = {}
    for lease in peers:
        for subnet, node in _families(me, lease):
            if lease.attributes.backend != lease_type:
                pending[subnet] = Why(
                    f"its lease is of type {_type(lease.attributes.backend)}, this node's {_type(lease_type)}"
                )
            elif node is None:
                pending[subnet] = Why(f"its lease tells no IPv{subnet.version} address of the node")
            else:
                targets.append(Target(subnet, node, lease))
    return Sorted(tuple(targets), pending)


def _families(me: Me, lease: Lease) -> Iterator[tuple[Network, Address | None]]:
    if me.networks.v4 is not None and lease.subnets.v4 is not None:
        yield lease.subnets.v4, lease.attributes.public_ip
    if me.networks.v6 is not None and lease.subnets.v6 is not None:
        yield lease.subnets.v6, lease.attributes.public_ipv6


def _type(name: str) -> str:
    return name or "udp or alloc"
