"""``calico-node -leave-flannel``: takes away what a flannel that is gone has left on this node.

flannel removes nothing when its manifest is deleted: its tunnel stays with routes through it, so do its routes to other
nodes, its chains and its annotations. As long as its configuration is on the node, or a pod of its runs there, it is
not gone: that is told and nothing is touched. The bridge stays with the old pods on it: it is not flannel's but its
plugin's.

What is flannel's is known by name (devices, chains, annotations); its host-gw routes look like anybody's, and are those
to a node's own podCIDR through that node's address.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from datastore.kubernetes.condition import GONE, patch
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import StoreError
from felix import conflicts
from felix.fib.kernel import KernelUnavailable
from felix.fib.model import Actual, Address, DeleteRoute, Network, Op, Protocol
from felix.fib.netlink import NetlinkKernel
from felix.fib.tunnel import RemoveTunnel
from felix.firewall.execute import execute
from felix.firewall.model import FirewallUnavailable
from felix.startup.name import node_name

ANNOTATIONS = "flannel.alpha.coreos.com/"
_DEVICE = re.compile(r"flannel((-v6)?\.\d+|\d+|\.ipip)\Z")
_JUMP = re.compile(r"^-A (\S+ .*-j FLANNEL-\S+)$", re.MULTILINE)
_CHAIN = re.compile(r"^:(FLANNEL-\S+)", re.MULTILINE)
_PROGRAMS = ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")
_NFT_TABLES = (("ip", "flannel-ipv4"), ("ip6", "flannel-ipv6"))


@dataclass(frozen=True, slots=True)
class Seen:
    """What Kubernetes says: this node's annotations, the way to each other node's podCIDR, flannel's pods here, and
    whether flannel told that the network is up.
    """

    annotations: tuple[str, ...]
    ways: Mapping[Network, Address]
    pods: tuple[str, ...]
    is_told_up: bool


def still_here(seen: Seen, configured: Iterable[str]) -> list[str]:
    """Why flannel is not gone; nothing when it is."""
    return [
        *(line for line in configured if "flannel" in line),
        *(f"conflict: pod {pod} runs here" for pod in seen.pods),
    ]


def ops(actual: Actual, ways: Mapping[Network, Address]) -> list[Op]:
    """A tunnel takes its routes with it."""
    routes: list[Op] = [
        DeleteRoute(route)
        for route in actual.routes.values()
        if route.protocol == Protocol.BOOT and len(route.hops) == 1 and ways.get(route.dst) == (route.hops[0].via or "")
    ]
    return [*routes, *(RemoveTunnel(name) for name in sorted(actual.links) if _DEVICE.match(name))]


def restore_text(saved: str) -> str:
    """What takes flannel's rules and chains out of what iptables-save printed; "" when there are none."""
    said = []
    for section in re.split(r"^(?=\*)", saved, flags=re.MULTILINE):
        chains = _CHAIN.findall(section)
        lines = [f"-D {jump}" for jump in _JUMP.findall(section)]
        lines += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
        if lines:
            said += [section.split("\n", 1)[0], *lines, "COMMIT"]
    return "".join(f"{line}\n" for line in said)


async def leave(environ: Mapping[str, str]) -> list[str]:
    """Returns lines that say what was done. Raises StoreError, KernelUnavailable, FirewallUnavailable."""
    seen = await _look(environ)
    if seen is None:
        return []
    if why := still_here(seen, conflicts.lines()):
        return [*why, "what flannel has on this node is left alone"]
    done = [str(op) for op in await _clear_kernel(seen.ways)] + await _clear_filters()
    await _take_back(environ, seen)
    return [*done, "flannel was here, and nothing of it is left"]


async def _clear_kernel(ways: Mapping[Network, Address]) -> list[Op]:
    kernel = await NetlinkKernel.open()
    try:
        wanted = ops(await kernel.read(), ways)
        refusals = await kernel.apply(wanted)
        return [op for op, refusal in zip(wanted, refusals, strict=True) if refusal is None]
    finally:
        await kernel.close()


async def _clear_filters() -> list[str]:
    done = []
    for program in _PROGRAMS:
        status, saved, _ = await execute((f"{program}-save",))
        if status == 0 and (text := restore_text(saved)):
            status, _, why = await execute((f"{program}-restore", "--noflush", "--wait"), text.encode())
            done.append(f"{program}: {why.strip() or 'flannel chains are gone'}")
    for family, table in _NFT_TABLES:
        status, _, _ = await execute(("nft", "delete", "table", family, table))
        done += [f"nft: table {table} is gone"] if status == 0 else []
    return done


# --- Kubernetes -------------------------------------------------------------------------------------------------------


async def _look(environ: Mapping[str, str]) -> Seen | None:
    """None where the Node says nothing of flannel: then the others are not asked for."""
    from datastore.kubernetes.connect import client_of

    me, client = node_name(environ), client_of(environ)
    try:
        mine = await client.ask("GET", f"/api/v1/nodes/{me}", Asked("get", "nodes", Key("Node", me)))
        if not _of_flannel(mine):
            return None
        nodes = await client.ask("GET", "/api/v1/nodes", Asked("list", "nodes", Key("Node", "")))
        here = {"fieldSelector": f"spec.nodeName={me}"}
        pods = await client.ask("GET", "/api/v1/pods", Asked("list", "pods", Key("Pod", "")), query=here)
    finally:
        await client.close()
    return seen_in(mine, nodes["items"], pods["items"])


def seen_in(mine: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> Seen:
    """From the objects as Kubernetes has them."""
    running = [pod["metadata"] for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    return Seen(
        annotations=_of_flannel(mine),
        ways={ip_network(cidr): via for node in nodes for cidr in _pod_cidrs(node) if (via := _internal(node, cidr))},
        pods=tuple(f"{pod['namespace']}/{pod['name']}" for pod in running if "flannel" in pod["name"]),
        is_told_up=any(
            each.get("reason") == "FlannelIsUp" for each in (mine.get("status") or {}).get("conditions") or ()
        ),
    )


def _of_flannel(node: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in node["metadata"].get("annotations") or {} if name.startswith(ANNOTATIONS))


def _pod_cidrs(node: Mapping[str, Any]) -> Sequence[str]:
    return (node.get("spec") or {}).get("podCIDRs") or ()


def _internal(node: Mapping[str, Any], cidr: str) -> Address | None:
    """The node's address of the same family."""
    for each in (node.get("status") or {}).get("addresses") or ():
        if each["type"] == "InternalIP" and ip_address(each["address"]).version == ip_network(cidr).version:
            return ip_address(each["address"])
    return None


async def _take_back(environ: Mapping[str, str], seen: Seen) -> None:
    """What flannel wrote on the Node."""
    from datastore.kubernetes.connect import client_of

    edit: dict[str, Any] = {"metadata": {"annotations": dict.fromkeys(seen.annotations)}}
    if seen.is_told_up:
        edit["status"] = {"conditions": [GONE]}
    client = client_of(environ)
    try:
        await patch(client, node_name(environ), edit)
    finally:
        await client.close()


def main(environ: Mapping[str, str]) -> int:
    if environ.get("DATASTORE_TYPE") != "kubernetes":
        return 0
    try:
        for line in asyncio.run(leave(environ)):
            sys.stdout.write(f"{line}\n")
    except (StoreError, KernelUnavailable, FirewallUnavailable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
