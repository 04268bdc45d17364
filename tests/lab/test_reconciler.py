"""The reconciler on the real kernel: what others break is whole again within a second, and nothing else is touched."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from felix.fib.journal import MemoryJournal
from felix.fib.model import Desired, Hop, Protocol, Route, RouteType, Scope, Why
from felix.fib.netlink import NetlinkKernel
from felix.fib.plan import ALL_IN_SYNC
from felix.fib.reconciler import Reconciler
from tests.lab.namespace import Elsewhere, ip, other_network, private_network

pytestmark = pytest.mark.root

POOLS = frozenset({ip_network("10.244.0.0/16")})
WHY = Why("a test")
NODE2 = Hop("ens33", ip_address("192.168.50.11"))
NODE3 = Hop("ens33", ip_address("192.168.50.12"))
BLOCK = Route(ip_network("10.244.104.0/26"), (NODE2,))
POD = Route(ip_network("10.244.166.128/32"), (Hop("cali1"),), protocol=Protocol.BOOT, scope=Scope.LINK)
BLACKHOLE = Route(ip_network("10.244.166.128/26"), type=RouteType.BLACKHOLE)
PROXY_ARP = "net/ipv4/conf/cali1/proxy_arp"
TABLE = (
    "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    "10.244.166.128 dev cali1 scope link\n"
    "blackhole 10.244.166.128/26 proto bird\n"
    "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10\n"
)
_REPAIRED_WITHIN_S = 1.0
_PACKETS_PER_S = 2000
_SO_RECEIVE_BUFFER_FORCE = 33


def desired(*routes: Route) -> Desired:
    return Desired(
        routes={route.key: (route, WHY) for route in routes},
        devices_up={"cali1": WHY},
        sysctls={PROXY_ARP: ("1", WHY)},
    )


@pytest.fixture
def cluster() -> Iterator[Elsewhere]:
    """This node with its uplink and one pod's device; what comes back is the far side, with nodes 2 and 3 in one."""
    with private_network(), other_network() as far:
        add_veth("ens33", far)
        add_veth("cali1", far)
        ip("addr add 192.168.50.10/24 dev ens33")
        for address in ("192.168.50.11/24", "192.168.50.12/24"):
            far.ip(f"addr add {address} dev ens33")
        far.ip("addr add 10.244.104.1/32 dev lo")
        yield far


def add_veth(name: str, far: Elsewhere) -> None:
    ip(f"link add {name} type veth peer name {name} netns {far.path}")
    ip(f"link set {name} up")
    far.ip(f"link set {name} up")


@asynccontextmanager
async def reconciling() -> AsyncIterator[Reconciler]:
    kernel = await NetlinkKernel.open()
    reconciler = Reconciler(kernel, MemoryJournal())
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kernel.close()
        assert task.cancelled(), task.exception()


async def whole(reconciler: Reconciler) -> None:
    reconciler.want(desired(BLOCK, POD, BLACKHOLE), pools=POOLS, in_sync=ALL_IN_SYNC)
    await reconciler.settled([BLOCK.key, POD.key, BLACKHOLE.key])


async def becomes(read: Callable[[], str], wanted: str) -> float:
    """Seconds until ``read`` gives ``wanted``. Looks from outside, because what we think we did is not the question."""
    start_s = time.monotonic()
    while (seen := read()) != wanted:
        assert time.monotonic() - start_s < _REPAIRED_WITHIN_S, seen
        await asyncio.sleep(0.005)
    return time.monotonic() - start_s


def ip_route() -> str:
    return ip("-4 route")


@pytest.mark.parametrize(
    "damage",
    [
        ["route flush proto bird"],
        ["route flush proto boot"],
        ["route del 10.244.104.0/26"],
        ["route replace 10.244.104.0/26 via 192.168.50.12 dev ens33 proto bird"],
        ["route replace 10.244.104.0/26 via 192.168.50.12"],
        ["route replace 10.244.166.128 via 192.168.50.12"],
        ["route replace blackhole 10.244.104.0/26"],
        ["route append 10.244.104.0/26 via 192.168.50.12 proto bird"],
        ["route prepend 10.244.104.0/26 via 192.168.50.12 proto bird"],
        ["route add 10.244.77.0/26 via 192.168.50.12 proto bird"],
        ["route add 10.244.166.128 dev cali1 metric 1024"],
        ["link set cali1 down"],
        ["link set cali1 down", "link set cali1 up"],
        ["link set ens33 down", "link set ens33 up"],
        ["addr del 192.168.50.10/24 dev ens33", "addr add 192.168.50.10/24 dev ens33"],
    ],
    ids="; ".join,
)
def test_what_is_broken_by_hand_is_whole_again_within_a_second(cluster: Elsewhere, damage: list[str]) -> None:
    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            assert ip_route() == TABLE
            for command in damage:
                ip(command)
            await becomes(ip_route, TABLE)

    asyncio.run(main())


