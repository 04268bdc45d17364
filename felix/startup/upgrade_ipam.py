"""``calico-node -upgrade-ipam``: addresses that host-local gave to running pods become ours, and stay the pods'.

host-local keeps a file for each address, in a folder for each network. Each becomes an assignment under the handle that
ADD would have used, so that the pod's DEL gives it back; then its file goes. Done twice it does the rest. An address of
no pool stays where it is and is told: the next start looks again. One that IPAM has given to somebody else is told too,
since two pods have it; only one of them can keep it.

Source: Calico cni-plugin/pkg/upgrade.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from datastore import names
from datastore.connect import connect
from datastore.resource import Resource
from datastore.store import Store, StoreError
from felix.startup.name import node_name
from ipam import facts
from ipam.allocator import Allocator
from ipam.block import AlreadyTaken, Holder
from ipam.choose import NoPool
from ipam.records import Contention, Records
from ipam.writer import BlockWriter

Address = IPv4Address | IPv6Address
NETWORK = "k8s-pod-network"
FOLDER = Path("/var/lib/cni/networks") / NETWORK


@dataclass(frozen=True, slots=True)
class Lease:
    address: Address
    container: str
    file: Path


def leases(folder: Path) -> Iterator[Lease]:
    """What host-local has given out; its lock and its memory of the last address are none."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            address = ip_address(file.name)
        except ValueError:
            continue
        yield Lease(address, file.read_text().split("\n")[0].strip(), file)


async def upgrade(store: Store, node: str, folder: Path, *, wall_ns: int) -> list[str]:
    """Take over what is in ``folder``; returns lines that say what was done. Raises StoreError, Contention."""
    found = list(leases(folder))
    if not found:
        return _clear(folder)
    known = await facts.read(store, node)

    async def current() -> facts.Facts:
        return known

    records = Records(store)
    allocator = Allocator(records, node, facts=current, wall_ns=lambda: wall_ns, writer=BlockWriter(records))
    owners = {ip: pod for pod in (await store.list("WorkloadEndpoint", node=node)).items for ip in _addresses(pod)}
    said = [await _take(allocator, each, _holder(each, node, owners.get(each.address))) for each in found]
    return said + (_clear(folder) if not any(leases(folder)) else [])


async def _take(allocator: Allocator, lease: Lease, holder: Holder) -> str:
    try:
        await allocator.assign_address(lease.address, holder)
    except NoPool as error:
        return f"{lease.address} stays with host-local: {error}"
    except AlreadyTaken as error:
        return f"{lease.address} is another's too: {error}; delete the pod of container {lease.container}"
    lease.file.unlink()
    return f"{lease.address} taken over, {holder.owner.get('pod') or lease.container} keeps it"


def _holder(lease: Lease, node: str, pod: Resource | None) -> Holder:
    owner = {"node": node}
    if pod is not None:
        owner |= {"namespace": pod.namespace, "pod": str(pod.spec.get("pod", ""))}
    return Holder(names.pod_handle(NETWORK, lease.container), dict(sorted(owner.items())))


def _addresses(pod: Resource) -> list[Address]:
    return [ip_network(each).network_address for each in pod.spec.get("ipNetworks") or ()]


def _clear(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return [f"{folder} is no longer needed, and is removed"]


def main(environ: Mapping[str, str]) -> int:
    if not any(leases(FOLDER)) and not FOLDER.is_dir():
        return 0

    async def run() -> list[str]:
        store = connect(environ)
        try:
            name = environ.get("KUBERNETES_NODE_NAME") or node_name(environ)
            return await upgrade(store, name, FOLDER, wall_ns=time.time_ns())
        finally:
            await store.close()

    try:
        for line in asyncio.run(run()):
            sys.stdout.write(f"{line}\n")
    except (StoreError, Contention, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
