"""What the decisions stand on, read from the machine: devices, addresses, default routes, the sources of packets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from contextlib import closing
from ipaddress import ip_address, ip_interface

from felix.fib.model import Actual
from felix.fib.netlink import NetlinkKernel
from felix.startup.detect import Address, Link, Machine

_ANY_PORT = 80


async def read(destinations: Iterable[tuple[int, str]]) -> Machine:
    """``destinations``: family and address or name of each whose source is asked for. Raises KernelUnavailable."""
    kernel = await NetlinkKernel.open()
    try:
        actual = await kernel.read()
    finally:
        await kernel.close()
    loop = asyncio.get_running_loop()
    sources = {}
    for version, destination in destinations:
        source = await loop.run_in_executor(None, _source_towards, version, destination)
        if source is not None:
            sources[destination] = source
    return Machine(_links(actual), _default_devices(actual), sources)


def _links(actual: Actual) -> list[Link]:
    return [
        Link(
            link.name,
            link.index,
            link.is_up,
            tuple(
                ip_interface(f"{each.address}/{each.prefix_length}")
                for each in actual.addresses
                if each.device == link.name
            ),
        )
        for link in actual.links.values()
    ]


def _default_devices(actual: Actual) -> Sequence[str]:
    routes = sorted(
        (route for route in actual.routes.values() if route.dst.prefixlen == 0), key=lambda route: route.metric
    )
    return list(dict.fromkeys(hop.device for route in routes for hop in route.hops))


def _source_towards(version: int, destination: str) -> Address | None:
    """Connecting a UDP socket sends nothing: the kernel only looks for the route."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as asked:
        try:
            asked.connect((destination, _ANY_PORT))
        except OSError:
            return None
        return ip_address(asked.getsockname()[0].partition("%")[0])
