"""The udp backend's program: packets from the TUN device to the peers and back, one packet a datagram, bare.

Both sides are drained in turns, so that neither starves the other nor the rest of the daemon. What cannot be sent or
written now is dropped and counted, as a router would. Errors to senders leave by a socket: what comes in by the device
with an address of this host as its source, Linux drops.

Source: flannel pkg/backend/udp.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from flannel.backends import udp
from flannel.backends.backend import Me, Pumped, Refused
from flannel.forwarding import TIME_EXCEEDED, UNREACHABLE, Peers, answer, is_packet, take_hop
from flannel.lease import Lease
from flannel.tun import open_tun

_TURN = 64
_BUFFER_BYTES = 4 << 20


class Pump:
    """:class:`flannel.world.Carrier`. ``counts`` what was dropped, by reason."""

    def __init__(self, at: Pumped, mtu_bytes: int) -> None:
        self.counts: Counter[str] = Counter()
        self._at, self._mtu_bytes = at, mtu_bytes
        self._own: IPv4Address | None = None
        self._peers = Peers({})
        self._has_address = asyncio.Event()
        self._tun = -1
        self._socket: socket.socket | None = None
        self._errors = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)

    def carry(self, me: Me, peers: Sequence[Lease]) -> None:
        self._peers = Peers(udp.table(peers))
        if me.subnets.v4 is not None:
            self._own = me.subnets.v4.network_address
            self._has_address.set()

    async def run(self) -> None:
        """Until cancelled; then the device goes. Raises Refused."""
        await self._has_address.wait()
        assert self._own is not None, "set with the event"
        loop = asyncio.get_running_loop()
        door = self._socket = _open_socket(self._at)
        self._tun = open_tun(self._own, self._mtu_bytes)
        loop.add_reader(self._tun, self._from_tun)
        loop.add_reader(door, self._from_socket)
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(self._tun)
            loop.remove_reader(door)
            os.close(self._tun)
            door.close()
            self._errors.close()

    def _from_tun(self) -> None:
        assert self._socket is not None
        send, node_of, port = self._socket.sendto, self._peers.node_of, self._at.port
        for _ in range(_TURN):
            try:
                packet = bytearray(os.read(self._tun, self._mtu_bytes))
            except OSError:  # drained
                return
            if not is_packet(packet):
                self.counts["short or not IPv4"] += 1
                continue
            node = node_of(packet)
            if node is None:
                self._tell_sender(packet, UNREACHABLE)
            elif not take_hop(packet):
                self._tell_sender(packet, TIME_EXCEEDED)
            else:
                try:
                    send(packet, (node, port))
                except OSError as error:
                    self.counts[f"send: {error.strerror}"] += 1

    def _from_socket(self) -> None:
        assert self._socket is not None
        receive = self._socket.recv
        for _ in range(_TURN):
            try:
                packet = bytearray(receive(self._mtu_bytes))
            except BlockingIOError:
                return
            except OSError as error:  # a peer that refused one earlier
                self.counts[f"receive: {error.strerror}"] += 1
                continue
            if not is_packet(packet):
                self.counts["short or not IPv4"] += 1
            elif not take_hop(packet):
                self.counts["time exceeded"] += 1
            else:
                self._write(packet)

    def _tell_sender(self, packet: bytearray, kind: tuple[int, int]) -> None:
        self.counts["no route" if kind == UNREACHABLE else "time exceeded"] += 1
        assert self._own is not None, "there is no device without it"
        told = answer(packet, self._own, kind)
        if told is not None:
            with suppress(OSError):
                self._errors.sendto(told, (str(IPv4Address(bytes(packet[12:16]))), 0))

    def _write(self, packet: bytearray) -> None:
        try:
            os.write(self._tun, packet)
        except OSError as error:
            self.counts[f"write: {error.strerror}"] += 1


def _open_socket(at: Pumped) -> socket.socket:
    """Bound to the uplink's address, as the original's is. Raises Refused."""
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        with suppress(OSError):
            door.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    try:
        door.bind((str(at.local), at.port))
    except OSError as error:
        door.close()
        where = f"{at.local}:{at.port}"
        raise Refused(f"failed to start listening on UDP socket {where}: {error.strerror}; see Backend.Port") from None
    return door
