"""BIRD's and FRR's BFD as the other end: Debian's programs with nothing but BFD configured."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.far_side import FarSide

BIRD, BFDD = "/usr/sbin/bird", "/usr/lib/frr/bfdd"

_BIRD = """
log "{log}" all;
router id 10.0.0.2;
protocol device {{ }}
protocol bfd {{
  debug {{ states, events }};
  interface "*" {{ min rx interval {interval} ms; min tx interval {interval} ms; multiplier {multiplier}; }};
  neighbor 10.0.0.1 dev "far" local 10.0.0.2;
  neighbor fd00::1 dev "far" local fd00::2;
}}
"""
_PEER = """
 peer {peer} local-address {local} interface far
  receive-interval {interval}
  transmit-interval {interval}
  detect-multiplier {multiplier}
 exit
"""


@dataclass
class BirdBfd:
    far: FarSide
    folder: Path
    interval_ms: int = 300
    multiplier: int = 3
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._write()
        command = [BIRD, "-f", "-c", str(self.folder / "bird.conf"), "-s", str(self.folder / "bird.ctl")]
        self.process = self.far.start(command, log=self.folder / "bird.out")

    def configure(self, interval_ms: int) -> None:
        self.interval_ms = interval_ms
        self._write()
        self._ask("configure")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def shut(self) -> None:
        """BIRD has no word for AdminDown but the end of its protocol."""
        self._ask("disable", "bfd1")

    def state_of(self, peer: str) -> str:
        """``Up 0.300 0.900``: the state, the interval and the timeout that BIRD uses."""
        for line in self._ask("show", "bfd", "sessions").splitlines():
            words = line.split()
            if words and words[0] == peer:
                return f"{words[2]} {float(words[-2]):.3f} {float(words[-1]):.3f}"
        return ""

    def _write(self) -> None:
        text = _BIRD.format(log=self.folder / "bird.log", interval=self.interval_ms, multiplier=self.multiplier)
        (self.folder / "bird.conf").write_text(text)

    def _ask(self, *words: str) -> str:
        command = [f"{BIRD}c", "-s", str(self.folder / "bird.ctl"), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout


@dataclass
class FrrBfd:
    far: FarSide
    folder: Path
    interval_ms: int = 300
    multiplier: int = 3
    process: subprocess.Popen[bytes] | None = None

    def start(self, pairs: Sequence[tuple[str, str]] = (("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2"))) -> None:
        peers = "".join(
            _PEER.format(peer=peer, local=local, interval=self.interval_ms, multiplier=self.multiplier)
            for peer, local in pairs
        )
        run = self._program
        zebra = ["-i", str(self.folder / "zebra.pid"), "-z", str(self.folder / "zserv.api")]
        run("/usr/lib/frr/zebra", "zebra", "", *zebra)
        _wait_for(self.folder / "zserv.api")  # else bfdd knows no interface for its next ten seconds
        words = ["-i", str(self.folder / "bfdd.pid"), "-z", str(self.folder / "zserv.api")]
        self.process = run(BFDD, "bfdd", f"bfd{peers}!\n", *words, "--bfdctl", str(self.folder / "bfdd.sock"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def state_of(self, peer: str) -> dict[str, Any]:
        try:
            found: list[dict[str, Any]] = json.loads(self.ask("show bfd peers json"))
        except ValueError:
            return {}
        return next((each for each in found if each.get("peer") == peer), {})

    def ask(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        command = ["vtysh", "--vty_socket", str(self.folder), "-d", "bfdd", *words]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def _program(self, program: str, name: str, text: str, *words: str) -> subprocess.Popen[bytes]:
        configuration = self.folder / f"{name}.conf"
        configuration.write_text(text)
        command = [program, *words, "-f", str(configuration), "--vty_socket", str(self.folder), "-P", "0"]
        return self.far.start([*command, "--log", "stdout"], log=self.folder / f"{name}.log")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.01)
