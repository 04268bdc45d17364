"""Which backends there are. One more is one more file and one more line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flannel.backends import alloc, host_gw, ipip, udp, vxlan
from flannel.backends.backend import Backend, Refused, Uplink
from flannel.netconf import NetConf

_BACKENDS: Mapping[str, Callable[[NetConf, Uplink], Backend]] = {
    "vxlan": vxlan.configure,
    "host-gw": host_gw.configure,
    "udp": udp.configure,
    "ipip": ipip.configure,
    "alloc": alloc.configure,
}
_NOT_HERE = ("wireguard", "ipsec", "extension", "aws-vpc", "gce", "ali-vpc", "tencent-vpc")


def configure(config: NetConf, uplink: Uplink) -> Backend:
    """Raises Refused where there is no such backend or it cannot work here, BadDocument for options."""
    known = ", ".join(_BACKENDS)
    if config.backend in _NOT_HERE:
        raise Refused(f"backend type {config.backend} is the original's alone: set Backend.Type to one of {known}")
    make = _BACKENDS.get(config.backend)
    if make is None:
        raise Refused(f"unknown backend type: {config.backend!r}: set Backend.Type to one of {known}")
    return make(config, uplink)
