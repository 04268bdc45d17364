"""Tells whoever started the daemon that it is ready: systemd's sd_notify protocol, one datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Nothing happens where nobody asked to be told."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + path[1:] if path.startswith("@") else path)
