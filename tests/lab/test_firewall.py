"""What the rules do to packets, on the real kernel with each backend: NAT, members, forged sources, own encapsulation.

This network is a node (ens33, two pods); the far side of ens33 is another node, a stranger and the world outside.
The node's host drops what it forwards, as one with Docker does (where the backend can undo that).
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from felix.firewall.choose import Backend
from felix.firewall.machine import ThisMachine
from felix.firewall.rules import Encap, Facts, HostAction, Options, Pool, Tunnel, rules
from tests.contract.test_firewall import BACKENDS
from tests.lab.namespace import Elsewhere, ip, other_network, private_network

POD1, POD2, REMOTE_POD, OUTSIDE = "10.244.1.2", "10.244.1.3", "10.244.2.2", "203.0.113.1"
NODE, MEMBER, STRANGER = "192.168.50.10", "192.168.50.11", "192.168.50.99"
TUNNEL_ADDRESS = "10.244.1.1"
PORT = 7777
VXLAN_PORT = 4789
MEMBERS = frozenset(map(ip_network, (NODE, MEMBER)))
FACTS = Facts(
    pools=frozenset({Pool(ip_network("10.244.0.0/16"), nat_outgoing=True)}),
    hosts=MEMBERS,
    vxlan_members=MEMBERS,
    tunnels=(Tunnel(Encap.IPIP, "tunl0", has_address=False), Tunnel(Encap.VXLAN, "vxlan.calico")),
    options=Options(host_action=HostAction.DROP),
)
_ARRIVES_WITHIN_S = 1.0
_STAYS_AWAY_S = 0.3


@dataclass(frozen=True)
class Site:
    far: Elsewhere
    pod1: Elsewhere
    pod2: Elsewhere


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    with ExitStack() as stack:
        stack.enter_context(private_network())
        made = Site(*(stack.enter_context(other_network()) for _ in range(3)))
        _uplink(made.far)
        for device, pod, address in (("cali1", made.pod1, POD1), ("cali2", made.pod2, POD2)):
            _pod(device, pod, address)
        yield made


def _uplink(far: Elsewhere) -> None:
    ip(f"link add ens33 type veth peer name ens33 netns {far.path}")
    ip(f"addr add {NODE}/24 dev ens33")
    ip("link set ens33 up")
    for address in (f"{MEMBER}/24", f"{STRANGER}/24", f"{OUTSIDE}/32", f"{REMOTE_POD}/32"):
        far.ip(f"addr add {address} dev ens33")
    far.ip("link set ens33 up")
    far.ip(f"route add 10.244.1.0/24 via {NODE}")
    ip(f"route add default via {MEMBER}")
    _sysctl("net/ipv4/ip_forward", "1")


def _pod(device: str, pod: Elsewhere, address: str) -> None:
    ip(f"link add {device} type veth peer name eth0 netns {pod.path}")
    _sysctl(f"net/ipv4/conf/{device}/proxy_arp", "1")
    ip(f"link set {device} up")
    ip(f"route add {address} dev {device}")
    pod.ip(f"addr add {address}/32 dev eth0")
    pod.ip("link set eth0 up")
    pod.ip("route add 169.254.1.1 dev eth0 scope link")
    pod.ip("route add default via 169.254.1.1 dev eth0")


def _sysctl(path: str, value: str) -> None:
    """Of the calling thread's namespace: /proc/sys shows the one of whoever opens it."""
    Path("/proc/sys", path).write_text(value)


async def protect(backend: Backend, facts: Facts = FACTS) -> None:
    await ThisMachine().writer(backend).write(rules(facts))


def drop_forwarded(backend: Backend) -> None:
    form = {Backend.IPTABLES_LEGACY: "legacy", Backend.IPTABLES_NFT: "nft"}.get(backend)
    if form is not None:
        subprocess.run([f"iptables-{form}", "-P", "FORWARD", "DROP"], check=True)


