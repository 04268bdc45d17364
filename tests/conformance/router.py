"""The speaker as anybody would run it, ``calico-node -bgp -config FILE``, at 10.0.0.1; tests' peers are behind a veth.

Nothing of it is looked at but what it sends, what its control socket says and what the kernel's table holds.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.far_side import FarSide, far_side
from tests.lab.namespace import Elsewhere

AS = 65000
ADDRESS = "10.0.0.1"
LONG_ADDRESS = "fd00::1"
PATIENCE_S = 5.0

INTERNAL, EXTERNAL, OBSERVER, CLIENT = "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"
NEAR, SIGNED, RESTARTING, DIALLED = "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"
TIMED = tuple(f"10.0.0.{number}" for number in range(31, 41))
"""For what takes seconds, side by side."""
OTHER_INTERNAL, OTHER_CLIENT, FAR_HOPS, MANY = (f"10.0.0.{number}" for number in range(41, 45))
INSIDE = (INTERNAL, CLIENT, OTHER_INTERNAL, OTHER_CLIENT)
PASSWORD = "opensesame"
BOTH = ["ipv4", "ipv6"]

NEIGHBOURS: tuple[Mapping[str, Any], ...] = (
    {"peerIP": INTERNAL, "asNumber": AS, "families": BOTH, "export": "all"},
    {"peerIP": EXTERNAL, "asNumber": 65003, "families": BOTH},
    {"peerIP": OBSERVER, "asNumber": 65004, "families": BOTH, "export": "all"},
    {"peerIP": CLIENT, "asNumber": AS, "reflectorClient": True, "export": "all"},
    {"peerIP": NEAR, "asNumber": 65006, "ttlSecurity": 1},
    {"peerIP": SIGNED, "asNumber": 65007, "password": PASSWORD},
    {"peerIP": RESTARTING, "asNumber": 65008},
    {"peerIP": OTHER_INTERNAL, "asNumber": AS, "export": "all"},
    {"peerIP": OTHER_CLIENT, "asNumber": AS, "reflectorClient": True, "export": "all"},
    {"peerIP": FAR_HOPS, "asNumber": 65043, "multihop": True, "enforceFirstAS": True},
    {"peerIP": MANY, "asNumber": 65044, "families": BOTH, "export": "all", "addPath": "both"},
    *({"peerIP": address, "asNumber": 65000 + int(address.rpartition(".")[2])} for address in TIMED),
)
CONFIG: Mapping[str, Any] = {
    "asNumber": AS,
    "addresses": [ADDRESS, LONG_ADDRESS],
    "clusterID": "1.0.0.1",
    "restartTime": 3,
    "holdTime": 90,
    "originate": ["192.0.2.0/24"],
    "neighbours": [{"passive": True, **each} for each in NEIGHBOURS],
}


@dataclass
class Router:
    """``config`` is what :meth:`apply` makes the file say."""

    folder: Path
    far: FarSide
    elsewhere: Elsewhere
    config: dict[str, Any] = field(default_factory=lambda: dict(CONFIG))
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self.folder / "speaker.yaml"

    def start(self) -> None:
        self.write()
        with (self.folder / "log").open("ab") as log:
            main = "import sys; from felix.command import main; sys.exit(main())"
            command = [sys.executable, "-c", main, "-bgp", "-config", str(self.file)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers)
        wait_until(self._is_dialled)

    def write(self) -> None:
        folders = {"runFolder": str(self.folder), "stateFolder": str(self.folder)}
        self.file.write_text(json.dumps({**self.config, **folders}))

    def apply(self) -> None:
        self.write()
        self.send(signal.SIGHUP)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return (self.folder / "log").read_text()

    # What it says.

    def ask(self, do: str, **more: Any) -> Any:
        """Raises AssertionError with its words where it refuses."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.folder / "bgp.ctl"))
            sock.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            with sock.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def peer(self, address: str) -> Mapping[str, Any]:
        (found,) = [each for each in self.ask("status")["peers"] if each["peerIP"] == address]
        assert isinstance(found, dict)
        return found

    def state(self, address: str) -> str:
        return str(self.peer(address)["state"])

    def received(self, peer: str, prefix: str) -> str:
        """``accepted``, ``refused: why``, or "" when it has no such route of that peer."""
        found = self.ask("routes", which="received", peer=peer, prefix=prefix)
        return next((each["why"] for each in found if each["prefix"] == prefix), "")

    def best(self, prefix: str) -> Mapping[str, Any]:
        found = self.ask("routes", prefix=prefix)
        return next((each for each in found if each["prefix"] == prefix), {})

    def kernel(self) -> list[str]:
        """What it wrote, as ``ip route`` shows it."""
        long = subprocess.run(["ip", "-6", "route", "show", "proto", "bird"], capture_output=True, text=True).stdout
        short = subprocess.run(["ip", "route", "show", "proto", "bird"], capture_output=True, text=True).stdout
        return [line.strip() for line in (short + long).splitlines()]

    def _answers(self) -> bool:
        assert self.is_alive(), self.log()
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(str(self.folder / "bgp.ctl")) == 0

    def _is_dialled(self) -> bool:
        """It answers on its port too; nobody knows who this is."""
        with socket.socket() as knock:
            return knock.connect_ex((ADDRESS, 179)) == 0


@contextmanager
def running(folder: Path) -> Iterator[Router]:
    with far_side() as far, open(f"/proc/{far.holder.pid}/ns/net") as namespace:
        for address in (*TIMED, OTHER_INTERNAL, OTHER_CLIENT, FAR_HOPS, MANY):
            far.run("ip", "addr", "add", f"{address}/24", "dev", "far")
        router = Router(folder, far, Elsewhere(namespace))
        try:
            router.start()
            yield router
        finally:
            router.end()


def wait_until(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < within_s, "it did not come true"
        time.sleep(0.002)
    return time.monotonic() - begun
