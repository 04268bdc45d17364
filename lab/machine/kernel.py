"""Which kernel we stand on: a machine that we booted, and whether it has the ipip driver."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab import namespaces


def is_booted_by_us() -> bool:
    return "User Mode Linux" in Path("/proc/cpuinfo").read_text()


def has_ipip() -> bool:
    """Whether this kernel makes an ipip device, in a network namespace that is gone afterwards.

    False also without root and without the program ip.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    link = "link add probe type ipip local 127.0.0.1 remote 127.0.0.2"
    made = subprocess.run(["ip", *link.split()], capture_output=True, preexec_fn=namespaces.unshare_net, check=False)
    return made.returncode == 0
