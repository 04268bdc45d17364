"""Nodes for flanneld: network namespaces on one bridge, a real etcd beside them, and the real program in each."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from datastore.etcd_settings import Endpoint
from lab.ports import free_port
from tests.etcd_server import EtcdServer, needs_etcd
from tests.lab.namespace import Elsewhere, ip, other_network, private_network

PREFIX = "/coreos.com/network"
FABRIC = "192.168.99.254"
PATIENCE_S = 15.0
OURS = (sys.executable, "-m", "flannel")
_PACKETS_PER_S = 1000
_FEWEST_PACKETS = 200
_SO_RCVBUFFORCE = 33


def eventually(read: Callable[[], object], *, patience_s: float = PATIENCE_S) -> float:
    """Seconds until it was so: for what happens in other processes, which no event of ours tells."""
    began = time.monotonic()
    while not read():
        assert time.monotonic() - began < patience_s, f"not within {patience_s} s: {read.__name__}"
        time.sleep(0.01)
    return time.monotonic() - began


@dataclass
class FlannelNode:
    """``address`` is that of eth0. Files are below ``folder``."""

    name: str
    address: str
    where: Elsewhere
    folder: Path
    endpoint: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(
        self, *flags: str, program: tuple[str, ...] = (sys.executable, "-m", "flannel"), waits: bool = True
    ) -> None:
        self.env_path.unlink(missing_ok=True) if waits else None
        words = [*program, f"-etcd-endpoints={self.endpoint}", f"-subnet-file={self.env_path}", *flags]
        command = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={self.where.path}", *words]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, pass_fds=[self.where.file.fileno()])
        if waits:
            eventually(self.is_ready)
            self.add_pods()

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return self.env_path.exists()

    def stop(self, *, kill: bool = False) -> int:
        assert self.process is not None
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        status = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return status

    def restart(self, *flags: str, kill: bool = False, program: tuple[str, ...] = OURS) -> None:
        """As a supervisor does: what the last run wrote is still there."""
        self.stop(kill=kill)
        before = self.env_path.stat().st_ino
        self.start(*flags, program=program, waits=False)
        eventually(lambda: self.is_ready() and self.env_path.stat().st_ino != before)

    def add_pods(self) -> None:
        """A bridge with the subnet's first address, in the place of pods."""
        if "cni0" not in self.where.ip("-br link"):
            self.where.ip("link add cni0 type bridge")
            self.where.ip("link set cni0 up")
        if f"{self.pod}/" not in self.where.ip("-br addr show dev cni0"):
            self.where.ip(f"addr add {self.pod}/24 dev cni0")

    # --- what there is to see -------------------------------------------------------------------------------------

    @property
    def env_path(self) -> Path:
        return self.folder / "subnet.env"

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    @property
    def env(self) -> dict[str, str]:
        pairs = (line.partition("=") for line in self.env_path.read_text().splitlines())
        return {name: value for name, _, value in pairs}

    @property
    def subnet(self) -> str:
        return self.env["FLANNEL_SUBNET"].replace(".1/", ".0/")

    @property
    def pod(self) -> str:
        return self.env["FLANNEL_SUBNET"].partition("/")[0]

    def routes(self) -> list[str]:
        """Those inside the flannel network, but for the own pods'."""
        return [line for line in self.where.ip("route").splitlines() if "10.5." in line and "cni0" not in line]

    def neighbours(self, device: str = "flannel.1") -> list[str]:
        return sorted(line for line in self._of(device, "neigh show dev {}") if "PERMANENT" in line)

    def forwarding(self, device: str = "flannel.1") -> list[str]:
        done = self.run("bridge", "fdb", "show", "dev", device)
        return sorted(line for line in done.splitlines() if "permanent" in line and "33:33" not in line)

    def device(self, name: str = "flannel.1") -> str:
        return "".join(self._of(name, "-d addr show dev {}"))

    def mac(self, device: str = "flannel.1") -> str:
        found = re.search(r"link/ether (\S+)", self.device(device))
        return found[1] if found else ""

    def state(self) -> str:
        """All that a peer's lease leads to."""
        return "\n".join([*self.routes(), *self.neighbours(), *self.forwarding()])

    def _of(self, device: str, command: str) -> list[str]:
        try:
            return [line.strip() for line in self.where.ip(command.format(device)).splitlines()]
        except subprocess.CalledProcessError:
            return []

    def run(self, *words: str) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self.where.path}", *words], capture_output=True, text=True, check=False
        )
        return done.stdout

    def pings(self, other: FlannelNode, *, count: int = 2) -> bool:
        words = ("ping", "-n", "-q", "-c", str(count), "-i", "0.01", "-W", "1", "-I", self.pod, other.pod)
        return f" {count} received" in self.run(*words)


