"""Random routes of every form that the kernel can hold, for property tests."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

from felix.fib.model import Address, Hop, Network, Route, RouteType

INDEXES = {"lo": 1, "ens33": 2, "cali717821d73f3": 7, "tunl0": 4096, "vxlan.calico": 1 << 30}
NAMES = {index: name for name, index in INDEXES.items()}
BITS = {4: 32, 6: 128}


def addresses(version: int) -> st.SearchStrategy[Address]:
    make: type[Address] = IPv4Address if version == 4 else IPv6Address
    return st.integers(1, 2 ** BITS[version] - 1).map(make)


@st.composite
def networks(draw: st.DrawFn, version: int) -> Network:
    length = draw(st.integers(0, BITS[version]))
    bits = draw(st.integers(0, 2**length - 1)) << (BITS[version] - length)
    return IPv4Network((bits, length)) if version == 4 else IPv6Network((bits, length))


@st.composite
def hops(draw: st.DrawFn, version: int, *, only: bool) -> Hop:
    """``only``: the one hop of its route, which has no weight."""
    families = [version, 6] if version == 4 else [6]
    via = draw(st.none() | st.sampled_from(families).flatmap(addresses))
    weight = 1 if only else draw(st.integers(1, 256))
    return Hop(draw(st.sampled_from(sorted(INDEXES))), via, draw(st.booleans()), weight)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    version = draw(st.sampled_from([4, 6]))
    kind = draw(st.sampled_from([RouteType.UNICAST, RouteType.UNICAST, RouteType.BLACKHOLE, RouteType.UNREACHABLE]))
    count = draw(st.integers(1, 3)) if kind is RouteType.UNICAST else 0
    return Route(
        dst=draw(networks(version)),
        hops=tuple(draw(hops(version, only=count == 1)) for _ in range(count)),
        type=kind,
        protocol=draw(st.sampled_from([2, 3, 4, 12, 80, 255])),
        scope=draw(st.sampled_from([0, 253, 254])),
        metric=draw(st.sampled_from([0, 1, 1024, 2**32 - 1])),
        table=draw(st.sampled_from([254, 1, 255, 256, 2**32 - 1])),
        tos=draw(st.sampled_from([0, 4])),
        mtu_bytes=draw(st.sampled_from([0, 1400, 65535])),
        source=draw(st.none() | addresses(version)),
    )
