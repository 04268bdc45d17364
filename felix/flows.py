"""The door to the kernel's connection tracking: no address has connections of its last holder when it gets a new one.

The kernel keeps a connection for minutes after its last packet, translations included: packets of the address's next
holder would be taken for the last one's, and answered, translated or dropped as those. They have to be forgotten before
the next holder sends anything, for a connection that is forgotten later breaks.

Looking costs a walk through the kernel's whole table (20 ms for one of 262,144 buckets that is empty), so an ADD looks
only where it must. An address of this node's own block is *clean* once a look has found nothing of it: until somebody
has it, packets for it end in the block's blackhole, and what is dropped is not remembered. So one look, at the first
pod of a block, does for the whole block; and what a DEL makes unclean is forgotten soon after it, by a look for all
that went meanwhile. What cannot be forgotten stops no pod; it is counted and logged.

Source: Calico felix/conntrack, which runs a program four times for each address, at its end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from errno import ENOENT
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from felix import ctmsg
from felix.ctmsg import Address
from felix.fib import rtmsg
from felix.fib.rtmsg import MessageType
from felix.metrics import FlowCounters

Network = IPv4Network | IPv6Network

log = logging.getLogger("felix.flows")

REST_S = 1.0
"""Between two looks that no pod waits for."""
LARGEST_BLOCK = 4096

_NETLINK_NETFILTER = 12
_DATAGRAM_BYTES = 1 << 20
_PATIENCE_S = 5.0


class Look(NamedTuple):
    """``mentioned``: all that take part in a connection, those that were forgotten included."""

    mentioned: frozenset[Address]
    forgotten: int


class Flows:
    def __init__(self) -> None:
        self.counters = FlowCounters()
        self._clean: set[Address] = set()
        self._unclean: set[Address] = set()
        self._ended = asyncio.Event()
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flows")

    async def run(self) -> None:
        """Until cancelled: forget what addresses left that have no holder any more."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            async with self._lock:
                gone, self._unclean = self._unclean, set()
                if gone and await self._look(gone) is not None:
                    self._clean |= gone - self._unclean
            await asyncio.sleep(REST_S)

    async def begin(self, address: Address, own_block: Network | None) -> None:
        """``address`` is about to get a holder; ``own_block`` is its block where that is this node's."""
        async with self._lock:
            if address not in self._clean:
                look = await self._look({address})
                if look is not None and own_block is not None and own_block.num_addresses <= LARGEST_BLOCK:
                    taken = look.mentioned | self._unclean
                    self._clean.update(each for each in own_block if each not in taken)
            self._clean.discard(address)
            self._unclean.discard(address)

    def end(self, address: Address) -> None:
        """``address`` has no holder any more, and its interface is gone."""
        self._clean.discard(address)
        self._unclean.add(address)
        self._ended.set()

    async def _look(self, unwanted: Collection[Address]) -> Look | None:
        """None where it failed."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            found = await run(self._thread, look, tuple(unwanted))
        except (OSError, rtmsg.Malformed) as error:
            self.counters.failures += 1
            log.warning("flows.kept addresses=%s why=%r", ",".join(map(str, unwanted)), str(error))
            return None
        self.counters.forgotten += found.forgotten
        return found

    def close(self) -> None:
        self._thread.shutdown(wait=True)


def look(unwanted: Collection[Address]) -> Look:
    """Every connection of the calling thread's network namespace, of the same families; those of ``unwanted`` are
    forgotten. Raises OSError, Malformed.
    """
    mentioned: set[Address] = set()
    found: list[bytes] = []
    with closing(_Asker()) as kernel:
        for version in {address.version for address in unwanted}:
            for body in kernel.dump(version):
                members = ctmsg.members(body)
                mentioned |= members
                if not members.isdisjoint(unwanted):
                    found.append(body)
        return Look(frozenset(mentioned), sum(kernel.delete(body) for body in found))


class _Asker:
    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.settimeout(_PATIENCE_S)
        self._sequence = 0

    def dump(self, version: int) -> Iterator[bytes]:
        self._sequence += 1
        self._socket.send(ctmsg.encode_dump(version, self._sequence))
        yield from self._answers()

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

    def _answers(self) -> Iterator[bytes]:
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
                yield message.body

    def close(self) -> None:
        self._socket.close()
