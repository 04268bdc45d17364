"""Which of the machine's addresses is the node's, by the method that is asked for. Pure.

The rules that keep the choice stable: an address that was chosen once stays while it is on the machine and the method
admits it, so a new device changes nothing; of several new ones the device of the default route comes first, and there
the address that the kernel itself sends from. Bridges, tunnels and pods' devices are never the node's, unless
``interface=`` names one that is not Calico's.

Source: Calico node/pkg/lifecycle/startup/autodetection; upstream takes the first address of the newest device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface, ip_network

from felix.startup.environment import refuse

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

_NEVER = re.compile(
    r"docker|cbr|cali|tunl|flannel|kube-ipvs|cni|vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|wg-v6\.cali|nodelocaldns"
)
"""Their addresses belong to pods, to services or to tunnels."""
_NOT_UNASKED = re.compile(r"dummy|podman|virbr|lxcbr|veth|lo|br-|vxlan")


@dataclass(frozen=True, slots=True)
class Link:
    """``addresses`` in any order."""

    name: str
    index: int
    is_up: bool = True
    addresses: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """``default_devices``: of the default routes, best first. ``sources``: what the kernel sends from, by destination
    (an address or a name); :func:`destinations` says which are needed.
    """

    links: Sequence[Link] = ()
    default_devices: Sequence[str] = ()
    sources: Mapping[str, Address] = field(default_factory=dict)

    @property
    def addresses(self) -> list[Interface]:
        return [address for link in self.links for address in link.addresses]


class Kind(Enum):
    DEFAULT = ""
    FIRST_FOUND = "first-found"
    INTERNAL_IP = "kubernetes-internal-ip"
    CAN_REACH = "can-reach="
    INTERFACE = "interface="
    SKIP_INTERFACE = "skip-interface="
    CIDR = "cidr="


_WORDS = (
    "must be first-found, kubernetes-internal-ip, can-reach=DESTINATION, interface=NAMES, skip-interface=NAMES or "
    "cidr=NETWORKS, names being regular expressions, with commas between"
)
ANYWHERE = {4: "203.0.113.1", 6: "2001:db8::1"}
"""Documentation's addresses: what is sent there takes the default route. Nothing is sent."""


@dataclass(frozen=True, slots=True)
class Method:
    """``values``: what stands behind the equals sign."""

    kind: Kind = Kind.DEFAULT
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind.value}{','.join(self.values)}"


@dataclass(frozen=True, slots=True)
class Found:
    address: Interface
    why: str


class Undetected(Exception):
    """No address fits; the message says what is wrong with each."""


def method_of(variable: str, text: str) -> Method:
    """Raises BadEnvironment."""
    for kind in (Kind.DEFAULT, Kind.FIRST_FOUND, Kind.INTERNAL_IP):
        if text == kind.value:
            return Method(kind)
    for kind in (Kind.CAN_REACH, Kind.INTERFACE, Kind.SKIP_INTERFACE, Kind.CIDR):
        if text.startswith(kind.value):
            values = tuple(each.strip() for each in text.removeprefix(kind.value).split(","))
            _check(kind, values, variable, text)
            return Method(kind, values)
    raise refuse(variable, text, _WORDS)


def _check(kind: Kind, values: tuple[str, ...], variable: str, text: str) -> None:
    readers: Mapping[Kind, Callable[[str], object]] = {Kind.CIDR: _network, Kind.CAN_REACH: str}
    for value in values:
        if not value:
            raise refuse(variable, text, f"something must stand behind {kind.value}")
        try:
            readers.get(kind, re.compile)(value)
        except (ValueError, re.error) as error:
            raise refuse(variable, text, f"{value}: {error}") from None


def _network(text: str) -> object:
    return ip_network(text, strict=False)


def destinations(method: Method, version: int) -> tuple[str, ...]:
    """What :attr:`Machine.sources` must tell."""
    return (*(method.values if method.kind is Kind.CAN_REACH else ()), ANYWHERE[version])


