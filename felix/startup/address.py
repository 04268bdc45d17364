"""The node's address of one family: told by $IP and $IP6, kept, or detected. Pure.

Source: Calico node/pkg/lifecycle/startup/startup.go (configureIPsAndSubnets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface

from felix.startup.detect import Address, Interface, Machine, Undetected, detect, method_of
from felix.startup.environment import BadEnvironment, Environ, refuse

VARIABLES = {4: "IP", 6: "IP6"}
_BELONGS = {4: "an IPv6 address belongs into IP6", 6: "an IPv4 address belongs into IP"}


@dataclass(frozen=True, slots=True)
class Choice:
    """``why`` in words for the log; "" where there is nothing to say."""

    address: Interface | None
    why: str = ""


def method_variable(version: int) -> str:
    return f"{VARIABLES[version]}_AUTODETECTION_METHOD"


def choose(
    environ: Environ,
    version: int,
    machine: Machine,
    *,
    known: Interface | None,
    internal: Sequence[Address] = (),
) -> Choice:
    """``known``: the node's address so far. Raises BadEnvironment."""
    variable = VARIABLES[version]
    text = environ.get(variable, "").strip()
    if text.lower() == "none":
        return Choice(known, f"{variable}=none: {known} stays" if known else "")
    if text.lower() == "autodetect" or (not text and version == 4 and known is None):
        return _detected(environ, version, machine, known=known, internal=internal)
    if not text:
        return Choice(known, f"the node has it, and {variable} says nothing" if known else "")
    return _given(text, version, machine)


def _detected(
    environ: Environ, version: int, machine: Machine, *, known: Interface | None, internal: Sequence[Address]
) -> Choice:
    variable = method_variable(version)
    method = method_of(variable, environ.get(variable, "").strip())
    try:
        found = detect(method, version, machine, internal=internal, chosen=known)
    except Undetected as error:
        if known is not None:
            return Choice(known, f"kept, because none could be detected: {error}")
        told = f"{VARIABLES[version]}={environ.get(VARIABLES[version], '')}"
        raise BadEnvironment(f"{told}: failed to autodetect an IPv{version} address: {error}") from None
    return Choice(found.address, found.why)


def _given(text: str, version: int, machine: Machine) -> Choice:
    variable = VARIABLES[version]
    try:
        given = ip_interface(text)
    except ValueError as error:
        what = f"must be autodetect, none, or an IPv{version} address with or without its prefix length: {error}"
        raise refuse(variable, text, what) from None
    if given.version != version:
        raise refuse(variable, text, f"must be an IPv{version} address; {_BELONGS[version]}")
    held = [address for address in machine.addresses if address.ip == given.ip]
    if "/" not in text and held:
        return Choice(held[0], f"{variable} says so")
    return Choice(given, f"{variable} says so" + ("" if held else ", though no device here has it"))
