"""Reverse path filtering of devices that are not ours: strict (1) becomes loose (2), anything else stays as it is.

Linux takes the greater of a device's value and that of ``all``: with 2 a device is loose whatever ``all`` says, with 0
it does as ``all`` does. Source: the kernel's ip-sysctl.rst.
"""

from __future__ import annotations

from collections.abc import Iterator

from felix.fib.model import Actual, Desired, Why, WriteSysctl

PATH = "net/ipv4/conf/{}/rp_filter"
_STRICT, _LOOSE = "1", "2"


def paths(desired: Desired) -> set[str]:
    """What has to be known to judge."""
    return {PATH.format(device) for device in (*desired.lenient, "all")} if desired.lenient else set()


def writes(desired: Desired, actual: Actual) -> Iterator[WriteSysctl]:
    everywhere = actual.sysctls.get(PATH.format("all"))
    for device in sorted(desired.lenient):
        own = actual.sysctls.get(PATH.format(device))
        if own is not None and max(own, everywhere or own) == _STRICT:
            yield WriteSysctl(PATH.format(device), _LOOSE)


def why(desired: Desired, path: str) -> Why | None:
    return next((why for device, why in desired.lenient.items() if PATH.format(device) == path), None)