def detect(
    method: Method,
    version: int,
    machine: Machine,
    *,
    internal: Sequence[Address] = (),
    chosen: Interface | None = None,
) -> Found:
    """``internal``: the node's addresses as Kubernetes knows them; ``chosen``: what the node has so far.

    Raises Undetected.
    """
    ours = [address for address in internal if address.version == version]
    if method.kind is Kind.INTERNAL_IP or (method.kind is Kind.DEFAULT and ours):
        return _internal(ours, version, machine)
    if method.kind is Kind.CAN_REACH:
        return _reaching(method.values[0], machine, version)
    candidates, refused = _candidates(method, version, machine)
    if not candidates:
        looked = "; ".join(refused) or "the machine has none"
        raise Undetected(f"no IPv{version} address fits {(method.kind.value and method) or 'first-found'}: {looked}")
    return _kept(candidates, chosen) or _first(candidates, machine, version, method)


def _internal(ours: Sequence[Address], version: int, machine: Machine) -> Found:
    if not ours:
        raise Undetected(f"kubernetes-internal-ip: the Node has no InternalIP of IPv{version}")
    for link in machine.links:
        for address in link.addresses:
            if address.ip == ours[0]:
                return Found(address, f"Kubernetes knows the node by it, and {link.name} has it")
    return Found(ip_interface(ours[0]), "Kubernetes knows the node by it, though no device here has it")


def _reaching(destination: str, machine: Machine, version: int) -> Found:
    source = machine.sources.get(destination)
    if source is None or source.version != version:
        raise Undetected(f"can-reach={destination}: no route leads there, or the name is not known")
    for link in machine.links:
        for address in link.addresses:
            if address.ip == source:
                return Found(address, f"packets to {destination} leave from it, on {link.name}")
    raise Undetected(f"can-reach={destination}: packets leave from {source}, which no device has")


def _candidates(method: Method, version: int, machine: Machine) -> tuple[list[tuple[Link, Interface]], list[str]]:
    """Those that fit, by device, and what is wrong with the other devices."""
    found: list[tuple[Link, Interface]] = []
    refused = []
    for link in sorted(machine.links, key=lambda link: -link.index):
        why = _refusal(method, link)
        fitting = [] if why else [address for address in link.addresses if _fits(method, version, address)]
        found += [(link, address) for address in fitting]
        if not fitting:
            refused.append(f"{link.name} {why or 'has no such address'}")
    return found, refused


def _refusal(method: Method, link: Link) -> str:
    """Why a device cannot be it; "" when it can."""
    if _NEVER.match(link.name):
        return "is never a node's own"
    if method.kind not in (Kind.INTERFACE, Kind.CIDR) and _NOT_UNASKED.match(link.name):
        return "is none unless it is named"
    if not link.is_up:
        return "is down"
    matches = any(re.search(pattern, link.name) for pattern in method.values)
    if method.kind is Kind.INTERFACE and not matches:
        return "has another name"
    return "is skipped" if method.kind is Kind.SKIP_INTERFACE and matches else ""


def _fits(method: Method, version: int, address: Interface) -> bool:
    ip = address.ip
    if ip.version != version or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    return method.kind is not Kind.CIDR or any(ip in ip_network(each, strict=False) for each in method.values)


def _kept(candidates: Sequence[tuple[Link, Interface]], chosen: Interface | None) -> Found | None:
    for link, address in candidates:
        if chosen is not None and address.ip == chosen.ip:
            return Found(address, f"it was chosen before and is still on {link.name}")
    return None


def _first(candidates: Sequence[tuple[Link, Interface]], machine: Machine, version: int, method: Method) -> Found:
    source = machine.sources.get(ANYWHERE[version])
    best, address = min(candidates, key=lambda each: (*_rank(each[0], machine, method), each[1].ip != source, each[1]))
    others = sum(link is best for link, _ in candidates) - 1
    why = f"{best.name} has the default route" if best.name in machine.default_devices else f"on {best.name}"
    if address.ip == source:
        why += ", and packets leave from it"
    elif others:
        why += f", the lowest of {others + 1} there"
    return Found(address, f"{(method.kind.value and method) or 'first-found'}: {why}")


def _rank(link: Link, machine: Machine, method: Method) -> tuple[int, int, int]:
    """Devices of default routes first, then the newest, as upstream. ``interface=`` is in the order of its names."""
    named = [at for at, pattern in enumerate(method.values) if re.search(pattern, link.name)]
    place = named[0] if method.kind is Kind.INTERFACE and named else 0
    devices = list(machine.default_devices)
    return place, devices.index(link.name) if link.name in devices else len(devices), -link.index


def parsed(texts: Sequence[str]) -> Iterator[Address]:
    """Those that are addresses."""
    for text in texts:
        try:
            yield ip_address(text)
        except ValueError:
            continue
