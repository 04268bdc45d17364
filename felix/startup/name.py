"""What this node is called: $NODENAME, the file that an earlier start-up wrote, $HOSTNAME, or the host's own name."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

NODENAME_FILE = Path("/var/lib/calico/nodename")


def node_name(environ: Mapping[str, str]) -> str:
    remembered = NODENAME_FILE.read_text() if NODENAME_FILE.exists() else ""
    return choose(environ, remembered=remembered, hostname=socket.gethostname())


def choose(environ: Mapping[str, str], *, remembered: str, hostname: str) -> str:
    """``remembered`` is the file's content. A name given by hand is taken as it is, the host's in lower case."""
    given = environ.get("NODENAME", "").strip() or remembered.strip() or environ.get("HOSTNAME", "").strip()
    return given or hostname.lower()


def remember(name: str) -> None:
    NODENAME_FILE.parent.mkdir(parents=True, exist_ok=True)
    NODENAME_FILE.write_text(name)
