"""A second network behind a veth, where other BGP speakers run as neighbours of ours.

The test's own thread is in a namespace of its own too, so that port 179 is free in both. Ours is 10.0.0.1, the far
side 10.0.0.2 and up; fd00::1, fd00::2 and up are the same in IPv6. Everything ends with the block.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.namespace import ip, private_network

FAR_ADDRESSES = 8


@dataclass
class FarSide:
    """``holder``: the process that keeps the namespace alive."""

    holder: subprocess.Popen[bytes]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(self._inside(command), stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def run(self, *command: str) -> str:
        return subprocess.run(self._inside(command), check=True, capture_output=True, text=True).stdout

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--", *command]


@contextmanager
def far_side() -> Iterator[FarSide]:
    with private_network():
        holder = subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"])
        far = FarSide(holder)
        try:
            _wait_for_its_own_network(holder)
            ip(f"link add near type veth peer name far netns {holder.pid}")
            ip("addr add 10.0.0.1/24 dev near")
            ip("addr add fd00::1/64 dev near nodad")
            ip("link set near up")
            for number in range(2, 2 + FAR_ADDRESSES):
                far.run("ip", "addr", "add", f"10.0.0.{number}/24", "dev", "far")
                far.run("ip", "addr", "add", f"fd00::{number}/64", "dev", "far", "nodad")
            far.run("ip", "link", "set", "lo", "up")
            far.run("ip", "link", "set", "far", "up")
            yield far
        finally:
            for process in [*far.running, holder]:
                process.kill()
                process.wait()


def _wait_for_its_own_network(holder: subprocess.Popen[bytes]) -> None:
    """unshare has done its part when it has become what it starts."""
    ours = Path("/proc/thread-self/ns/net").readlink()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{holder.pid}/ns/net").readlink() == ours:
        assert time.monotonic() < deadline, "no network namespace"
        time.sleep(0.001)
