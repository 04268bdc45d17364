"""What traffic between pods costs: ``python -m tests.bench.traffic [WAY ...]`` prints one table. Needs root.

    direct, vxlan, ipip    each in a lab of its own, two nodes, a pod on each; ipip where the kernel has it:
                           tests/uml/run python -m tests.bench.traffic

One TCP stream, datagrams in windows, and one byte back and forth. Node to node and pod to pod take turns, and the best
of many short rounds counts: what else the machine does can only slow a round down. Where the ratio of the bests and the
median of the rounds' ratios differ much, the machine was too busy to say anything.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any

from lab import cluster
from lab.inside import WorkFailed
from lab.plan import BadWish
from tests.lab.testbed import Testbed

ROUNDS = 20
SECONDS = 0.4
PORT = 7008
DATAGRAM, LAST_DATAGRAM = bytes(1400), b"x" * 1400
"""They fit a pod's MTU in every mode."""
WINDOW = 32
LOST_S, SILENCE_S = 0.1, 5.0
CHUNK = bytes(1 << 18)
WISHES = {
    "direct": cluster.Wish(name="bench-traffic", nodes=2),
    "vxlan": cluster.Wish(name="bench-traffic", nodes=2, vxlan="Always"),
    "ipip": cluster.Wish(name="bench-traffic", nodes=2, ipip="Always"),
}

Server = Callable[[Callable[[], None]], Any]
Client = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Kind:
    """``client`` measures; ``server`` ends when it does."""

    name: str
    unit: str
    server: Server
    client: Client


@dataclass(frozen=True, slots=True)
class End:
    node: str
    pod: str
    address: str


def main() -> None:
    print(f"{'way':<8}{'':<20}{'':<8}{'node to node':>14}{'pod to pod':>14}{'ratio':>8}{'median of ratios':>18}")
    for way in sys.argv[1:] or WISHES:
        try:
            for row in rows(WISHES[way]):
                print(f"{way:<8}{row}", flush=True)
        except BadWish as error:
            print(f"{way:<8}{error}", flush=True)


def rows(wish: cluster.Wish) -> Iterator[str]:
    """Raises BadWish for what this kernel or the lab cannot do."""
    bed = Testbed(cluster.up(wish, lambda line: None))
    try:
        with bed.pods(("node1", "a"), ("node2", "b")) as (_, pod_address):
            bed.eventually(lambda: bed.ping("node1", "a", pod_address), what="the pods reach each other")
            node = End("node2", "", str(IPv4Interface(bed.node("node2").address).ip))
            for kind in KINDS:
                yield _row(bed, kind, node, End("node2", "b", pod_address))
    finally:
        cluster.down(wish.name)


def _row(bed: Testbed, kind: Kind, node: End, pod: End) -> str:
    pairs = [(_rate(bed, kind, "", node), _rate(bed, kind, "a", pod)) for _ in range(ROUNDS)]
    nodes, pods = (max(column) for column in zip(*pairs, strict=True))
    middle = statistics.median(pod / node for node, pod in pairs)
    return f"{kind.name:<20}{kind.unit:<8}{nodes:>14,.1f}{pods:>14,.1f}{pods / nodes:>8.2f}{middle:>18.2f}"


def _rate(bed: Testbed, kind: Kind, source_pod: str, target: End) -> float:
    server = bed.start(target.node, kind.server, pod=target.pod)
    client = bed.start("node1", lambda ready: _begun(ready, lambda: kind.client(target.address)), pod=source_pod)
    try:
        rate = float(client.result())
    except WorkFailed:
        server.stop()
        raise
    server.result()
    return rate


def _begun(ready: Callable[[], None], work: Callable[[], float]) -> float:
    ready()
    return work()


# --- one TCP stream ----------------------------------------------------------------------------


def _sink(ready: Callable[[], None]) -> int:
    """Takes one stream to its end and answers how much it was."""
    with socket.create_server(("", PORT)) as listener:
        ready()
        connection, _ = listener.accept()
        with connection:
            buffer, total = bytearray(1 << 20), 0
            while some := connection.recv_into(buffer):
                total += some
            connection.sendall(total.to_bytes(8, "big"))
    return total


def _stream(address: str) -> float:
    with socket.create_connection((address, PORT)) as connection:
        began = time.monotonic()
        connection.sendall(CHUNK)  # once at least, also where another process had all the time
        while time.monotonic() - began < SECONDS:
            connection.sendall(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        arrived = int.from_bytes(connection.recv(8), "big")
    return arrived * 8 / (time.monotonic() - began) / 1e6


# --- datagrams ---------------------------------------------------------------------------------


def _acknowledge(ready: Callable[[], None]) -> int:
    """Answers the last datagram of each window, until an empty one, or a silence when that was lost."""
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("", PORT))
        udp.settimeout(SILENCE_S)
        ready()
        with suppress(TimeoutError):
            while (received := udp.recvfrom(2048))[0]:
                count += 1
                if received[0][0]:
                    udp.sendto(b"x", received[1])
    return count


def _windows(address: str) -> float:
    """Datagrams a second of the windows that arrived. Without windows, one CPU would do nothing but send."""
    arrived, began = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((address, PORT))
        udp.settimeout(LOST_S)
        while (took := time.monotonic() - began) < SECONDS or not arrived:
            for left in reversed(range(WINDOW)):
                udp.send(DATAGRAM if left else LAST_DATAGRAM)
            with suppress(TimeoutError):
                udp.recv(1)
                arrived += WINDOW
        udp.send(b"")
    return arrived / took / 1e3


# --- request and response ----------------------------------------------------------------------


def _answer(ready: Callable[[], None]) -> int:
    with socket.create_server(("", PORT)) as listener:
        ready()
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            count = 0
            while some := connection.recv(1):
                connection.send(some)
                count += 1
    return count


def _ask(address: str) -> float:
    count = 0
    with socket.create_connection((address, PORT)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        while (took := time.monotonic() - began) < SECONDS or not count:
            connection.send(b"x")
            connection.recv(1)
            count += 1
    return count / took / 1e3


KINDS = (
    Kind("one TCP stream", "Mbit/s", _sink, _stream),
    Kind("datagrams, 1400 B", "1000/s", _acknowledge, _windows),
    Kind("request, response", "1000/s", _answer, _ask),
)


if __name__ == "__main__":
    main()