def test_a_veth_that_is_deleted_and_made_again_gets_its_route_and_its_sysctls(cluster: Elsewhere) -> None:
    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            ip("link del cali1")
            await becomes(ip_route, TABLE.replace("10.244.166.128 dev cali1 scope link\n", ""))
            ip(f"link add cali1 type veth peer name cali1 netns {cluster.path}")
            cluster.ip("link set cali1 up")
            await becomes(ip_route, TABLE)
            await becomes(lambda: read_sysctl(PROXY_ARP), "1")

    asyncio.run(main())


def test_a_sysctl_of_a_pods_device_that_is_changed_by_hand_is_set_right(cluster: Elsewhere) -> None:
    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            await asyncio.to_thread(Path("/proc/sys", PROXY_ARP).write_text, "0")
            await becomes(lambda: read_sysctl(PROXY_ARP), "1")

    asyncio.run(main())


def read_sysctl(path: str) -> str:
    return Path("/proc/sys", path).read_text().strip()


def test_an_uplink_that_is_down_is_left_down(cluster: Elsewhere) -> None:
    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            ip("link set ens33 down")
            await becomes(lambda: str(reconciler.status(BLOCK.key)), "pending: device ens33 is down")
            assert "state DOWN" in ip("link show ens33")

    asyncio.run(main())


FOREIGN = (
    "default via 192.168.50.1 dev ens33 proto static metric 100",
    "10.244.9.0/26 via 192.168.50.12 dev ens33",
    "10.244.10.0/26 via 192.168.50.12 dev ens33 proto zebra metric 20",
    "blackhole 10.244.11.0/26 proto static",
    "unreachable 10.244.12.0/26 proto bird",
    "10.244.166.200 dev cali1 proto static scope link",
    "172.16.0.0/12 via 192.168.50.12 dev ens33 proto bird",
    "172.17.0.0/16 dev docker0 scope link linkdown",
    "10.9.0.0/24 table 100 via 192.168.50.12 dev ens33 proto bird",
)


def test_foreign_routes_are_byte_for_byte_the_same_before_and_after(cluster: Elsewhere) -> None:
    ip("link add docker0 type bridge")
    ip("link set docker0 up")
    for route in FOREIGN:
        ip(f"route add {route.removesuffix(' linkdown')}")
    ip("-6 route add fd00:9::/64 dev ens33 proto static")
    ip("rule add from 10.9.0.0/24 table 100")
    before = everything()

    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            ip("link set cali1 down")
            await becomes(lambda: str("10.244.166.128 dev cali1 scope link" in ip_route()), "True")
            reconciler.want(Desired(), pools=POOLS, in_sync=ALL_IN_SYNC)
            await becomes(lambda: str(any(str(ours) in ip_route() for ours in (BLOCK, POD, BLACKHOLE))), "False")

    # The foreign route on the pod's device goes with the fall of that device, as it would without us.
    asyncio.run(main())
    gone = "10.244.166.200 dev cali1 proto static scope link\n"
    assert everything() == before.replace(gone, "")


def everything() -> str:
    """All tables, all rules, but for what the kernel's own IPv6 does with time."""
    tables = ip("-4 route show table all") + ip("-6 route show table main") + ip("rule")
    return "".join(line for line in tables.splitlines(keepends=True) if "fe80::" not in line)


def test_a_foreign_route_in_the_way_is_left_alone_and_reported(cluster: Elsewhere) -> None:
    ip("route add 10.244.104.0/26 via 192.168.50.12 proto static")

    async def main() -> None:
        async with reconciling() as reconciler:
            reconciler.want(desired(BLOCK, POD), pools=POOLS, in_sync=ALL_IN_SYNC)
            await reconciler.settled([POD.key])
            assert "10.244.104.0/26 via 192.168.50.12 dev ens33 proto static" in ip_route()
            assert str(reconciler.status(BLOCK.key)).startswith(
                "conflict: in the way: 10.244.104.0/26 via 192.168.50.12"
            )
            ip("route del 10.244.104.0/26")
            await becomes(lambda: ip("route show 10.244.104.0/26"), f"{BLOCK}\n")

    asyncio.run(main())


