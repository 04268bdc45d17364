"""Where the MTU of a pod, and of a tunnel's device, is chosen. Pure.

    host       the smallest MTU among the uplinks that are up
    tunnel     what the settings say, else the host's less what the tunnel puts around a packet
    pods       the smallest of the tunnels that any pool uses, else the host's: a full packet of a pod then fits
               whichever way it leaves
    a pod      what its CNI configuration says, else the pods'

A pod keeps the MTU that it was born with, so those that have more than is offered now are named (:func:`too_large`).

Source: Calico felix/dataplane/linux (findHostMTU, ConfigureDefaultMTUs, determinePodMTU), felix/calc
(encapsulation_resolver), cni-plugin's mtu.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from datastore.events import Event
from datastore.resource import Key
from datastore.resources import EncapMode, IPPool, WorkloadEndpoint
from felix.fib.model import Link
from felix.reach.local import pod_name
from felix.settings import DEFAULT_UPLINKS, DEFAULTS, Settings
from felix.tunnels import Tunnel

FALLBACK_BYTES = 1460
"""For a host whose uplink has a name that nobody expects."""

SMALLEST_BYTES = 68
"""The kernel takes no smaller one for IPv4."""


def of_host(links: Iterable[Link], uplinks: re.Pattern[str] = DEFAULT_UPLINKS) -> int:
    """An uplink that is down for a moment must not change the MTU of everything, so when none is up all count."""
    found = [link for link in links if uplinks.match(link.name)]
    up = [link for link in found if link.is_up]
    return min((link.mtu_bytes for link in up or found), default=FALLBACK_BYTES)


def of_tunnel(tunnel: Tunnel, host_bytes: int, settings: Settings = DEFAULTS) -> int:
    said = {
        Tunnel.IPIP: settings.ipip_mtu_bytes,
        Tunnel.VXLAN: settings.vxlan_mtu_bytes,
        Tunnel.VXLAN_V6: settings.vxlan_mtu_v6_bytes,
    }
    return said[tunnel] or max(SMALLEST_BYTES, host_bytes - tunnel.overhead_bytes)


def in_use(pools: Iterable[IPPool], settings: Settings) -> frozenset[Tunnel]:
    """The tunnels that packets of pods may take. A disabled pool counts: its pods are still there."""
    forced = {Tunnel.IPIP: settings.ipip_enabled, Tunnel.VXLAN: settings.vxlan_enabled}
    asked = {tunnel for pool in pools for tunnel in Tunnel if tunnel.mode(pool) is not EncapMode.NEVER}
    return frozenset(
        tunnel for tunnel in Tunnel if (tunnel in asked if (force := forced.get(tunnel)) is None else force)
    )


def of_pods(links: Iterable[Link], pools: Iterable[IPPool], settings: Settings) -> int:
    """What the network offers to every new pod."""
    host_bytes = of_host(links, settings.mtu_iface_pattern)
    tunnels = in_use(pools, settings)
    return min((of_tunnel(tunnel, host_bytes, settings) for tunnel in tunnels), default=host_bytes)


def of_pod(asked_bytes: int, offered_bytes: int) -> int:
    """``asked_bytes`` is what the CNI configuration says, or 0."""
    return asked_bytes or offered_bytes


@dataclass(frozen=True, slots=True)
class LargePod:
    """A pod whose full packets do not fit any more. ``str`` is for the log, the event and the status."""

    about: Key
    uid: str
    name: str
    device: str
    mtu_bytes: int
    offered_bytes: int

    def __str__(self) -> str:
        return f"pod {self.name} ({self.device}) has MTU {self.mtu_bytes}, the network offers {self.offered_bytes}"

    def event(self) -> Event:
        remedy = "its TCP connections are clamped; a new pod in its place has the right one"
        return Event(self.about, "MTUTooLarge", f"{self}: {remedy}", self.uid)


def _pod_of(endpoint: WorkloadEndpoint) -> Key:
    return Key("Pod", endpoint.pod or endpoint.container, endpoint.resource.namespace)


def too_large(endpoints: Iterable[WorkloadEndpoint], links: Iterable[Link], offered_bytes: int) -> tuple[LargePod, ...]:
    """The pods of this node with a higher MTU than is offered now, by name. ``links`` must have the pods' devices."""
    sizes = {link.name: link.mtu_bytes for link in links}
    found = [
        LargePod(_pod_of(each), each.resource.uid, pod_name(each), each.device, sizes[each.device], offered_bytes)
        for each in endpoints
        if sizes.get(each.device, 0) > offered_bytes
    ]
    return tuple(sorted(found, key=lambda pod: pod.name))
