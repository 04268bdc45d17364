"""What this process takes of its machine, from /proc. Source: proc(5), /proc/PID/stat."""

from __future__ import annotations

import os
from pathlib import Path

from datastore.monitoring.usage import Usage

_UTIME, _STIME, _START, _VIRTUAL, _RESIDENT = 11, 12, 19, 20, 21
"""Fields of /proc/PID/stat, counted behind the name."""


def read(folder: Path = Path("/proc")) -> Usage | None:
    """None where there is no /proc to read."""
    try:
        fields = (folder / "self" / "stat").read_text().rpartition(")")[2].split()
        booted_s = _booted_wall_s((folder / "stat").read_text())
        open_files = len(os.listdir(folder / "self" / "fd"))  # noqa: PTH208
    except OSError:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    return Usage(
        cpu_s=(int(fields[_UTIME]) + int(fields[_STIME])) / ticks,
        resident_bytes=int(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE"),
        virtual_bytes=int(fields[_VIRTUAL]),
        open_files=open_files,
        started_wall_s=booted_s + int(fields[_START]) / ticks,
    )


def _booted_wall_s(text: str) -> float:
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith("btime ")), 0.0)
