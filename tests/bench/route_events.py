"""Hears when the routes to blocks change on the nodes of a lab, without asking anybody: who looks at 50 tables again
and again takes the cores from those who write them.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import namespaces
from lab.state import NodeState

_RTMGRP_IPV4_ROUTE = 0x40
_RTM_NEWROUTE = 24
_UNICAST, _BLOCK_LENGTH = 1, 26
_HEADER, _ROUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI")
_BUFFER = 1 << 20


class RouteEvents:
    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._heard: Counter[socket.socket] = Counter()

    def all_written(self, per_node: int, *, patience_s: float) -> float:
        """When the last node had written the last of ``per_node`` routes to blocks, as ``time.perf_counter`` tells it.

        Raises TimeoutError.
        """
        self._heard.clear()
        last, deadline = 0.0, time.perf_counter() + patience_s
        while any(self._heard[each] < per_node for each in self._sockets):
            ready, _, _ = select.select(self._sockets, [], [], max(0.0, deadline - time.perf_counter()))
            last = time.perf_counter()
            if not ready:
                raise TimeoutError(f"heard of {sorted(self._heard.values())} routes, of {per_node} a node")
            for each in ready:
                self._heard[each] += _blocks_in(each.recv(_BUFFER))
        return last

    def forget(self) -> None:
        """What was heard until now is of no interest."""
        while ready := select.select(self._sockets, [], [], 0)[0]:
            for each in ready:
                each.recv(_BUFFER)


@contextmanager
def heard_on(nodes: Sequence[NodeState]) -> Iterator[RouteEvents]:
    with ThreadPoolExecutor(max_workers=1) as visitor:  # a thread enters a network, and stays there
        sockets = [visitor.submit(_listen, Path(f"/proc/{node.holder.pid}/ns/net")).result() for node in nodes]
    try:
        yield RouteEvents(sockets)
    finally:
        for each in sockets:
            each.close()


def _listen(network: Path) -> socket.socket:
    namespaces.enter_netns(network)
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    listener.bind((0, _RTMGRP_IPV4_ROUTE))
    return listener


def _blocks_in(data: bytes) -> int:
    """How many of these messages write a route to a block."""
    count = at = 0
    while at < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        _, prefix_length, _, _, _, _, _, route_type, _ = _ROUTE.unpack_from(data, at + _HEADER.size)
        count += (kind, prefix_length, route_type) == (_RTM_NEWROUTE, _BLOCK_LENGTH, _UNICAST)
        at += (length + 3) & ~3
    return count
