"""How fast failures are noticed on this machine, from the environment.

    CALICO_BFD_INTERVAL_MS   300   at least so long between two packets, both ways; 10 to 60000
    CALICO_BFD_MULTIPLIER    3     so many may be missing; 1 to 255

More than 100 sessions share what 100 may send (:meth:`bgp.bfd.session.Timing.shared_by`): 500 have 1.5 s between two
packets, and a neighbour is down after 4.5 s. The slower of two neighbours decides for each direction, so one slow
machine may say more alone. A neighbour is down after interval times multiplier: 0.9 s, which leaves the rest of a
second to take its routes out of the kernel. Machines whose hypervisor stops them for long, or with much slower clocks
of their own, want 1000 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgp.bfd.session import Timing

_INTERVAL, _MULTIPLIER = "CALICO_BFD_INTERVAL_MS", "CALICO_BFD_MULTIPLIER"


class BadEnvironment(ValueError):
    """The user's mistake, in words."""


def read(environ: Mapping[str, str]) -> Timing:
    """Raises BadEnvironment."""
    usual = Timing()
    return Timing(
        interval_us=_number(environ, _INTERVAL, usual.interval_us // 1000, 10, 60_000) * 1000,
        detect_mult=_number(environ, _MULTIPLIER, usual.detect_mult, 1, 255),
    )


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise BadEnvironment(f"{name}={text}: must be a number from {least} to {most}")
    return int(text)
