"""vxlan: ``10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink``.

The gateway is the address of the peer's own flannel device, the first of its subnet; a permanent neighbour gives it the
MAC that the peer's lease tells, and a permanent forwarding entry finds the MAC at the peer. So nothing is learned and
nothing expires. With DirectRouting a peer on a common link is sent to directly; its entries stand all the same, so that
a route that turns finds them there.

An IPv6 header is 20 bytes longer than an IPv4 one, so what is sent over IPv6 is 70 bytes smaller than the uplink's MTU,
not 50; with IPv6 on pods get the smaller one.

Source: flannel pkg/backend/vxlan; RFC 7348.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from felix.encap import vxlan
from felix.encap.way import NoWay, Way
from felix.fib.model import Address, Desired, Protocol, Route, RouteKey, Why
from felix.fib.tunnel import Entry, TunnelDevice, Vxlan
from felix.ground import Ground
from flannel import go_json
from flannel.backends.backend import Backend, Macs, Me, Refused, Target, Uplink, sort_out
from flannel.go_json import BadDocument
from flannel.lease import Lease
from flannel.marks import vxlan_device
from flannel.netconf import NetConf

TYPE = "vxlan"
DEFAULT_VNI, DEFAULT_PORT = 1, 8472
OVERHEAD_BYTES = {4: 50, 6: 70}
_HIGHEST_VNI, _HIGHEST_PORT = (1 << 24) - 1, (1 << 16) - 1
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Overlay:
    """``base_bytes``: the MTU that the overhead is taken from."""

    uplink: Uplink
    versions: tuple[int, ...]
    base_bytes: int
    vni: int
    port: int
    learns: bool
    has_policies: bool
    is_direct: bool

    def devices(self) -> dict[str, int]:
        """By name, with their MTUs."""
        return {vxlan_device(self.vni, version): self._mtu_of(version) for version in self.versions}

    def data(self, macs: Macs) -> tuple[str, str]:
        texts = {version: self._data_of(macs.get(vxlan_device(self.vni, version), "")) for version in self.versions}
        return texts.get(4, ""), texts.get(6, "")

    def desire(self, me: Me, peers: Sequence[Lease], ground: Ground) -> Desired:
        found = sort_out(me, peers, TYPE)
        pending = dict(found.pending)
        routes: dict[RouteKey, tuple[Route, Why]] = {}
        entries: dict[int, set[Entry]] = {4: set(), 6: set()}
        for target in found.targets:
            mac = vtep_mac(target.data)
            if mac is None:
                pending[target.subnet] = Why(f"the lease of {target.name} tells no VtepMAC: {target.data[:100]!r}")
                continue
            version, device = target.subnet.version, vxlan_device(self.vni, target.subnet.version)
            entries[version].update(vxlan.entries_of(device, target.subnet.network_address, mac, target.node))
            way, how = self._way(target, device, ground)
            route = way.to(target.subnet)
            routes[route.key] = (route, target.why(how))
        tunnels = {version: self._tunnel(me, version, frozenset(entries[version])) for version in self.versions}
        return Desired(
            routes,
            pending,
            sysctls=dict(_sysctls(tunnels.values())),
            tunnels={one.name: (one, Why("this network's backend is vxlan")) for one in tunnels.values()},
        )

    def _way(self, target: Target, device: str, ground: Ground) -> tuple[Way, str]:
        direct = way_on_link(target.node, ground) if self.is_direct else None
        if direct is not None:
            return direct, "direct"
        return vxlan.way_over(device, target.subnet.network_address), TYPE

    def _tunnel(self, me: Me, version: int, entries: frozenset[Entry]) -> TunnelDevice:
        name = vxlan_device(self.vni, version)
        made = Vxlan(self.vni, self.port, self.local(version), self.uplink.device, self.learns, self.has_policies)
        subnet = me.subnets.v4 if version == 4 else me.subnets.v6
        address = None if subnet is None else subnet.network_address
        return TunnelDevice(name, self._mtu_of(version), address, me.macs.get(name, ""), made, entries)

    def local(self, version: int) -> Address:
        """From where packets leave. Raises Refused."""
        address = self.uplink.address if version == 4 else self.uplink.address_v6
        if address is None:
            why = f"{self.uplink.device} has no IPv{version} address to send VXLAN from"
            raise Refused(f"{why}: name another device with --iface")
        return address

    def _mtu_of(self, version: int) -> int:
        return self.base_bytes - OVERHEAD_BYTES[version]

    def _data_of(self, mac: str) -> str:
        return go_json.compact({"VNI": self.vni, "VtepMAC": mac})


def _sysctls(tunnels: Iterable[TunnelDevice]) -> Iterator[tuple[str, tuple[str, Why]]]:
    for tunnel in tunnels:
        yield f"net/ipv6/conf/{tunnel.name}/accept_ra", ("0", Why("no router speaks through a tunnel"))
        loose = Why("packets may come through it that are answered another way")
        yield f"net/ipv4/conf/{tunnel.name}/rp_filter", ("2", loose)


def way_on_link(node: Address, ground: Ground) -> Way | None:
    """Straight to a node on a common link; None where a router is in between, or nothing is known."""
    hops = ground.find(node)
    if isinstance(hops, NoWay) or len(hops) != 1 or hops[0].via != node:
        return None
    return Way(hops, protocol=Protocol.BOOT)


@lru_cache(maxsize=8192)
def vtep_mac(data: str) -> str | None:
    """Of BackendData. Of old leases nothing else is there, of any other fields nothing is looked at."""
    try:
        text = go_json.read(data).text("VtepMAC").lower().replace("-", ":")
    except BadDocument:
        return None
    return text if _MAC.fullmatch(text) else None


def configure(config: NetConf, uplink: Uplink) -> Backend:
    """Raises BadDocument, which names the option, and Refused."""
    options = config.options
    versions = tuple(version for version, is_on in ((4, config.has_ipv4), (6, config.has_ipv6)) if is_on)
    base_bytes = options.count("MTU", 0, most=1 << 16) or uplink.mtu_bytes
    overlay = Overlay(
        uplink=uplink,
        versions=versions,
        base_bytes=base_bytes,
        vni=options.count("VNI", DEFAULT_VNI, most=_HIGHEST_VNI),
        port=options.count("Port", 0, most=_HIGHEST_PORT) or DEFAULT_PORT,
        learns=options.flag("Learning", False),
        has_policies=options.flag("GBP", False),
        is_direct=options.flag("DirectRouting", False),
    )
    for version in versions:
        overlay.local(version)
    devices = overlay.devices()
    return Backend(
        lease_type=TYPE,
        mtu_bytes=min(devices.values()),
        desire=overlay.desire,
        tunnels=devices,
        devices=tuple(devices),
        data=overlay.data,
    )
