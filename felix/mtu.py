"""Where a pod's MTU is chosen. Pure.

What the CNI configuration says wins; else the smallest MTU among the host's uplinks that are up, so that a full packet
of a pod fits whichever way it leaves.
Source: Calico felix/dataplane/linux (mtuIfacePattern), cni-plugin's mtu.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from felix.fib.model import Link
from felix.tunnels import Tunnel

UPLINKS = re.compile(r"^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)")
FALLBACK_BYTES = 1460
"""For a host whose uplink has a name that nobody expects."""


def of_pod(asked_bytes: int, host_bytes: int) -> int:
    return asked_bytes or host_bytes


def of_host(links: Iterable[Link]) -> int:
    return min((link.mtu_bytes for link in links if link.is_up and UPLINKS.match(link.name)), default=FALLBACK_BYTES)


def of_tunnel(tunnel: Tunnel, host_bytes: int) -> int:
    return host_bytes - tunnel.overhead_bytes
