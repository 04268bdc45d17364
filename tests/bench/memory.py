"""What a node's daemons take: ``.venv/bin/python -m tests.bench.memory [DATASTORE ...]`` prints a line for each. Root.

A lab of three nodes with ten pods on the first, whose daemons run in the image's environment. Proportional memory
counts a page that several processes share in parts: the nodes of a lab share their programs' files as no two machines
do, so what is resident stands beside it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lab import daemons
from manifests.image import ENVIRONMENT
from tests.bench.node import lab_of
from tests.lab.testbed import Testbed

DATASTORES = ("sqlite", "etcd", "kubernetes")
PODS = 10
QUIET_S = 5.0


def main() -> None:
    variables = {name: value for name, _, value in (word.partition("=") for word in ENVIRONMENT)}
    os.environ.update({**variables, "PATH": os.environ["PATH"]})
    print(f"{'MiB, proportional (resident)':<30} {'felix':>12} {'bgp':>12} {'bfd':>12} {'all':>12}")
    for datastore in sys.argv[1:] or DATASTORES:
        with lab_of(3, datastore=datastore) as bed:
            for number in range(PODS):
                bed.add_pod("node1", f"pod{number}")
            time.sleep(QUIET_S)  # what they took to start and to add pods is given back or is not
            sizes = list(_sizes(bed))
        cells = [*sizes, (sum(pss for pss, _ in sizes), sum(rss for _, rss in sizes))]
        print(f"{datastore:<30}" + "".join(f"{f'{pss:.1f} ({rss:.0f})':>13}" for pss, rss in cells), flush=True)


def _sizes(bed: Testbed) -> Iterator[tuple[float, float]]:
    """Proportional and resident, MiB, of each of node1's daemons."""
    for name in daemons.NAMES:
        process = daemons.running(bed.lab, bed.node("node1"), name)
        assert process is not None, f"{name} does not run"
        yield proportional_mib(process.pid), resident_mib(process.pid)


def proportional_mib(pid: int) -> float:
    return _of(pid, "Pss")


def resident_mib(pid: int) -> float:
    return _of(pid, "Rss")


def _of(pid: int, what: str) -> float:
    found = re.search(rf"^{what}: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
