"""What watching neighbours costs: ``.venv/bin/python -m tests.bench.bfd`` (as root) prints one table in a minute.

One process of ours has sessions with BIRD 2's BFD in another namespace, at 300 ms in each direction, over one veth.
Processor time is what the kernel counted for the process over 20 s in which nothing changed. How soon a dead neighbour
is noticed is counted from the death of BIRD's process to the word on the socket.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.bfd import Bfd, bfd_process, is_down
from tests.interop.bfd_daemons import BIRD
from tests.interop.far_side import FarSide, far_side
from tests.lab.namespace import ip, private_network

OBSERVED_S = 20.0
_NEIGHBOUR = 'neighbor 10.1.1.{number} dev "far" local 10.1.2.{number};'
_BIRD = """
router id 10.0.0.2;
protocol device {{ }}
protocol bfd {{ interface "*" {{ interval 300 ms; multiplier 3; }}; {neighbours} }}
"""


def main() -> None:
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':<44} {'ours':<28} BIRD 2")
    print(f"{'from start to socket, the least of 5':<44} {_start()}")
    for count in (1, 100, 200):
        with sessions(count) as (ours, bird):
            print(f"{f'{count} sessions at 300 ms: processor':<44} {_cpu(ours):<28} {_cpu(bird)}")
            print(f"{f'{count} sessions: memory':<44} {_memory(ours):<28} {_memory(bird)}", flush=True)
    print(f"{'a dead neighbour is noticed after':<44} {_notice()}")


@contextmanager
def sessions(count: int) -> Iterator[tuple[int, int]]:
    """The numbers of our process and BIRD's, once all are up."""
    with far_side() as far, tempfile.TemporaryDirectory() as name, bfd_process(Path(name)) as ours:
        bird = _join(far, Path(name), ours, count)
        assert ours.process is not None
        yield ours.process.pid, bird.pid


def _join(far: FarSide, folder: Path, ours: Bfd, count: int) -> subprocess.Popen[bytes]:
    numbers = range(1, count + 1)
    for number in numbers:
        ip(f"addr add 10.1.1.{number}/16 dev near")
        far.run("ip", "addr", "add", f"10.1.2.{number}/16", "dev", "far")
    configuration = folder / "bird.conf"
    configuration.write_text(_BIRD.format(neighbours=" ".join(_NEIGHBOUR.format(number=each) for each in numbers)))
    command = [BIRD, "-f", "-c", str(configuration), "-s", str(folder / "bird.ctl")]
    bird = far.start(command, log=folder / "bird.log")
    ours.watch(*((f"10.1.2.{number}", f"10.1.1.{number}") for number in numbers))
    for number in numbers:
        ours.until_up(f"10.1.2.{number}")
    time.sleep(3)  # until the slow start's polls are over on all
    return bird


def _start() -> str:
    found = []
    for _ in range(5):
        begun = time.monotonic()
        with private_network(), tempfile.TemporaryDirectory() as name, bfd_process(Path(name)):
            found.append(time.monotonic() - begun)
    return f"{min(found) * 1000:.0f} ms"


def _cpu(pid: int) -> str:
    before = _ticks(pid)
    time.sleep(OBSERVED_S)
    used = (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK")
    return f"{100 * used / OBSERVED_S:.1f} % of a core"


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _memory(pid: int) -> str:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return f"RSS {sizes['Rss']:.1f} MiB, own {sizes['Private_Dirty'] + sizes['Private_Clean']:.1f}"


def _notice() -> str:
    found = []
    for _ in range(5):
        with far_side() as far, tempfile.TemporaryDirectory() as name, bfd_process(Path(name)) as ours:
            bird = _join(far, Path(name), ours, 1)
            died = time.monotonic()
            bird.send_signal(signal.SIGKILL)
            found.append(ours.until("10.1.2.1", is_down) - died)
    return ", ".join(f"{each:.2f}" for each in sorted(found)) + " s"


if __name__ == "__main__":
    main()
