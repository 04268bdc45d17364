"""A small universe in which everything meets everything: few destinations that contain each other, few ways, all
owners.

The property tests draw what we want and what a model kernel holds from it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import strategies as st

from felix.fib.model import (
    Actual,
    Address,
    AddRoute,
    Desired,
    Hop,
    Network,
    Op,
    Protocol,
    Route,
    RouteKey,
    RouteType,
    Scope,
    Why,
)
from felix.fib.model_kernel import ModelKernel
from felix.fib.owner import Ownership, is_ours

WHY = Why("drawn")
DESTINATIONS = tuple(
    ip_network(text)
    for text in (
        "10.244.0.0/24",
        "10.244.0.0/30",
        "10.244.0.0/31",
        "10.244.0.0/32",
        "10.244.0.1/32",
        "10.244.0.2/32",
        "10.244.0.4/30",
        "10.244.0.4/32",
        "172.16.0.0/12",
    )
)
ADDRESSES = tuple(ip_address(f"10.244.0.{n}") for n in range(6))
OWNERSHIP = Ownership(
    networks=frozenset({ip_network("10.244.0.0/24")}), keys=frozenset({RouteKey(ip_network("172.16.0.0/12"))})
)
_DEVICES = ("ens33", "ens34", "cali1", "cali2")


def _direct(dst: Network, device: str, last: int, protocol: int, metric: int) -> Route:
    return Route(dst, (Hop(device, ip_address(f"192.168.5{device[-1]}.{last}")),), protocol=protocol, metric=metric)


def _pod(dst: Network, device: str, protocol: int, metric: int) -> Route:
    return Route(dst, (Hop(device),), protocol=protocol, scope=Scope.LINK, metric=metric)


def _blackhole(dst: Network, protocol: int, metric: int) -> Route:
    return Route(dst, type=RouteType.BLACKHOLE, protocol=protocol, metric=metric)


def _routes(metrics: list[int], bird: list[int], boot: list[int]) -> st.SearchStrategy[Route]:
    dst, metric = st.sampled_from(DESTINATIONS), st.sampled_from(metrics)
    uplink, pods_device = st.sampled_from(["ens33", "ens34"]), st.sampled_from(["cali1", "cali2"])
    return st.one_of(
        st.builds(_direct, dst, uplink, st.integers(11, 13), st.sampled_from(bird), metric),
        st.builds(_pod, dst, pods_device, st.sampled_from(boot), metric),
        st.builds(_blackhole, dst, st.sampled_from(bird), metric),
    )


# What we write has metric 0 and our marks; what is found may come from anybody.
_wanted = _routes([0], [Protocol.BIRD], [Protocol.BOOT])
_ours = _routes([0, 1024], [Protocol.BIRD, Protocol.CALICO], [Protocol.BOOT])
_anybodys = _routes([0, 1024], [Protocol.STATIC, 11], [Protocol.STATIC, Protocol.BIRD])


any_route = st.one_of(_ours, _anybodys)


def fresh_kernel() -> ModelKernel:
    """Two uplinks with an address each and two pods' devices, all up."""
    kernel = ModelKernel()
    for device in _DEVICES:
        kernel.add_link(device)
        kernel.set_up(device)
    for device in ("ens33", "ens34"):
        kernel.add_address(device, ip_interface(f"192.168.5{device[-1]}.10/24"))
    kernel.take_changes()
    return kernel


@dataclass(frozen=True)
class Case:
    """What is wanted, and how a kernel came to hold what it does."""

    desired: Desired
    ops: tuple[Op, ...]
    appended: tuple[Route, ...]
    down: frozenset[str]

    def kernel(self) -> ModelKernel:
        kernel = fresh_kernel()
        for op in self.ops:
            kernel.do(op)
        for route in self.appended:
            kernel.append(route)
        for device in sorted(self.down):
            kernel.set_down(device)
        kernel.take_changes()
        return kernel


@st.composite
def cases(draw: st.DrawFn) -> Case:
    routes = {route.dst: route for route in draw(st.lists(_wanted, max_size=9))}
    up = draw(st.sets(st.sampled_from(["cali1", "cali2", "ens33"])))
    return Case(
        desired=Desired(
            routes={route.key: (route, WHY) for route in routes.values()},
            pending=dict.fromkeys(draw(st.sets(st.sampled_from(DESTINATIONS), max_size=1)) - routes.keys(), WHY),
            devices_up=dict.fromkeys(sorted(up), WHY),
        ),
        ops=tuple(AddRoute(route) for route in draw(st.lists(st.one_of(_ours, _ours, _anybodys), max_size=12))),
        appended=tuple(draw(st.lists(st.one_of(_ours, _anybodys), max_size=2))),
        down=frozenset(draw(st.sets(st.sampled_from(_DEVICES), max_size=1))),
    )


def read(kernel: ModelKernel) -> Actual:
    return asyncio.run(kernel.read())


def all_routes(actual: Actual) -> list[Route]:
    """In the order in which the kernel looks at those of one destination."""
    keys = sorted(actual.routes, key=lambda key: key.metric)
    return [route for key in keys for route in (actual.routes[key], *actual.shadowed.get(key, ()))]


def way_of(address: Address, actual: Actual) -> Route | None:
    """The route that forwards packets to ``address``, or None: none at all, or a blackhole."""
    found = [route for route in all_routes(actual) if address in route.dst]
    best = min(found, key=lambda route: -route.dst.prefixlen, default=None)
    return None if best is None or best.type is not RouteType.UNICAST else best


def foreign_routes(actual: Actual) -> list[str]:
    return [str(route) for route in all_routes(actual) if not is_ours(route, OWNERSHIP)]
