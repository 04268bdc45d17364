"""Ports and protocols of rules, endpoints and settings. Source: Calico validator.go, numorstring."""

from __future__ import annotations

from collections.abc import Iterable

from datastore.validate.checks import QUESTIONS
from datastore.validate.flaw import Flaw

PROTOCOLS = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
_WITH_PORTS: tuple[int | str, ...] = ("TCP", "UDP", "SCTP", "tcp", "udp", "sctp", 6, 17, 132)


def check_port(port: int | str) -> Iterable[Flaw]:
    if is_named(port):
        if not QUESTIONS["portName"](port, ""):
            yield Flaw("PortName", "Reason: failed to validate Field: PortName because of Tag: portName ", port)
        return
    lowest = int(str(port).partition(":")[0])
    if lowest < 1:
        yield Flaw("Port", "port range invalid, port number must be between 1 and 65535", lowest)


def is_named(port: int | str) -> bool:
    return isinstance(port, str) and not port.replace(":", "").isdigit()


def check_protocol(protocol: int | str) -> Iterable[Flaw]:
    if protocol == 0:
        yield Flaw("Protocol", "protocol number invalid", protocol)
    elif isinstance(protocol, str) and protocol not in PROTOCOLS:
        yield Flaw("Protocol", "protocol name invalid", protocol)


def has_ports(protocol: int | str) -> bool:
    return protocol in _WITH_PORTS
