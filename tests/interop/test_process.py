"""The speaker as a process beside BIRD: killed, ended, started again; what BIRD and felix see of it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from bgp.learned import Confirmed, Hello, Snapshot, from_line, to_line
from datastore.plain import run
from datastore.sqlite import SqliteStore
from tests.interop.bird import PROGRAM, Bird
from tests.interop.far_side import far_side
from tests.interop.our_side import until
from tests.lab.namespace import ip
from tests.unit.bgp.bgp_bytes import (
    EMPTY_PATH,
    FOUR_OCTET,
    IPV4_UNICAST,
    KEEPALIVE,
    LOCAL_PREF,
    NEXT_HOP,
    ORIGIN,
    USUAL,
    attribute,
    nlri,
    open_message,
    update,
)
from tests.unit.bgp.cluster import affinity, node, peer, pool

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="BIRD 2 is not installed"),
]

OURS, THEIRS = "10.244.1.0/26", "10.244.2.0/26"
RAW = "10.0.0.77"


@dataclass
class Cluster:
    """Ours is node1, BIRD plays node2, and a raw peer of the test's is a global BGPPeer."""

    folder: Path
    bird: Bird
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "bgp.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.interop.our_process", "node1", str(self.folder)]
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)

    def end(self, how: signal.Signals) -> float:
        """How long it took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(10)
        return time.monotonic() - begun

    async def confirm(self, *destinations: str) -> list[str]:
        """As felix: the learned routes at this moment."""
        await until(self.is_listening)
        reader, writer = await asyncio.open_unix_connection(self.folder / "bgp.sock")
        writer.write(to_line(Hello()) + to_line(Confirmed(frozenset(map(ip_network, destinations)))))
        while not isinstance(message := from_line(await asyncio.wait_for(reader.readline(), 5)), Snapshot):
            pass
        writer.close()
        return [f"{each.dst} via {' '.join(map(str, each.next_hops))}" for each in message.routes]

    def is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as knock:
            return knock.connect_ex(str(self.folder / "bgp.sock")) == 0

    def ask(self, *words: str) -> str:
        command = [f"{PROGRAM}c", "-s", str(self.folder / "bird.ctl"), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "node1"
    folder.mkdir()
    store = SqliteStore(str(folder / "datastore.sqlite"))
    for each in (
        node("node1", "10.0.0.1/24"),
        node("node2", "10.0.0.2/24"),
        pool("default", "10.244.0.0/16"),
        affinity("node1", OURS),
        affinity("node2", THEIRS),
        peer("raw", peerIP=RAW, asNumber=64512),
    ):
        run(store.create(each.resource))
    with far_side() as far:
        ip(f"addr add {RAW}/32 dev lo")
        made = Cluster(folder, Bird(far, tmp_path, routes=(THEIRS,)))
        try:
            yield made
        finally:
            if made.process is not None:
                made.process.kill()
                made.process.wait()


async def both_know(cluster: Cluster) -> None:
    cluster.bird.start()
    cluster.start()
    await cluster.confirm(OURS)
    await until(lambda: cluster.bird.learned() == [f"{OURS} via 10.0.0.1 pref 2147482623"])
    await until((cluster.folder / "lib" / "bgp.json").exists)


async def test_it_is_called_bird_and_answers_like_one(cluster: Cluster) -> None:
    await both_know(cluster)
    assert cluster.process is not None
    assert Path(f"/proc/{cluster.process.pid}/cmdline").read_bytes().split(b"\0")[0] == b"bird"
    said = cluster.ask("show", "protocols")
    assert "Mesh_10_0_0_2 BGP      master   up " in said
    assert cluster.ask("show", "status").startswith(
        "BIRD v1.6.8+tortie ready.\nBIRD v1.6.8+tortie\nRouter ID is 10.0.0.1\n"
    )
    assert f"{THEIRS}      via 10.0.0.2 on near [Mesh_10_0_0_2 " in cluster.ask("show", "route")


async def test_killed_twice_in_a_row_bird_never_loses_a_route(cluster: Cluster) -> None:
    await both_know(cluster)
    watch = asyncio.create_task(never_without(cluster))
    for pause_s in (0.0, 0.3):
        cluster.end(signal.SIGKILL)
        await asyncio.sleep(pause_s)
        cluster.start()
        await until(cluster.bird.is_established)
        await asyncio.sleep(0.5)
    watch.cancel()
    assert await cluster.confirm(OURS) == [f"{THEIRS} via 10.0.0.2"]
    details = cluster.bird.ask("show", "protocols", "all", "ours")
    assert "Restart recovery" in details


async def never_without(cluster: Cluster) -> None:
    while True:
        found = await asyncio.to_thread(cluster.bird.learned)
        assert [line.removesuffix(" stale") for line in found] == [f"{OURS} via 10.0.0.1 pref 2147482623"]
        await asyncio.sleep(0.01)


async def test_sigterm_ends_it_within_two_seconds_and_says_nothing(cluster: Cluster) -> None:
    await both_know(cluster)
    assert cluster.end(signal.SIGTERM) < 2
    assert cluster.process is not None
    assert cluster.process.returncode == 0
    await asyncio.sleep(0.3)
    assert len(cluster.bird.learned()) == 1
    assert "Received:" not in cluster.bird.ask("show", "protocols", "ours")


async def test_it_is_small_and_idle(cluster: Cluster) -> None:
    await both_know(cluster)
    assert cluster.process is not None
    statm = Path(f"/proc/{cluster.process.pid}/statm")
    before = cpu_s(cluster.process.pid)
    await asyncio.sleep(2)  # idleness is measured in time
    assert cpu_s(cluster.process.pid) - before < 0.02
    assert int(statm.read_text().split()[1]) * 4096 < 40e6


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


async def test_malformed_input_from_a_raw_peer_changes_no_route(cluster: Cluster) -> None:
    await both_know(cluster)
    raw = RawSocket()
    raw.send(update(USUAL, nlri("192.0.2.0/24")))
    for bad in (
        update(attribute(1, b"\x05") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF, nlri("198.51.100.0/24")),
        update(ORIGIN + NEXT_HOP + LOCAL_PREF, nlri("198.51.100.0/24")),
        update(ORIGIN + EMPTY_PATH + attribute(3, bytes(4)) + LOCAL_PREF, nlri("198.51.100.0/24")),
        update(USUAL, nlri(OURS)),
        update(USUAL + attribute(99, b"?"), nlri("198.51.100.0/24")),
    ):
        raw.send(bad)
    await until(lambda: "Malformed:      3 of 6 updates" in cluster.ask("show", "protocols", "all", "Global_10_0_0_77"))
    assert "Refused so far: next-hop 1, own-block 1" in cluster.ask("show", "protocols", "all", "Global_10_0_0_77")
    assert sorted(await cluster.confirm(OURS)) == ["10.244.2.0/26 via 10.0.0.2", "192.0.2.0/24 via 10.0.0.2"]
    raw.send(bytes(19))
    await until(lambda: "Global_10_0_0_77 BGP      master   start" in cluster.ask("show", "protocols"))
    assert await cluster.confirm(OURS) == ["10.244.2.0/26 via 10.0.0.2"]
    assert cluster.bird.is_established()


async def test_an_unknown_peer_is_refused_and_shown(cluster: Cluster) -> None:
    await both_know(cluster)
    ip("addr add 10.0.0.78/32 dev lo")
    stranger = socket.create_connection(("10.0.0.1", 179), 5, source_address=("10.0.0.78", 0))
    assert stranger.recv(100) == b""
    assert "Connections refused from unknown addresses: 1" in cluster.ask("show", "status")


class RawSocket:
    """A peer at 10.0.0.77 that dials and opens."""

    def __init__(self) -> None:
        self.socket = socket.create_connection(("10.0.0.1", 179), 5, source_address=(RAW, 0))
        self.send(open_message(router_id=RAW, parameters=IPV4_UNICAST + FOUR_OCTET) + KEEPALIVE)
        heard = b""
        while b"\x00\x13\x04" not in heard:
            heard += self.socket.recv(65536)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
