"""What the next process has to know to go on with sessions that are Up: a small file beside the socket.

It is written when a session changes its state, which is rare, and lies on a file system that a reboot clears. A file
that cannot be read is as good as none: sessions then begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from ipaddress import ip_address
from pathlib import Path

from bgp.bfd.session import Memory
from bgp.bfd.watch import Watch

FILE_NAME = "bfd.json"
_VERSION = 1

Memories = Mapping[Watch, Memory | None]


def save(path: Path, memories: Memories) -> None:
    """Raises OSError."""
    sessions = [
        [str(watch.peer), str(watch.local or ""), astuple(memory) if memory is not None else None]
        for watch, memory in memories.items()
    ]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"version": _VERSION, "sessions": sessions}))
    new.replace(path)


def load(path: Path) -> dict[Watch, Memory | None]:
    try:
        raw = json.loads(path.read_text())
        if raw["version"] != _VERSION:
            return {}
        return {
            Watch(ip_address(peer), ip_address(local) if local else None): Memory(*memory) if memory else None
            for peer, local, memory in raw["sessions"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
