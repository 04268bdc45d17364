"""A pod's interface: one end in the pod's namespace, the other here; made, looked at and removed.

The pair is born with one end in each namespace: a thread enters the pod's, makes both, configures the pod's end, comes
back and prepares the host's end before it is raised, so that it never accepts a router advertisement and never answers
for the pod too early. Threads, because entering a namespace is a thread's affair and removing a veth blocks for
10-20 ms (RCU); blocking calls of this module never run on the event loop.

Source: Calico cni-plugin/pkg/dataplane/linux; measured 2.5 ms a pair on Linux 6.18.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from errno import EEXIST, ENODEV
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any, TypeVar

from felix.fib.pod_link import GATEWAY, GATEWAY_V6, HOST_MAC, PodSide, VethPlan, host_sysctls
from felix.fib.pyroute import IPRoute, NetlinkError

Address = IPv4Address | IPv6Address
T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NODAD = 0x02  # IFA_F_NODAD
_UNICAST, _UNIVERSE = 1, 0  # RTN_UNICAST, RT_SCOPE_UNIVERSE
_SYSCTLS_V6 = "net/ipv6/"


class VethError(Exception):
    """The kernel refused a step, or the pod's namespace is gone; the message names the step."""


class Veths:
    """Opened in the host's namespace, which it remembers; ``close`` waits for what is under way."""

    def __init__(self) -> None:
        self._host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="veth")

    async def make(self, netns: int, plan: VethPlan) -> None:
        """Make the pair, replacing a host end of that name. Raises VethError, and then the pair is gone again."""
        await self._in_thread(lambda: _make(self._host, netns, plan))

    async def remove(self, host_device: str) -> bool:
        """Remove the pair; False when there was none. Raises VethError."""
        return await self._in_thread(lambda: _remove(host_device))

    async def look(self, netns: int, pod_device: str) -> PodSide | None:
        """What stands in the pod's namespace, None when the device is not there. Raises VethError."""
        return await self._in_thread(lambda: _look(self._host, netns, pod_device))

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        os.close(self._host)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _make(host: int, netns: int, plan: VethPlan) -> None:
    with _inside(netns, host), _step(f"make the pair {plan.pod_device}, {plan.host_device}"), IPRoute() as kernel:
        try:
            _add_pair(kernel, host, plan)
        except NetlinkError as error:
            if error.code != EEXIST:
                raise
            _remove_leftovers(kernel, host, netns, plan)
            _add_pair(kernel, host, plan)
        _configure_pod_side(kernel, plan)
    try:
        with _step(f"prepare {plan.host_device}"):
            for path, value in host_sysctls(plan.host_device, plan.versions).items():
                if 6 in plan.versions or not path.startswith(_SYSCTLS_V6) or _has_ipv6():
                    _write_sysctl(path, value)
            _here().link("set", index=_index(_here(), plan.host_device), state="up")
    except VethError:
        _remove(plan.host_device)
        raise


def _add_pair(kernel: Any, host: int, plan: VethPlan) -> None:
    peer = {"ifname": plan.host_device, "net_ns_fd": host, "address": HOST_MAC, "mtu": plan.mtu_bytes}
    kernel.link(
        "add",
        kind="veth",
        ifname=plan.pod_device,
        address=plan.mac,
        mtu=plan.mtu_bytes,
        txqlen=1000,
        peer=peer,
    )


def _remove_leftovers(kernel: Any, host: int, netns: int, plan: VethPlan) -> None:
    """An earlier try that failed half-way, or an earlier container of the same pod, left one end or the other."""
    _delete(kernel, plan.pod_device)
    _enter(host)
    try:
        _remove(plan.host_device)
    finally:
        _enter(netns)


