"""alloc: a lease, and nothing else. Somebody else forwards, such as a cloud's own routing table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from felix.fib.model import Desired
from felix.ground import Ground
from flannel.backends.backend import Me, Uplink
from flannel.lease import Lease
from flannel.netconf import NetConf


@dataclass(frozen=True, slots=True)
class AllocBackend:
    uplink: Uplink

    @property
    def lease_type(self) -> str:
        return ""

    @property
    def mtu_bytes(self) -> int:
        return self.uplink.mtu_bytes

    @property
    def devices(self) -> tuple[str, ...]:
        return ()

    def data(self, macs: Mapping[str, str]) -> tuple[str, str]:
        return "", ""

    def desire(self, me: Me, peers: Sequence[Lease], ground: Ground) -> Desired:
        return Desired()


def configure(config: NetConf, uplink: Uplink) -> AllocBackend:
    return AllocBackend(uplink)