@dataclass
class Site:
    etcd: EtcdServer
    nodes: list[FlannelNode]

    def configure(self, backend: str, network: str = "10.5.0.0/16", more: str = "") -> None:
        self.etcd.put(f"{PREFIX}/config", f'{{"Network": "{network}", {more} "Backend": {{{backend}}}}}')

    def start_all(self, *flags: str) -> None:
        for node in self.nodes:
            node.start(*flags)
        eventually(self.is_whole)

    def is_whole(self) -> bool:
        others = len(self.nodes) - 1
        return all(len(node.routes()) == others for node in self.nodes)

    def all_reach_all(self) -> bool:
        pairs = ((one, other) for one in self.nodes for other in self.nodes if one is not other)
        return all(one.pings(other) for one, other in pairs)

    def key_of(self, node: FlannelNode) -> str:
        return f"{PREFIX}/subnets/{node.subnet.replace('/', '-')}"


@contextmanager
def site(folder: Path, count: int = 3) -> Iterator[Site]:
    """``count`` nodes on one link, with addresses from 192.168.99.1 on; the caller's thread is on it as well."""
    needs_etcd()
    with private_network(), ExitStack() as stack:
        ip("link add br0 type bridge")
        ip("link set br0 up")
        ip(f"addr add {FABRIC}/24 dev br0")
        etcd = EtcdServer()
        etcd.endpoint = Endpoint(FABRIC, free_port())
        stack.callback(etcd.remove)
        etcd.start()
        nodes = [_node(f"node{number}", number, stack, folder, etcd) for number in range(1, count + 1)]
        made = Site(etcd, nodes)
        stack.callback(_end, made)
        yield made


def _node(name: str, number: int, stack: ExitStack, folder: Path, etcd: EtcdServer) -> FlannelNode:
    where = stack.enter_context(other_network())
    ip(f"link add {name} type veth peer name eth0 netns {where.path}")
    ip(f"link set {name} master br0 up")
    address = f"192.168.99.{number}"
    where.ip(f"addr add {address}/24 dev eth0")
    where.ip("link set eth0 up")
    where.ip(f"route add default via {FABRIC}")
    own = folder / name
    own.mkdir()
    node = FlannelNode(name, address, where, own, str(etcd.endpoint))
    node.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    return node


def _end(made: Site) -> None:
    for node in made.nodes:
        if node.process is not None:
            node.stop(kill=True)


class Flow:
    """Numbered packets from one node's pods to another's while the block runs."""

    def __init__(self, source: FlannelNode, target: FlannelNode, *, per_s: int = _PACKETS_PER_S) -> None:
        self._per_s = per_s
        self._receiver = target.where.udp_socket()
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self._receiver.bind((target.pod, 9))
        self._receiver.settimeout(0.5)
        self._sender = source.where.udp_socket()
        self._sender.bind((source.pod, 0))
        self._target = target.pod
        self._is_over, self._is_sent = threading.Event(), threading.Event()
        self.sent = 0
        self._received: set[bytes] = set()

    @property
    def lost(self) -> int:
        return self.sent - len(self._received)

    def __enter__(self) -> Flow:
        self._threads = [threading.Thread(target=self._receive), threading.Thread(target=self._send)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in reversed(self._threads):
            thread.join()
        self._sender.close()
        self._receiver.close()

    def _send(self) -> None:
        due_s = time.monotonic()
        while not self._is_over.is_set() or self.sent < _FEWEST_PACKETS:
            with_number = self.sent.to_bytes(8, "big")
            self.sent += 1
            with suppress(OSError):  # counted as lost
                self._sender.sendto(with_number, (self._target, 9))
            due_s += 1 / self._per_s
            if (rest_s := due_s - time.monotonic()) > 0:
                time.sleep(rest_s)  # the rate of the flow, not a wait for something
        self._is_sent.set()

    def _receive(self) -> None:
        """To the end of the flow, and for as long as something still comes: a silence before says nothing."""
        while True:
            try:
                self._received.add(self._receiver.recv(2048))
            except TimeoutError:
                if self._is_sent.is_set():
                    return
