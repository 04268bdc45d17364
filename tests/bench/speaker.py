"""What the speaker costs: ``.venv/bin/python -m tests.bench.speaker`` (as root) prints one table, in about two minutes.

Every speaker is a process of its own in one private network namespace, and so is BIRD 2, which does the same work in
the same run. Times are from session up, or from the last process ready, to the last route in the table.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median
from typing import Any

from tests.lab.namespace import ip, private_network
from tests.unit.bgp.bgp_bytes import (
    EMPTY_PATH,
    FOUR_OCTET,
    IPV4_UNICAST,
    KEEPALIVE,
    LOCAL_PREF,
    ORIGIN,
    attribute,
    capability,
    open_message,
    update,
)

BIRD = "/usr/sbin/bird"
Row = tuple[str, str, str]
DUT = "10.0.1.1"
KEEPALIVE_S = 30.0


def main() -> None:
    machine = f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, Linux {os.uname().release}"
    print(f"{machine}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':<52} {'ours':<34} BIRD 2")
    with private_network(), tempfile.TemporaryDirectory() as folder:
        for number in range(1, 221):
            ip(f"addr add 10.0.1.{number}/32 dev lo")
        ip("route add local 10.0.2.0/23 dev lo")  # whoever binds to one of these has it
        for what, ours, birds in rows(Path(folder)):
            print(f"{what:<52} {ours:<34} {birds}", flush=True)


def rows(folder: Path) -> Iterator[Row]:
    yield start()
    for count in (20_000, 100_000):
        for is_packed in (True, False):
            yield received(folder, count, is_packed=is_packed)
    yield fan_out(1000, 100)
    yield latency(500)
    yield idle(200, 10.0)
    yield idle(500, KEEPALIVE_S)
    yield from reflected(folder, clients=100, routes=10, samples=100)
    yield from mesh(folder, 20)


class OurProcess:
    def __init__(self, stack: ExitStack, **told: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.speaker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        stack.callback(self.end)
        self.say(json.dumps(told))

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def hear(self, what: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if found["what"] == what:
                return found
        raise AssertionError(f"ended before {what}")

    def ask(self) -> dict[str, Any]:
        self.say("cost")
        return self.hear("cost")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class RawPeer:
    """A peer of few words on a blocking socket."""

    def __init__(self, address: str, to: str) -> None:
        self._last = b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((address, 0))
        deadline = time.monotonic() + 10
        while True:
            try:
                self.socket.connect((to, 179))
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        graceful = capability(64, bytes.fromhex("0078000101" + "80"))
        parameters = IPV4_UNICAST + FOUR_OCTET + graceful + capability(6)
        self.socket.sendall(open_message(router_id=address, parameters=parameters) + KEEPALIVE)
        while b"\xff" * 16 + b"\x00\x13\x04" not in self.socket.recv(65536):
            pass

    def receive(self, count: int) -> None:
        """Until so many /26 have come."""
        got = 0
        while got < count:
            got += self.more()

    def more(self) -> int:
        """How many /26 have come, after waiting for anything."""
        data = self._last + self.socket.recv(1 << 20)
        self._last = data[-1:]
        return data.count(b"\x1a\x0a")


def prefix(number: int) -> bytes:
    return bytes((26,)) + struct.pack("!L", 0x0A800000 + number * 64)


def feed(count: int, *, is_packed: bool) -> bytes:
    """``is_packed``: 700 prefixes an UPDATE; else each with attributes of its own."""
    if is_packed:
        attributes = ORIGIN + EMPTY_PATH + next_hop(9) + LOCAL_PREF
        numbers = range(0, count, 700)
        return b"".join(
            update(attributes, b"".join(prefix(n) for n in range(at, min(at + 700, count)))) for at in numbers
        )
    return b"".join(
        update(ORIGIN + EMPTY_PATH + next_hop(number) + LOCAL_PREF, prefix(number)) for number in range(count)
    )


def next_hop(number: int) -> bytes:
    return attribute(3, IPv4Address(0x0A030000 + number % 60_000 + 1).packed)


def start() -> Row:
    with ExitStack() as stack:
        begun = time.monotonic()
        ready = OurProcess(stack, address=DUT, peers=[]).hear("ready")
        return "start to listening; RSS", f"{ready['at'] - begun:.2f} s; {ready['rss_mb']:.0f} MB", ""


def received(folder: Path, count: int, *, is_packed: bool) -> Row:
    what = f"{count:,} prefixes received, {'700 an UPDATE' if is_packed else 'one an UPDATE'}"
    data = feed(count, is_packed=is_packed)
    with ExitStack() as stack:
        ours = OurProcess(stack, address=DUT, peers=[["10.0.1.2", True]], expects=count)
        ours.hear("ready")
        peer = RawPeer("10.0.1.2", DUT)
        begun = time.monotonic()
        peer.socket.sendall(data)
        done = ours.hear("complete")
        seconds = done["at"] - begun
        mine = f"{seconds:.2f} s {count / seconds:,.0f}/s {done['rss_mb']:.0f} MB"
    return what, mine, _bird_receives(folder, data, count)


def _bird_receives(folder: Path, data: bytes, count: int) -> str:
    with bird(folder / "receiver", DUT, [("10.0.1.2", "passive;")]) as receiver:
        peer = RawPeer("10.0.1.2", DUT)
        begun = time.monotonic()
        peer.socket.sendall(data)
        while not receiver.has(count):
            time.sleep(0.005)
        seconds = time.monotonic() - begun
        return f"{seconds:.2f} s {count / seconds:,.0f}/s"


def fan_out(count: int, peers: int) -> Row:
    addresses = [f"10.0.1.{number}" for number in range(2, 2 + peers)]
    with ExitStack() as stack:
        ours = OurProcess(stack, address=DUT, peers=[[address, True] for address in addresses])
        ours.hear("ready")
        raw = [RawPeer(address, DUT) for address in addresses]
        before = ours.ask()["cpu_s"]
        begun = time.monotonic()
        ours.say("announce " + " ".join(f"10.{128 + n // 1024}.{n // 4 % 256}.{n % 4 * 64}/26" for n in range(count)))
        for peer in raw:
            peer.receive(count)
        seconds = time.monotonic() - begun
        after = ours.ask()
        mine = f"{seconds:.2f} s, CPU {after['cpu_s'] - before:.2f} s, {after['rss_mb']:.0f} MB"
        return f"{count:,} routes to {peers} peers", mine, ""


def latency(samples: int) -> Row:
    with ExitStack() as stack:
        one = OurProcess(stack, address="10.0.1.1", peers=[["10.0.1.2", True]])
        two = OurProcess(stack, address="10.0.1.2", peers=[["10.0.1.1", False]], echo=True)
        one.hear("ready")
        _await_up([one, two])
        took = []
        for number in range(samples):
            dst = f"10.128.{number // 4}.{number % 4 * 64}/26" if number < 1024 else ""
            begun = time.monotonic()
            one.say(f"announce {dst}")
            took.append(two.hear("routes")["at"] - begun)
        took.sort()
        figures = f"p50 {median(took) * 1e3:.2f}, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms"
        return "announce, from the command to the other's table", figures, ""


def idle(peers: int, seconds: float) -> Row:
    """Of which each says that it is alive as often as one with a hold time of 90 s does, one after the other."""
    addresses = many(peers)
    with ExitStack() as stack:
        ours = OurProcess(stack, address=DUT, peers=[[address, True] for address in addresses])
        ours.hear("ready")
        raw = [RawPeer(address, DUT) for address in addresses]
        for number, peer in enumerate(raw):
            peer.socket.sendall(update(ORIGIN + EMPTY_PATH + next_hop(number) + LOCAL_PREF, prefix(number)))
        time.sleep(1)
        before = ours.ask()
        for peer in raw[: round(peers * seconds / KEEPALIVE_S)]:
            time.sleep(KEEPALIVE_S / peers)
            peer.socket.sendall(KEEPALIVE)
        after = ours.ask()
        assert after["up"] == peers
        share = (after["cpu_s"] - before["cpu_s"]) / seconds
        return f"idle with {peers} peers", f"CPU {share:.2%}, {after['rss_mb']:.0f} MB", ""


def reflected(folder: Path, *, clients: int, routes: int, samples: int) -> Iterator[Row]:
    addresses = many(clients)
    with ExitStack() as stack:
        ours = OurProcess(stack, address=DUT, peers=[[address, True] for address in addresses], reflects=True)
        ours.hear("ready")
        mine = _reflected_by(addresses, routes, samples)
        mine[0] += f", {ours.ask()['rss_mb']:.0f} MB"
    theirs = "rr client; passive;"
    with bird(folder / "reflector", DUT, [(each, theirs) for each in addresses], exports="all") as reflector:
        birds = _reflected_by(addresses, routes, samples)
        birds[0] += f", {reflector.rss_mb():.0f} MB"
    yield f"reflector, {clients} clients x {routes}: to all routes at all", mine[0], birds[0]
    yield "  one more, from a client to each other", mine[1], birds[1]


def _reflected_by(addresses: Sequence[str], routes: int, samples: int) -> list[str]:
    """How long until each client has the routes of all others, and then until one more of one is at each other."""
    peers = [RawPeer(address, DUT) for address in addresses]
    begun = time.monotonic()
    for number, peer in enumerate(peers):
        peer.socket.sendall(_of_client(number, range(number * routes, (number + 1) * routes)))
    for peer in peers:
        peer.receive((len(peers) - 1) * routes)
    seconds = time.monotonic() - begun
    took: list[float] = []
    for sample in range(samples):
        sender, number = sample % len(peers), len(peers) * routes + sample
        others = {peer.socket: peer for at, peer in enumerate(peers) if at != sender}
        sent = time.monotonic()
        peers[sender].socket.sendall(_of_client(sender, [number]))
        while others:
            for each in select.select(list(others), [], [])[0]:
                if others[each].more():
                    took.append(time.monotonic() - sent)
                    del others[each]
    took.sort()
    return [f"{seconds:.2f} s", f"p50 {median(took) * 1e3:.1f}, p99 {took[len(took) * 99 // 100] * 1e3:.1f} ms"]


def _of_client(number: int, prefixes: Sequence[int]) -> bytes:
    return update(ORIGIN + EMPTY_PATH + next_hop(number) + LOCAL_PREF, b"".join(map(prefix, prefixes)))


def many(count: int) -> list[str]:
    """Addresses of peers."""
    return [str(IPv4Address("10.0.2.1") + number) for number in range(count)]


def mesh(folder: Path, nodes: int) -> Iterator[Row]:
    addresses = [f"10.0.1.{number}" for number in range(1, nodes + 1)]
    wanted = 2 * (nodes - 1)
    with ExitStack() as stack:
        begun = time.monotonic()
        ours = [
            OurProcess(
                stack,
                address=address,
                peers=[[peer, peer > address] for peer in addresses if peer != address],
                exports=[f"10.128.{number}.0/26", f"10.128.{number}.64/26"],
                expects=wanted,
            )
            for number, address in enumerate(addresses)
        ]
        ready = max(each.hear("ready")["at"] for each in ours)
        complete = max(each.hear("complete")["at"] for each in ours)
        costs = [each.ask() for each in ours]
        rss = sum(each["rss_mb"] for each in costs) / nodes
        cpu = sum(each["cpu_s"] for each in costs)
    from_start, bird_rss = _bird_mesh(folder, addresses, wanted)
    yield f"{nodes}-node mesh: last ready to all routes", f"{complete - ready:.2f} s", ""
    yield f"{nodes}-node mesh: first start to all routes", f"{complete - begun:.2f} s", f"{from_start:.2f} s"
    yield f"{nodes}-node mesh: a node", f"{rss:.0f} MB, CPU {cpu / nodes:.2f} s", f"{bird_rss:.0f} MB"


def _bird_mesh(folder: Path, addresses: Sequence[str], wanted: int) -> tuple[float, float]:
    with ExitStack() as stack:
        begun = time.monotonic()
        birds = []
        for number, address in enumerate(addresses):
            blocks = " ".join(f"route 10.128.{number}.{low}/26 blackhole;" for low in (0, 64))
            peers = [(peer, "passive;" if peer > address else "") for peer in addresses if peer != address]
            static = f"protocol static {{ ipv4; {blocks} }}"
            birds.append(stack.enter_context(bird(folder / address, address, peers, static)))
        left = list(birds)
        while left:
            left = [each for each in left if not each.has(wanted + 2)]
        return time.monotonic() - begun, sum(each.rss_mb() for each in birds) / len(birds)


@dataclass
class Bird:
    process: subprocess.Popen[bytes]
    control: Path

    def has(self, routes: int) -> bool:
        command = [f"{BIRD}c", "-s", str(self.control), "show", "route", "count"]
        return f"{routes} of {routes} routes" in subprocess.run(command, capture_output=True, text=True).stdout

    def rss_mb(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


PROTOCOL = """
protocol bgp p{number} {{
  local {address} as 64512; neighbor {peer} as 64512; multihop; strict bind yes; {role}
  connect delay time 2; connect retry time 5; graceful restart on;
  ipv4 {{ import all; export {exports}; }};
}}
"""
"""With upstream's timers."""


@contextmanager
def bird(
    folder: Path,
    address: str,
    peers: Sequence[tuple[str, str]],
    more: str = "",
    *,
    exports: str = "where source = RTS_STATIC",
) -> Iterator[Bird]:
    """``peers``: (address, "passive;" or "")."""
    folder.mkdir(exist_ok=True)
    protocols = "".join(
        PROTOCOL.format(number=number, address=address, peer=peer, role=role, exports=exports)
        for number, (peer, role) in enumerate(peers)
    )
    (folder / "bird.conf").write_text(f"router id {address};\nprotocol device {{ }}\n{more}\n{protocols}")
    command = [BIRD, "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.ctl")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield Bird(process, folder / "bird.ctl")
    finally:
        process.kill()
        process.wait()


def _await_up(processes: Sequence[OurProcess]) -> None:
    deadline = time.monotonic() + 10
    while not all(each.ask()["up"] for each in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


if __name__ == "__main__":
    main()
