"""The door to the kernel's connection tracking: forgets what it remembers of an address that gets a new holder.

The kernel keeps a connection for minutes after its last packet, translations included: packets of the address's next
holder would be taken for the last one's, and answered, translated or dropped as those. What cannot be forgotten stops
no pod; it is counted and logged.

A dump walks the whole table inside the kernel (milliseconds for a hundred thousand connections), so it is done on a
thread of its own. Source: Calico felix/conntrack.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from errno import ENOENT

from felix import ctmsg
from felix.ctmsg import Address
from felix.fib import rtmsg
from felix.fib.rtmsg import MessageType
from felix.metrics import FlowCounters

log = logging.getLogger("felix.flows")

_NETLINK_NETFILTER = 12
_DATAGRAM_BYTES = 1 << 20
_PATIENCE_S = 5.0


class Flows:
    def __init__(self) -> None:
        self.counters = FlowCounters()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flows")

    async def forget(self, addresses: Iterable[Address]) -> None:
        """Connections that any of them takes part in are gone afterwards, of this network namespace."""
        for address in addresses:
            try:
                run = asyncio.get_running_loop().run_in_executor
                self.counters.forgotten += await run(self._thread, forget, address)
            except (OSError, rtmsg.Malformed) as error:
                self.counters.failures += 1
                log.warning("flows.kept address=%s why=%r", address, str(error))

    def close(self) -> None:
        self._thread.shutdown(wait=True)


def forget(address: Address) -> int:
    """How many connections were forgotten, in the calling thread's network namespace. Raises OSError, Malformed."""
    with closing(_Asker()) as kernel:
        found = {body: None for side in ctmsg.SIDES for body in kernel.dump(address, side)}
        return sum(kernel.delete(body) for body in found)


class _Asker:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.settimeout(_PATIENCE_S)
        self._sequence = 0

    def dump(self, address: Address, side: ctmsg.Side) -> list[bytes]:
        self._sequence += 1
        self._socket.send(ctmsg.encode_dump(address, side, self._sequence))
        return [message.body for message in self._answers() if ctmsg.concerns(message.body, address)]

    def delete(self, body: bytes) -> bool:
        """False where it is gone already."""
        self._sequence += 1
        self._socket.send(ctmsg.encode_delete(body, self._sequence))
        try:
            for _ in self._answers():
                pass
        except OSError as error:
            if error.errno != ENOENT:
                raise
            return False
        return True

    def _answers(self) -> Iterator[rtmsg.Message]:
        """Until the kernel has said all. Raises OSError where it refuses."""
        while True:
            for message in rtmsg.split(self._socket.recv(_DATAGRAM_BYTES)):
                if message.sequence != self._sequence:
                    continue
                if message.kind == MessageType.DONE:
                    return
                if message.kind == MessageType.ERROR:
                    if code := rtmsg.decode_answer(message).code:
                        raise OSError(code, "the kernel refuses to tell or forget connections")
                    return
                yield message

    def close(self) -> None:
        self._socket.close()
