"""The door to ExaBGP: bytes of BGP in, values out, and back. Nothing else imports it, nothing else makes or reads BGP.

ExaBGP builds and parses every message of every session here: its Neighbor and Capabilities make the OPEN, its
Negotiated agrees with the peer's, its Message, Update, Attributes and NLRI classes decode what arrives, and its
outgoing RIB groups and packs what leaves. One :class:`Codec` holds these for one TCP connection.

    codec     a connection's messages, both ways        packing   UPDATEs that leave
    opening   the OPEN                                  reading   UPDATEs that came

Around it stand the corrections that a conformance suite asked for (exabgp 5.0.15); each is told where it is made.
"""
# ruff: noqa: E402

from __future__ import annotations

import logging
from typing import Any

from exabgp.logger import log as exabgp_log
from exabgp.util import dns as exabgp_dns

# Importing its capabilities asks the DNS for the host's name: 5 s and more on a node that has none yet.
exabgp_dns.__dict__["__domain_name"] = "localhost"

from bgp.wire.codec import Codec
from bgp.wire.ends import Ends
from bgp.wire.packing import Packer

__all__ = ["Codec", "Ends", "Packer"]

log = logging.getLogger(__name__)


def _redirect_exabgps_log() -> None:
    """ExaBGP formats each message for its own log; only what it calls critical is of use, and goes to ours."""

    def ignore(*_: object, **__: object) -> None:
        return None

    def warn(message: Any, *_: object, **__: object) -> None:
        log.warning("exabgp.critical text=%s", message() if callable(message) else message)

    for level in ("debug", "info", "warning", "error"):
        setattr(exabgp_log, level, staticmethod(ignore))
    for level in ("critical", "fatal"):
        setattr(exabgp_log, level, staticmethod(warn))


_redirect_exabgps_log()
