"""What a process takes of its machine, as every client library of Prometheus exports it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from datastore.monitoring.exposition import Family, Type, one


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    resident_bytes: int
    virtual_bytes: int
    open_files: int
    started_wall_s: float


def families(usage: Usage) -> Iterator[Family]:
    yield one("process_cpu_seconds_total", Type.COUNTER, "User and system time in seconds.", usage.cpu_s)
    yield one("process_resident_memory_bytes", Type.GAUGE, "Resident memory size in bytes.", usage.resident_bytes)
    yield one("process_virtual_memory_bytes", Type.GAUGE, "Virtual memory size in bytes.", usage.virtual_bytes)
    yield one("process_open_fds", Type.GAUGE, "Number of open file descriptors.", usage.open_files)
    yield one("process_start_time_seconds", Type.GAUGE, "Start time since 1970 in seconds.", usage.started_wall_s)
