"""Which device and address this node talks to the others with: what the flags say, else the default route's. Pure.

An address in --iface means its device; a name means the device; then come the regular expressions, first over all
addresses and then over names; then the device by which --iface-can-reach is reached. With --public-ip alone the device
must carry that address.

Source: flannel pkg/ipmatch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from felix.fib.model import Address, Link
from flannel.backends.backend import Refused, Uplink


@dataclass(frozen=True, slots=True)
class Machine:
    """``addresses``: of each device, usable ones, the one to prefer first. ``defaults``: by IP version, the device of
    the default route. ``source_of``: by which own address each of the asked destinations is reached.
    """

    links: Mapping[str, Link]
    addresses: Mapping[str, Sequence[Address]]
    defaults: Mapping[int, str] = field(default_factory=dict)
    source_of: Mapping[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """``versions``: the families that are on; the rest is the flags'."""

    versions: tuple[int, ...] = (4,)
    ifaces: Sequence[str] = ()
    regexes: Sequence[str] = ()
    can_reach: str = ""
    public: IPv4Address | None = None
    public_v6: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """``told``: the lines that the original logs on its way."""

    uplink: Uplink
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """``address``: one that was asked for by itself, of its family."""

    device: str
    address: Address | None = None


def choose(machine: Machine, wish: Wish) -> Chosen:
    """Raises Refused."""
    told: list[str] = []
    if wish.ifaces or wish.regexes or wish.can_reach:
        found = _by_flags(machine, wish, told)
    elif wish.public is not None or wish.public_v6 is not None:
        found = _by_public(machine, wish)
    else:
        told.append("Determining IP address of default interface")
        found = _by_default_route(machine, wish)
    own = {version: _address(machine, found, version) for version in wish.versions}
    shown = " and ".join(f"address {address}" for address in own.values())
    told.append(f"Using interface with name {found.device} and {shown}")
    uplink = _uplink(machine, found.device, own, wish)
    told += _public_lines(uplink, wish)
    return Chosen(uplink, tuple(told))


def _by_flags(machine: Machine, wish: Wish, told: list[str]) -> _Found:
    for what, find in _attempts(machine, wish):
        if find is not None:
            return find
        told.append(f"Could not find valid interface matching {what}")
    asked = [*wish.ifaces, *wish.regexes, *([wish.can_reach] if wish.can_reach else ())]
    why = "Failed to find interface to use that matches the interfaces and/or regexes provided"
    raise Refused(f"{why} ({', '.join(asked)}); there are {', '.join(sorted(machine.addresses))}")


def _attempts(machine: Machine, wish: Wish) -> Iterator[tuple[str, _Found | None]]:
    for name in wish.ifaces:
        yield name, _by_name(machine, name)
    for pattern in wish.regexes:
        yield pattern, _by_regex(machine, pattern, wish.versions)
    if wish.can_reach:
        source = machine.source_of.get(wish.can_reach)
        yield wish.can_reach, None if source is None else _by_name(machine, str(source))


def _by_name(machine: Machine, text: str) -> _Found | None:
    try:
        address = ip_address(text)
    except ValueError:
        return _Found(text) if text in machine.links else None
    return next((_Found(device, address) for device, has in machine.addresses.items() if address in has), None)


def _by_regex(machine: Machine, pattern: str, versions: Sequence[int]) -> _Found | None:
    """Raises Refused for what is no regular expression."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise Refused(f"--iface-regex {pattern}: {error}") from None
    for device, has in machine.addresses.items():
        matching = [next((one for one in has if one.version == v and regex.search(str(one))), None) for v in versions]
        if all(one is not None for one in matching):
            return _Found(device, matching[0])
    return next((_Found(device) for device in machine.links if regex.search(device)), None)


def _by_public(machine: Machine, wish: Wish) -> _Found:
    wanted = wish.public if wish.public is not None and 4 in wish.versions else wish.public_v6
    found = None if wanted is None else _by_name(machine, str(wanted))
    if found is None:
        why = f"no interface with given IP found: {wanted}"
        raise Refused(f"{why}; behind a NAT name the device with --iface as well")
    return found


def _by_default_route(machine: Machine, wish: Wish) -> _Found:
    devices = {version: machine.defaults.get(version, "") for version in wish.versions}
    for version, device in devices.items():
        if not device:
            raise Refused(
                f"failed to get default v{version} interface: there is no default route; name one with --iface"
            )
    if len(set(devices.values())) > 1:
        what = f"v6 default route interface {devices[6]} must be the same with v4 default route interface {devices[4]}"
        raise Refused(f"{what}; name one with --iface")
    return _Found(devices[wish.versions[0]])


def _address(machine: Machine, found: _Found, version: int) -> Address:
    if found.address is not None and found.address.version == version:
        return found.address
    has = [one for one in machine.addresses.get(found.device, ()) if one.version == version]
    if not has:
        raise Refused(f"failed to find IPv{version} address for interface {found.device}; name another with --iface")
    return has[0]


def _uplink(machine: Machine, device: str, own: Mapping[int, Address], wish: Wish) -> Uplink:
    mtu_bytes = machine.links[device].mtu_bytes
    if not mtu_bytes:
        raise Refused(f"failed to determine MTU for {device} interface")
    v4, v6 = own.get(4), own.get(6)
    return Uplink(
        device,
        mtu_bytes,
        v4 if isinstance(v4, IPv4Address) else None,
        v6 if isinstance(v6, IPv6Address) else None,
        (wish.public or v4) if isinstance(v4, IPv4Address) else None,
        (wish.public_v6 or v6) if isinstance(v6, IPv6Address) else None,
    )


def _public_lines(uplink: Uplink, wish: Wish) -> Iterator[str]:
    pairs = ((wish.public, uplink.address, ""), (wish.public_v6, uplink.address_v6, "v6 "))
    for asked, own, family in pairs:
        if own is not None and asked is not None:
            yield f"Using {asked} as external address"
        elif own is not None:
            yield f"Defaulting external {family}address to interface address ({own})"
