"""The file of :mod:`flannel.subnet_env`: replaced as a whole, so that nobody ever reads half of it.

Mode 0644 whatever the umask is: others than root read it. Its folder is on a file system that a boot empties.
"""

from __future__ import annotations

import os
from pathlib import Path

from flannel.subnet_env import SubnetEnv, read

FILE = Path("/run/flannel/subnet.env")


def write(path: Path, env: SubnetEnv) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w") as file:
        file.write(env.text())
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    fresh.replace(path)


def previous(path: Path) -> SubnetEnv:
    """What an earlier daemon wrote; nothing known where there is no file, or none that can be read."""
    try:
        return read(path.read_text())
    except (OSError, UnicodeDecodeError):
        return SubnetEnv()
