"""What keeps this process on time while others are busy: real-time scheduling, or the best that is allowed.

A process with SCHED_FIFO runs as soon as it has something to do. Where the kernel refuses it (no CAP_SYS_NICE, or a
cgroup without a real-time budget) nice -20 is next: such a process still gets its turn within milliseconds. Which of
them it became is said, never assumed. A real-time process that spins would take the machine with it, so the kernel ends
one that computes for a second without once waiting.

Source: Linux sched(7), setrlimit(2).
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

FIFO_PRIORITY = 50
_SPIN_LIMIT_US = 1_000_000


def take() -> str:
    """What was had, in words for the log: never an error, since BFD works without."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (_SPIN_LIMIT_US, _SPIN_LIMIT_US))
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError as error:
        return _nice(f"SCHED_FIFO: {error.strerror}")
    return f"SCHED_FIFO {FIFO_PRIORITY}"


def _nice(refused: str) -> str:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError as error:
        return f"none ({refused}; nice -20: {error.strerror})"
    return f"nice -20 ({refused})"