def test_a_node_of_upstreams_is_taken_over_and_the_table_is_the_documents(cluster: Elsewhere) -> None:
    for left in (
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto 80 onlink",
        "10.244.166.128 dev cali1 scope link metric 1024",
        "blackhole 10.244.166.128/26 proto 80",
        "10.244.200.0/26 via 192.168.50.12 dev ens33 proto 80 onlink",
    ):
        ip(f"route add {left}")

    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            await becomes(ip_route, TABLE)

    asyncio.run(main())


def test_a_storm_of_changes_that_overruns_the_socket_is_made_good(cluster: Elsewhere) -> None:
    async def main() -> None:
        async with reconciling() as reconciler:
            await whole(reconciler)
            for _ in range(3):  # in one thread with the loop: nothing is read meanwhile
                storm = "".join(f"route add 10.250.{n >> 6 & 255}.{(n & 63) * 4}/30 dev ens33\n" for n in range(16000))
                batch(storm)
                batch(storm.replace("add", "del"))
            batch("route flush proto bird")
            await becomes(ip_route, TABLE)

    asyncio.run(main())


def batch(commands: str) -> None:
    subprocess.run(["ip", "-force", "-batch", "-"], input=commands, text=True, check=True, capture_output=True)


# Packets.


class Stream:
    """Numbered packets to a pod on the far side, and how many came."""

    def __init__(self, far: Elsewhere) -> None:
        self._receiver = far.udp_socket()
        self._receiver.bind(("10.244.104.1", 9))
        self._receiver.setsockopt(
            socket.SOL_SOCKET, _SO_RECEIVE_BUFFER_FORCE, 16 << 20
        )  # loss on the way is the question
        self._receiver.settimeout(0.5)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._is_over = threading.Event()
        self.sent = self.refused = self.received = 0

    def _send(self) -> None:
        due_s = time.monotonic()
        while not self._is_over.is_set():
            try:
                self._sender.sendto(b"x" * 64, ("10.244.104.1", 9))
            except OSError:
                self.refused += 1
            self.sent += 1
            due_s += 1 / _PACKETS_PER_S
            if (rest_s := due_s - time.monotonic()) > 0:
                time.sleep(rest_s)  # the rate of the stream, not a wait for something

    def _receive(self) -> None:
        try:
            while True:
                self._receiver.recv(2048)
                self.received += 1
        except TimeoutError:
            return

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._receive), threading.Thread(target=self._send)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in reversed(threads):
                thread.join()
            self._sender.close()
            self._receiver.close()


async def traffic_during(far: Elsewhere, ways: list[Route]) -> Stream:
    async with reconciling() as reconciler:
        reconciler.want(desired(ways[0]), pools=POOLS, in_sync=ALL_IN_SYNC)
        await reconciler.settled([ways[0].key])
        stream = Stream(far)
        with stream.flowing():
            end_s = time.monotonic() + 2
            while time.monotonic() < end_s:
                for way in ways:
                    reconciler.want(desired(way), pools=POOLS, in_sync=ALL_IN_SYNC)
                    await reconciler.settled([way.key])
                    await asyncio.sleep(0)
    return stream


@pytest.mark.parametrize(
    "ways",
    [
        [BLOCK, Route(BLOCK.dst, (NODE3,))],
        [BLOCK, Route(BLOCK.dst, (NODE3,), metric=1024)],
        [BLOCK, Route(ip_network("10.244.104.1/32"), (NODE3,))],
        [BLOCK, Route(BLOCK.dst, (NODE2, NODE3))],
    ],
    ids=["another next hop", "another metric", "a more specific one", "two ways"],
)
def test_no_packet_is_lost_while_the_route_is_changed_thousands_of_times(cluster: Elsewhere, ways: list[Route]) -> None:
    stream = asyncio.run(traffic_during(cluster, ways))
    assert stream.sent > _PACKETS_PER_S
    assert (stream.refused, stream.sent - stream.received) == (0, 0)
