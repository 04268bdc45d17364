"""Routes that a neighbour sends → the kernel's table: ``.venv/bin/python -m tests.bench.received`` (as root).

Our speaker alone, BIRD 2, and FRR's bgpd with zebra, each in a network namespace of its own, take the same bytes from
the same peer. Times are from the first byte that is sent to the kernel's word of the last route.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from felix.fib import rtmsg
from tests.bench.memory import resident_mib
from tests.bench.speaker import BIRD, DUT, RawPeer, prefix
from tests.lab.namespace import ip, private_network
from tests.unit.bgp.bgp_bytes import EMPTY_PATH, LOCAL_PREF, ORIGIN, attribute, update

PEER = "10.9.0.2"
GATEWAYS = 500
CASES = ((2_000, True), (20_000, True), (20_000, False), (100_000, True))
RUNS = 3
FRR = Path("/usr/lib/frr")

Speaker = Callable[[Path], list[list[str]]]
"""The commands that start it, from a folder to keep its files in."""


def main() -> None:
    machine = f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, Linux {os.uname().release}"
    print(f"{machine}; load {os.getloadavg()[0]:.1f}")
    speakers: dict[str, Speaker] = {"ours": ours, "BIRD 2": bird, "FRR": frr}
    print(f"{'received to kernel: best, worst; processor':<54}" + "".join(f"{name:>34}" for name in speakers))
    for count, is_packed in CASES:
        what = f"{count:,} routes, {'700 an UPDATE' if is_packed else 'each with attributes of its own'}"
        data = feed(count, is_packed=is_packed)
        cells = [_best(speaker, data, count) for speaker in speakers.values()]
        print(f"{what:<54}" + "".join(f"{cell:>34}" for cell in cells), flush=True)


def _best(speaker: Speaker, data: bytes, count: int) -> str:
    try:
        runs = [measured(speaker, data, count) for _ in range(RUNS)]
    except FileNotFoundError:
        return "not installed"
    took = [seconds for seconds, _, _ in runs]
    cpu_s, rss_mib = min(cpu for _, cpu, _ in runs), min(rss for _, _, rss in runs)
    return f"{min(took):.2f}, {max(took):.2f} s; {cpu_s:.2f} s, {rss_mib:.0f} MiB"


def feed(count: int, *, is_packed: bool) -> bytes:
    """UPDATEs: of 700 prefixes of one gateway, or one each of 500 gateways with a MED that nobody else has."""
    if not is_packed:
        return b"".join(update(_attributes(n) + _med(n), prefix(n)) for n in range(count))
    return b"".join(
        update(_attributes(at // 700), b"".join(prefix(n) for n in range(at, min(at + 700, count))))
        for at in range(0, count, 700)
    )


def _attributes(number: int) -> bytes:
    gateway = IPv4Address(0x0A000200 + number % GATEWAYS)
    return ORIGIN + EMPTY_PATH + attribute(3, gateway.packed) + LOCAL_PREF


def _med(number: int) -> bytes:
    return attribute(4, number.to_bytes(4, "big"), flags=0x80)


def measured(speaker: Speaker, data: bytes, count: int) -> tuple[float, float, float]:
    """Seconds until the last route, seconds of the processor that the speaker took for it, MiB that it holds then."""
    with node() as listening, tempfile.TemporaryDirectory() as folder, running(speaker(Path(folder))) as pids:
        peer = _meet()
        before = _cpu_s(pids)
        begun = time.monotonic()
        peer.socket.sendall(data)
        _hear(listening, count)
        return time.monotonic() - begun, _cpu_s(pids) - before, sum(map(resident_mib, pids))


@contextmanager
def node() -> Iterator[socket.socket]:
    """One with gateways on a link, and the peer on another address of its own; hears of routes in the kernel."""
    with private_network(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as listening:
        ip("link add up0 type veth peer name down0")
        ip("link set down0 up")
        ip("link set up0 up")
        ip(f"addr add {DUT}/16 dev up0")
        ip(f"addr add {PEER}/32 dev lo")
        listening.setsockopt(socket.SOL_SOCKET, 33, 512 << 20)  # SO_RCVBUFFORCE
        listening.bind((0, 1 << 6))
        listening.settimeout(120)
        yield listening


def _meet() -> RawPeer:
    """Speakers that have just begun to listen may still close what comes in."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return RawPeer(PEER, DUT)
        except ConnectionResetError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _hear(listening: socket.socket, count: int) -> None:
    seen = 0
    while seen < count:
        data = listening.recv(1 << 16)
        seen += sum(1 for message in rtmsg.split(data) if message.kind == rtmsg.MessageType.NEW_ROUTE)


@contextmanager
def running(commands: list[list[str]]) -> Iterator[list[int]]:
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _cpu_s(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def ours(folder: Path) -> list[list[str]]:
    neighbour = {"peerIP": PEER, "asNumber": 64512, "passive": True}
    folders = {"runFolder": str(folder), "stateFolder": str(folder)}
    config = {"asNumber": 64512, "addresses": [DUT], "neighbours": [neighbour], **folders}
    (folder / "speaker.json").write_text(json.dumps(config))
    return [["calico-node", "-bgp", "-config", str(folder / "speaker.json")]]


def bird(folder: Path) -> list[list[str]]:
    (folder / "bird.conf").write_text(
        f"router id {DUT};\nprotocol device {{}}\nprotocol direct {{ ipv4; }}\n"
        "protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }\n"
        f"protocol bgp peer {{ local {DUT} as 64512; neighbor {PEER} as 64512; multihop; passive;\n"
        "  ipv4 { import all; export none; }; }\n"
    )
    return [[BIRD, "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.ctl")]]


def frr(folder: Path) -> list[list[str]]:
    (folder / "zebra.conf").write_text("")
    (folder / "bgpd.conf").write_text(
        f"router bgp 64512\n bgp router-id {DUT}\n no bgp ebgp-requires-policy\n"
        f" neighbor {PEER} remote-as 64512\n neighbor {PEER} passive\n neighbor {PEER} disable-connected-check\n"
    )
    folder.chmod(0o777)  # both become the user frr
    (folder / "vty").mkdir()
    (folder / "vty").chmod(0o777)
    common = ["-z", str(folder / "zserv"), "--vty_socket", str(folder / "vty"), "-P", "0"]
    return [
        [str(FRR / name), *common, "-f", str(folder / f"{name}.conf"), "-i", str(folder / f"{name}.pid"), *more]
        for name, more in (("zebra", []), ("bgpd", ["-l", DUT]))
    ]


if __name__ == "__main__":
    main()
