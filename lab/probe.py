"""Small network tools, to be run inside a node or a pod: ping, a web page, a capture, a flow of numbered packets."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

STRAY_PATIENCE_S = 0.5
"""How long a receiver waits after the last packet for one that is late."""

_ECHO_REQUEST, _ECHO_REPLY = {False: 8, True: 128}, {False: 0, True: 129}
"""By whether it is IPv6."""
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2


def ping(target: str, *, count: int = 1, size: int = 56, patience_s: float = 1.0, dont_fragment: bool = False) -> int:
    """How many of ``count`` echo requests were answered."""
    answered = 0
    is_v6 = ":" in target
    with _icmp_v6(dont_fragment) if is_v6 else _icmp(dont_fragment) as icmp:
        identity = os.getpid() & 0xFFFF
        for sequence in range(count):
            icmp.sendto(_echo_request(identity, sequence, size, is_v6=is_v6), (target, 0))
            answered += _wait_for_echo(icmp, identity, sequence, patience_s, is_v6=is_v6)
    return answered


def _icmp(dont_fragment: bool) -> socket.socket:
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    if dont_fragment:
        icmp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DO)
    return icmp


def _icmp_v6(dont_fragment: bool) -> socket.socket:
    icmp = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    if dont_fragment:
        icmp.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
    return icmp


def _echo_request(identity: int, sequence: int, size: int, *, is_v6: bool) -> bytes:
    """The kernel fills in the checksum for IPv6."""
    body = bytes(size)
    kind = _ECHO_REQUEST[is_v6]
    header = struct.pack("!BBHHH", kind, 0, 0, identity, sequence)
    checksum = 0 if is_v6 else _checksum(header + body)
    return struct.pack("!BBHHH", kind, 0, checksum, identity, sequence) + body


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _wait_for_echo(icmp: socket.socket, identity: int, sequence: int, patience_s: float, *, is_v6: bool) -> bool:
    deadline = time.monotonic() + patience_s
    while (left := deadline - time.monotonic()) > 0 and select.select([icmp], [], [], left)[0]:
        packet = icmp.recv(65535)
        header = 0 if is_v6 else (packet[0] & 15) * 4  # a raw socket of IPv6 leaves the header out
        kind, _, _, id_, seq = struct.unpack("!BBHHH", packet[header : header + 8])
        if (kind, id_, seq) == (_ECHO_REPLY[is_v6], identity, sequence):
            return True
    return False


def serve_page(text: str, ready: Callable[[], None], *, port: int = 80) -> None:
    """A web server with one page, until SIGTERM."""
    stopped = _on_sigterm()
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        ready()
        while _readable(listener, stopped):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                body = text.encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + body)


def fetch_page(address: str, port: int = 80, *, patience_s: float = 5.0) -> str:
    """The page's text."""
    with socket.create_connection((address, port), timeout=patience_s) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while some := connection.recv(4096):
            received += some
    return received.partition(b"\r\n\r\n")[2].decode()


_BEFORE_INNER = 8 + 8 + 14
"""The headers of UDP, VXLAN and Ethernet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """An IPv4 packet as seen on a wire. ``inside``: the packet in it, for IP in IP and VXLAN."""

    source: str
    destination: str
    protocol: int
    length: int
    source_port: int = 0
    destination_port: int = 0
    inside: str = ""

    def __str__(self) -> str:
        name = {1: "ICMP", 4: "IPIP", 6: "TCP", 17: "UDP"}.get(self.protocol, f"protocol {self.protocol}")
        source = f"{self.source}.{self.source_port}" if self.source_port else self.source
        destination = f"{self.destination}.{self.destination_port}" if self.destination_port else self.destination
        around = f" [{self.inside}]" if self.inside else ""
        return f"IP {source} > {destination}: {name}, length {self.length}{around}"


def parse_ipv4(packet: bytes, *, vxlan_port: int = 0) -> Packet | None:
    """None for what is not IPv4 or is cut short. What goes to ``vxlan_port`` is read as VXLAN."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    header = (packet[0] & 15) * 4
    protocol = packet[9]
    ports = struct.unpack("!HH", packet[header : header + 4]) if protocol in (6, 17) else (0, 0)
    inner = parse_ipv4(packet[header:]) if protocol == 4 else None
    if protocol == 17 and ports[1] == vxlan_port:
        inner = parse_ipv4(packet[header + _BEFORE_INNER :])
    return Packet(
        source=socket.inet_ntoa(packet[12:16]),
        destination=socket.inet_ntoa(packet[16:20]),
        protocol=protocol,
        length=int.from_bytes(packet[2:4], "big"),
        source_port=ports[0],
        destination_port=ports[1],
        inside=str(inner) if inner else "",
    )


