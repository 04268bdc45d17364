"""All benchmarks in one run: ``.venv/bin/python -m tests.bench``. Needs root, and a machine that does nothing else.

Each is a module of its own, run after the other in a process of its own; see their docstrings for what is counted.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

BENCHES = (
    "bench_routes",
    "switch",
    "node",
    "memory",
    "plugin",
    "speaker",
    "received",
    "bfd",
    "store",
    "calicoctl",
    "firewall",
    "flannel",
    "flannel_traffic",
    "knb",
    "traffic",
    "large_cluster",
    "real_cluster",
)


def main() -> int:
    load, memory_kib = os.getloadavg()[0], int(Path("/proc/meminfo").read_text().split()[1])
    print(
        f"{os.cpu_count()} cores of {_processor()}, {memory_kib / (1 << 20):.0f} GiB; {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()}; load {load:.1f} at the start",
        flush=True,
    )
    failed = [name for name in BENCHES if _run(name)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return bool(failed)


def _run(name: str) -> int:
    print(f"\n## python -m tests.bench.{name}\n", flush=True)
    return subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