def here(kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
    return socket.socket(socket.AF_INET, kind, protocol)


def arrival(listener: socket.socket, sender: socket.socket, to: tuple[str, int], payload: bytes = b"hello") -> str:
    """The address that the packet is seen to come from; "" if it does not arrive. What came before is not looked at."""
    _drain(listener)
    for attempt_s in (_STAYS_AWAY_S, _ARRIVES_WITHIN_S - _STAYS_AWAY_S):
        sender.sendto(payload, to)
        listener.settimeout(attempt_s)
        try:
            _, (source, _) = listener.recvfrom(2048)
        except TimeoutError:
            continue
        return str(source)
    return ""


def _drain(listener: socket.socket) -> None:
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            listener.recv(2048)


def listening(where: Elsewhere, address: str, port: int = PORT) -> socket.socket:
    made = where.udp_socket()
    made.bind((address, port))
    return made


def sending(where: Elsewhere, address: str) -> socket.socket:
    made = where.udp_socket()
    made.bind((address, 0))
    return made


@pytest.mark.parametrize("backend", BACKENDS)
async def test_pods_leave_the_cluster_with_the_nodes_address_and_keep_their_own_inside(
    site: Site, backend: Backend
) -> None:
    drop_forwarded(backend)
    sender = sending(site.pod1, POD1)
    assert arrival(listening(site.far, OUTSIDE), sender, (OUTSIDE, PORT)) in ("" if _drops(backend) else POD1,)
    await protect(backend)
    sender = sending(site.pod1, POD1)  # another connection: the old one is known without NAT
    assert arrival(listening(site.far, OUTSIDE, PORT + 1), sender, (OUTSIDE, PORT + 1)) == NODE
    assert arrival(listening(site.far, REMOTE_POD), sender, (REMOTE_POD, PORT)) == POD1
    assert arrival(listening(site.pod2, POD2), sender, (POD2, PORT)) == POD1
    assert arrival(listening(site.pod2, POD2, 53), sending(site.far, MEMBER), (POD2, 53)) == MEMBER


def _drops(backend: Backend) -> bool:
    return backend is not Backend.NFT


@pytest.mark.parametrize("backend", BACKENDS)
async def test_hosts_are_spared_if_the_configuration_says_so(site: Site, backend: Backend) -> None:
    await protect(backend, replace(FACTS, options=replace(FACTS.options, nat_spares_hosts=True)))
    sender = sending(site.pod1, POD1)
    assert arrival(listening(site.far, MEMBER), sender, (MEMBER, PORT)) == POD1
    assert arrival(listening(site.far, OUTSIDE), sender, (OUTSIDE, PORT)) == NODE


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_pod_cannot_send_with_anothers_source(site: Site, backend: Backend) -> None:
    await protect(backend)
    for forged in (POD2, "10.244.1.77", NODE, "8.8.8.8"):
        site.pod1.ip(f"addr add {forged}/32 dev eth0")
        for listener, to in ((listening(site.far, REMOTE_POD), REMOTE_POD), (listening(site.pod2, POD2), POD2)):
            if to != forged:
                assert arrival(listener, sending(site.pod1, forged), (to, PORT)) == "", f"{forged} to {to}"
            listener.close()
        site.pod1.ip(f"addr del {forged}/32 dev eth0")
    assert arrival(listening(site.far, REMOTE_POD), sending(site.pod1, POD1), (REMOTE_POD, PORT)) == POD1


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_pod_may_send_with_what_it_was_allowed(site: Site, backend: Backend) -> None:
    await protect(backend, replace(FACTS, free_sources={"cali1": (ip_network("10.9.0.0/24"),)}))
    for address, arrives in (("10.9.0.7", True), ("10.8.0.7", False)):
        site.pod1.ip(f"addr add {address}/32 dev eth0")
        with listening(site.far, REMOTE_POD) as listener:
            assert arrival(listener, sending(site.pod1, address), (REMOTE_POD, PORT)) == (address if arrives else "")


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_pod_cannot_send_encapsulated_packets_of_its_own(site: Site, backend: Backend) -> None:
    with (
        site.far.socket(socket.SOCK_RAW, socket.IPPROTO_IPIP) as ipip,
        listening(site.far, MEMBER, VXLAN_PORT) as vxlan,
    ):
        pod_ipip, pod_udp = site.pod1.socket(socket.SOCK_RAW, socket.IPPROTO_IPIP), sending(site.pod1, POD1)
        assert arrival(ipip, pod_ipip, (MEMBER, 0), inner(POD1, POD2)) == POD1
        await protect(backend)
        assert arrival(ipip, pod_ipip, (MEMBER, 0), inner(POD1, POD2)) == ""
        assert arrival(vxlan, pod_udp, (MEMBER, VXLAN_PORT)) == ""
        allowed = replace(FACTS.options, pods_may_send_ipip=True, pods_may_send_vxlan=True)
        await protect(backend, replace(FACTS, options=allowed))
        assert arrival(ipip, pod_ipip, (MEMBER, 0), inner(POD1, POD2)) != ""
        assert arrival(vxlan, pod_udp, (MEMBER, VXLAN_PORT)) != ""


@pytest.mark.parametrize("backend", BACKENDS)
async def test_only_members_may_send_ipip(site: Site, backend: Backend) -> None:
    await protect(backend)
    with here(socket.SOCK_RAW, socket.IPPROTO_IPIP) as listener:
        for address, arrives in ((MEMBER, True), (STRANGER, False)):
            sender = site.far.socket(socket.SOCK_RAW, socket.IPPROTO_IPIP)
            sender.bind((address, 0))
            assert arrival(listener, sender, (NODE, 0), inner(REMOTE_POD, POD1)) == (address if arrives else "")


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_strangers_vxlan_reaches_no_pod(site: Site, backend: Backend) -> None:
    mac = _vxlan_device()
    ip(f"route add {REMOTE_POD} dev vxlan.calico")  # or the kernel's own check would drop what comes from there
    await protect(backend)
    for address, arrives in ((MEMBER, True), (STRANGER, False)):
        with listening(site.pod1, POD1) as listener:
            frame = vxlan_frame(mac, inner(REMOTE_POD, POD1))
            seen = arrival(listener, sending(site.far, address), (NODE, VXLAN_PORT), frame)
            assert seen == (REMOTE_POD if arrives else "")


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_hosts_own_packets_into_a_tunnel_carry_the_tunnels_address(site: Site, backend: Backend) -> None:
    _vxlan_device()
    ip(f"route add {REMOTE_POD} dev vxlan.calico")
    ip(f"neigh add {REMOTE_POD} lladdr 66:00:00:00:00:11 dev vxlan.calico")
    _send_frames_to_the_member("66:00:00:00:00:11")
    await protect(backend)
    with listening(site.far, MEMBER, VXLAN_PORT) as listener, here() as sender:
        sender.bind((NODE, 0))
        sender.sendto(b"hello", (REMOTE_POD, PORT))
        listener.settimeout(_ARRIVES_WITHIN_S)
        frame = listener.recv(2048)
    assert socket.inet_ntoa(frame[8 + 14 + 12 :][:4]) == TUNNEL_ADDRESS


@pytest.mark.parametrize("backend", BACKENDS)
async def test_pods_reach_their_host_only_if_the_configuration_says_so_but_may_always_answer(
    site: Site, backend: Backend
) -> None:
    for action, arrives in ((HostAction.DROP, False), (HostAction.ACCEPT, True), (HostAction.RETURN, True)):
        await protect(backend, replace(FACTS, options=Options(host_action=action)))
        with here() as listener:
            listener.bind((NODE, PORT))
            assert arrival(listener, sending(site.pod1, POD1), (NODE, PORT)) == (POD1 if arrives else ""), action
            with listening(site.pod1, POD1, PORT + 1) as pod:
                assert arrival(pod, listener, (POD1, PORT + 1)) == NODE
                assert arrival(listener, pod, (NODE, PORT)) == POD1, f"the answer with {action}"


@pytest.mark.parametrize("backend", BACKENDS)
async def test_connections_past_a_clamped_device_offer_smaller_segments(site: Site, backend: Backend) -> None:
    await protect(backend, replace(FACTS, clamp={"cali1": 1200}))
    with site.far.socket(socket.SOCK_STREAM) as server, site.pod1.socket(socket.SOCK_STREAM) as client:
        server.bind((REMOTE_POD, PORT))
        server.listen()
        client.settimeout(_ARRIVES_WITHIN_S)
        client.connect((REMOTE_POD, PORT))
        accepted, _ = server.accept()
        for end in (client, accepted):
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 1200
        accepted.close()


def _send_frames_to_the_member(mac: str) -> None:
    subprocess.run(f"bridge fdb add {mac} dev vxlan.calico dst {MEMBER}".split(), check=True)


def _vxlan_device() -> str:
    ip(f"link add vxlan.calico type vxlan id 4096 dstport {VXLAN_PORT} local {NODE} dev ens33 nolearning")
    ip(f"addr add {TUNNEL_ADDRESS}/32 dev vxlan.calico")
    ip("link set vxlan.calico up")
    return ip("-br link show dev vxlan.calico").split()[2]


def vxlan_frame(mac: str, packet: bytes) -> bytes:
    """A whole VXLAN payload: header with VNI 4096, Ethernet header, packet. Source: RFC 7348."""
    ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("660000000011") + struct.pack("!H", 0x0800)
    return struct.pack("!II", 0x08000000, 4096 << 8) + ethernet + packet


def inner(source: str, destination: str) -> bytes:
    """An IPv4 packet with a UDP datagram to PORT."""
    payload = b"hello"
    udp = struct.pack("!HHHH", PORT, PORT, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + udp


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