_SO_RCVBUFFORCE = 33
_LARGEST_BURST = 200
"""Packets. A sender that was not scheduled for a second catches up in bursts that the backlog (1,000) takes."""
_EVERY_PROTOCOL, _IPV4 = 0x0003, 0x0800


def capture(device: str, ready: Callable[[], None], *, most: int = 10_000, vxlan_port: int = 0) -> list[str]:
    """The IPv4 packets that cross a device until SIGTERM, each as a line; ``ready`` is called once it listens."""
    stopped = _on_sigterm()
    lines: list[str] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL)) as wire:
        wire.bind((device, _EVERY_PROTOCOL))  # what is asked for by its own number comes only when it arrives
        ready()
        while len(lines) < most and _readable(wire, stopped):
            data, (_, protocol, *_) = wire.recvfrom(65535)
            packet = parse_ipv4(data, vxlan_port=vxlan_port) if protocol == _IPV4 else None
            if packet is not None:
                lines.append(str(packet))
    return lines


def _readable(source: socket.socket, stopped: int) -> bool:
    """Wait for something to read; False once there is none and SIGTERM came."""
    watched: list[socket.socket | int] = [source, stopped]
    return source in select.select(watched, [], [])[0]


def _on_sigterm() -> int:
    """A descriptor that is readable once SIGTERM came."""
    reader, writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writer, b"x"))
    return reader


def echo_numbers(port: int, ready: Callable[[], None]) -> int:
    """Send every datagram back until SIGTERM; returns how many came."""
    stopped = _on_sigterm()
    count = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        _hold_much(udp)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("::", port))
        ready()
        while _readable(udp, stopped):
            data, sender = udp.recvfrom(2048)
            udp.sendto(data, sender)
            count += 1
    return count


def _hold_much(udp: socket.socket) -> None:
    """Some seconds of packets: an end that is not scheduled for a while must not look like a network that loses."""
    udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)


def send_numbers(target: str, port: int, *, per_second: int = 1000, ready: Callable[[], None]) -> dict[str, Any]:
    """Number datagrams at a steady rate until SIGTERM; returns how many were sent, came back, and which are missing.

    A packet that comes back late is not lost: the receiver waits a moment after the last one.
    """
    stopped = _on_sigterm()
    back: set[int] = set()
    sent, started = 0, time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        _hold_much(udp)
        udp.connect((target, port))
        udp.setblocking(False)
        ready()
        while not select.select([stopped], [], [], 0)[0]:
            due = int((time.monotonic() - started) * per_second)
            for number in range(sent, min(due + 1, sent + _LARGEST_BURST)):
                if not _send(udp, number):
                    break
                sent = number + 1
            _collect(udp, back, until=started + sent / per_second)
        _collect(udp, back, until=time.monotonic() + STRAY_PATIENCE_S)
    missing = sorted(set(range(sent)) - back)
    return {"sent": sent, "back": len(back), "missing": missing}


def _send(udp: socket.socket, number: int) -> bool:
    """False when it must be tried again, because this end has no room for it: no network has lost it yet."""
    try:
        udp.send(number.to_bytes(8, "big"))
    except BlockingIOError:
        return False
    except OSError:
        return True  # counted as missing, because it does not come back
    return True


def _collect(udp: socket.socket, back: set[int], *, until: float) -> None:
    while True:
        left = until - time.monotonic()
        if not select.select([udp], [], [], max(0.0, left))[0]:
            return
        try:
            back.add(int.from_bytes(udp.recv(2048), "big"))
        except OSError:
            continue
