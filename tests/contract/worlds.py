"""Two worlds with the same handles: the model kernel, and the real one in a namespace. A person stands beside each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_interface
from typing import Protocol

from felix.fib.kernel import Change, Kernel
from felix.fib.model import Actual, Op, Route, show
from felix.fib.model_kernel import ModelKernel
from felix.fib.netlink import NetlinkKernel
from tests.lab.namespace import ip, private_network


class Person(Protocol):
    """What somebody with a shell does. Devices are veths whose far end is up as well."""

    def add_link(self, name: str) -> None: ...
    def delete_link(self, name: str) -> None: ...
    def set_up(self, name: str) -> None: ...
    def set_down(self, name: str) -> None: ...
    def add_address(self, device: str, interface: str, *, metric: int = 0) -> None: ...
    def delete_address(self, device: str, interface: str) -> None: ...
    def append(self, route: Route, *, first: bool = False) -> None: ...
    def ip_route(self, version: int = 4) -> str:
        """``ip route``, in its own order, without what it says of the device's state."""
        ...


class World:
    """A kernel without the asyncio around it, and ``person``."""

    def __init__(self, kernel: Kernel, person: Person, runner: asyncio.Runner) -> None:
        self.kernel = kernel
        self.person = person
        self.runner = runner

    def read(self) -> Actual:
        return self.runner.run(self.kernel.read())

    def show(self) -> str:
        return show(self.read().routes.values())

    def do(self, *ops: Op) -> str:
        """The results, a word each: ``done`` or the errno's name."""
        return " ".join(_word(result) for result in self.runner.run(self.kernel.apply(ops)))

    def take_changes(self) -> Sequence[Change]:
        return self.kernel.take_changes()


def _word(result: object) -> str:
    return "done" if result is None else str(result).split(" ")[0]


class ModelPerson:
    def __init__(self, kernel: ModelKernel) -> None:
        self._kernel = kernel
        self.add_link = kernel.add_link
        self.delete_link = kernel.delete_link
        self.set_up = kernel.set_up
        self.set_down = kernel.set_down

    def add_address(self, device: str, interface: str, *, metric: int = 0) -> None:
        self._kernel.add_address(device, ip_interface(interface), metric=metric)

    def delete_address(self, device: str, interface: str) -> None:
        self._kernel.delete_address(device, ip_interface(interface))

    def append(self, route: Route, *, first: bool = False) -> None:
        assert self._kernel.append(route, first=first) is None

    def ip_route(self, version: int = 4) -> str:
        actual = asyncio.run(self._kernel.read())
        return show(route for route in actual.routes.values() if route.dst.version == version)


class RealPerson:
    def add_link(self, name: str) -> None:
        far = f"far-{name[-10:]}"
        ip(f"link add {name} type veth peer name {far}")
        for end in (name, far):
            ip(f"link set {end} addrgenmode none")  # the model has no link-local addresses
        ip(f"link set {far} up")

    def delete_link(self, name: str) -> None:
        ip(f"link del {name}")

    def set_up(self, name: str) -> None:
        ip(f"link set {name} up")

    def set_down(self, name: str) -> None:
        ip(f"link set {name} down")

    def add_address(self, device: str, interface: str, *, metric: int = 0) -> None:
        ip(f"addr add {interface} dev {device} metric {metric}" + (" nodad" if ":" in interface else ""))

    def delete_address(self, device: str, interface: str) -> None:
        ip(f"addr del {interface} dev {device}")

    def append(self, route: Route, *, first: bool = False) -> None:
        ip(f"route {'prepend' if first else 'append'} {route}")

    def ip_route(self, version: int = 4) -> str:
        text = ip(f"-{version} route").replace(" \n\tnexthop", " nexthop").replace("\n\tnexthop", " nexthop")
        lines = (line.replace(" linkdown", "") for line in text.splitlines())
        return "".join(f"{line}\n" for line in lines if not line.startswith("fe80::"))


@contextmanager
def model_world() -> Iterator[World]:
    kernel = ModelKernel()
    with asyncio.Runner() as runner:
        yield World(kernel, ModelPerson(kernel), runner)


@contextmanager
def real_world() -> Iterator[World]:
    with private_network(), asyncio.Runner() as runner:
        kernel = runner.run(NetlinkKernel.open())
        try:
            yield World(kernel, RealPerson(), runner)
        finally:
            runner.run(kernel.close())
