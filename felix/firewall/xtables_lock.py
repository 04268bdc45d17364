"""The lock that all programs take which change legacy iptables.

iptables waits for the lock with ``-w`` or gives up at once; python-iptables does not know it. Imported by each process
that writes, so it imports little.
Source: iptables 1.8, xshared.c (xtables_lock).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from felix.firewall.model import FirewallUnavailable

DEFAULT = Path("/run/xtables.lock")


def lock_path(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XTABLES_LOCKFILE", "") or DEFAULT)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for as long as it takes, and blocks: for a process of its own. Raises FirewallUnavailable."""
    try:
        file = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FirewallUnavailable(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def holder(path: Path) -> str:
    """Who holds the lock now, for a person; "" if nobody, or nobody that can be seen."""
    with suppress(OSError, IndexError, StopIteration):
        inode = f":{path.stat().st_ino}"
        lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        owner = next(words[4] for words in lines if words[1] == "FLOCK" and words[5].endswith(inode))
        return f"process {owner} ({Path('/proc', owner, 'comm').read_text().strip()})"
    return ""