def _configure_pod_side(kernel: Any, plan: VethPlan) -> None:
    index = _index(kernel, plan.pod_device)
    if 6 in plan.versions:
        for path in ("all", "default", "lo"):
            _write_sysctl(f"{_SYSCTLS_V6}conf/{path}/disable_ipv6", "0")
    kernel.link("set", index=index, state="up")
    if 4 in plan.versions:
        kernel.route("add", dst=f"{GATEWAY}/32", oif=index, scope="link", proto="boot")
        kernel.route("add", dst="0.0.0.0/0", gateway=str(GATEWAY), oif=index, proto="boot")
    if 6 in plan.versions:
        kernel.route("add", family=AF_INET6, dst="::/0", gateway=str(GATEWAY_V6), oif=index, proto="boot")
    for address in plan.addresses:
        flags = _NODAD if address.version == 6 else 0
        kernel.addr("add", index=index, address=str(address), prefixlen=address.max_prefixlen, flags=flags)
    _write_sysctl("net/ipv4/ip_forward", "1" if plan.allow_forwarding else "0")
    if 6 in plan.versions:
        _write_sysctl(f"{_SYSCTLS_V6}conf/all/forwarding", "1" if plan.allow_forwarding else "0")


def _remove(device: str) -> bool:
    with _step(f"remove {device}"):
        return _delete(_here(), device)


def _delete(kernel: Any, device: str) -> bool:
    try:
        kernel.link("del", index=_index(kernel, device))
    except NoDevice:
        return False
    except NetlinkError as error:
        if error.code != ENODEV:  # the namespace's end took it along in this moment
            raise
        return False
    return True


_of_thread = threading.local()


def _here() -> Any:
    """This thread's own socket in the host's namespace, where it was first asked for."""
    if not hasattr(_of_thread, "kernel"):
        _of_thread.kernel = IPRoute()
    return _of_thread.kernel


def _look(host: int, netns: int, name: str) -> PodSide | None:
    with _inside(netns, host), _step(f"look at {name}"), IPRoute() as kernel:
        try:
            index = _index(kernel, name)
        except NoDevice:
            return None
        link = kernel.get_links(index)[0]
        return PodSide(
            mac=link.get("address") or "",
            mtu_bytes=link.get("mtu") or 0,
            is_up=link.get("state") == "up",
            addresses=_addresses(kernel.get_addr(index=index)),
            default_routes=frozenset(
                version
                for version, family in ((4, AF_INET), (6, AF_INET6))
                for route in kernel.get_routes(family=family)
                if route["dst_len"] == 0 and route.get("oif") == index and route["type"] == _UNICAST
            ),
        )


def _addresses(dump: Sequence[Any]) -> tuple[Address, ...]:
    """Those that count beyond the link."""
    return tuple(ip_address(each.get("address")) for each in dump if each["scope"] == _UNIVERSE)


def _has_ipv6() -> bool:
    return Path("/proc/sys", _SYSCTLS_V6).exists()


def _index(kernel: Any, name: str) -> int:
    """Raises NoDevice."""
    try:
        return int(kernel.link("get", ifname=name)[0]["index"])
    except NetlinkError as error:
        if error.code != ENODEV:
            raise
        raise NoDevice(f"{name} is gone") from None


def _write_sysctl(path: str, value: str) -> None:
    Path("/proc/sys", path).write_text(value)


class NoDevice(VethError):
    """There is no device of that name."""


@contextmanager
def _inside(netns: int, home: int) -> Iterator[None]:
    """Be in another network namespace for a while."""
    _enter(netns)
    try:
        yield
    finally:
        _come_back(home)


def _come_back(home: int) -> None:
    """A thread that is stuck in a pod's namespace would configure the wrong one next: then nothing may go on."""
    try:
        _enter(home)
    except VethError as error:
        raise SystemExit(f"cannot come back from a pod's network namespace: {error}") from None


_libc = ctypes.CDLL(None, use_errno=True)


def _enter(netns: int) -> None:
    if _libc.setns(netns, _CLONE_NEWNET):
        raise VethError(f"the pod's network namespace cannot be entered: {os.strerror(ctypes.get_errno())}")


@contextmanager
def _step(what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise VethError(f"cannot {what}: {error.args[-1]}") from None
    except OSError as error:
        raise VethError(f"cannot {what}: {error}") from None
