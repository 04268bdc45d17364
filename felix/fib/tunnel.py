"""Tunnel devices, and what belongs to them, as values: the device, and where each peer is found behind it.

A tunnel is known by its name: ``tunl0`` (the ipip module makes it, one in each network namespace, for all peers),
``vxlan.calico`` and ``vxlan-v6.calico``. Whatever stands on a device of these names is ours.

A VXLAN peer needs two entries: its tunnel address has a MAC (neighbour), and the MAC is found at the node's address
(forwarding). Only permanent ones are ours; what the kernel learned by itself is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

IPIP_DEVICE = "tunl0"
VXLAN_DEVICE = "vxlan.calico"
VXLAN_DEVICE_V6 = "vxlan-v6.calico"
VXLAN_DEVICES = frozenset({VXLAN_DEVICE, VXLAN_DEVICE_V6})


@dataclass(frozen=True, slots=True)
class Vxlan:
    """What cannot be changed while the device lives. ``local`` and ``parent``: from where its packets leave."""

    vni: int
    port: int
    local: Address
    parent: str
    learns: bool = False
    has_policies: bool = False  # the group policy extension

    def __str__(self) -> str:
        learning = "learning" if self.learns else "nolearning"
        policies = " gbp" if self.has_policies else ""
        return f"id {self.vni} local {self.local} dev {self.parent} dstport {self.port} {learning}{policies}"


@dataclass(frozen=True, slots=True)
class Ipip:
    """Of an IPIP device of our own making: from where its packets leave. ``tunl0`` has none."""

    local: IPv4Address

    def __str__(self) -> str:
        return f"local {self.local}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``ip neigh``: the MAC of ``address`` on ``device``."""

    device: str
    address: Address
    mac: str

    def __str__(self) -> str:
        return f"neigh {self.address} dev {self.device} lladdr {self.mac}"


@dataclass(frozen=True, slots=True)
class Forwarding:
    """``bridge fdb``: frames to ``mac`` leave ``device`` for ``node``."""

    device: str
    mac: str
    node: Address

    def __str__(self) -> str:
        return f"fdb {self.mac} dev {self.device} dst {self.node}"


Entry = Neighbour | Forwarding


@dataclass(frozen=True, slots=True)
class TunnelDevice:
    """A tunnel that is wanted, up. ``address`` None: it only receives. ``mac`` "": whatever it has."""

    name: str
    mtu_bytes: int
    address: Address | None = None
    mac: str = ""
    vxlan: Vxlan | None = None
    entries: frozenset[Entry] = frozenset()
    ipip: Ipip | None = None

    @property
    def kind(self) -> str:
        return "ipip" if self.vxlan is None else "vxlan"


@dataclass(frozen=True, slots=True)
class MakeTunnel:
    """The device alone, up. Refused with EEXIST when there is one of its name, EOPNOTSUPP when the kernel has none."""

    tunnel: TunnelDevice

    def __str__(self) -> str:
        how = self.tunnel.vxlan or self.tunnel.ipip or ""
        return f"link add {self.tunnel.name} type {self.tunnel.kind} {how}".rstrip()


@dataclass(frozen=True, slots=True)
class RemoveTunnel:
    device: str

    def __str__(self) -> str:
        return f"link del {self.device}"


@dataclass(frozen=True, slots=True)
class ChangeTunnel:
    """What can be changed while it lives. ``mac`` "": as it is."""

    device: str
    mtu_bytes: int
    mac: str = ""

    def __str__(self) -> str:
        return f"link set {self.device} mtu {self.mtu_bytes}" + (f" address {self.mac}" if self.mac else "")


@dataclass(frozen=True, slots=True)
class SetEntry:
    """In place of what stands there for the same address or MAC."""

    entry: Entry

    def __str__(self) -> str:
        return f"set {self.entry}"


@dataclass(frozen=True, slots=True)
class DeleteEntry:
    entry: Entry

    def __str__(self) -> str:
        return f"del {self.entry}"


EntryOp = SetEntry | DeleteEntry
TunnelOp = MakeTunnel | RemoveTunnel | ChangeTunnel | EntryOp
