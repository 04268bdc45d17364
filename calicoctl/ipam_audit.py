"""What is given out against what is used: the findings of ``ipam check``. Pure, but for :func:`read`.

Source: Calico calicoctl/commands/ipam/check.go. Unlike upstream, a node's IPv6 tunnel addresses count as used, and so
do the addresses that Windows keeps for itself: a report that calls them idle would have them released.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from calicoctl import load_balancers
from calicoctl.failure import Failure
from calicoctl.ipam_report import Allocation, Cluster, Handle
from datastore.addresses import read_cidr_or_address
from datastore.codec import decode
from datastore.resource import Key, Resource
from datastore.resources import AllocationAttribute, ClusterInformation, IPAMBlock, IPPool
from datastore.store import Missing, Rejected, Store
from ipam import block as blocks
from ipam import facts
from ipam.records import Records

FOR_WINDOWS = "Reserved for Windows"


class Evidence(NamedTuple):
    """All that the datastore says. ``unreadable`` has the name of each block that makes no sense, and why;
    ``load_balancers`` is None where no controller gives addresses to Services.
    """

    cluster: Cluster
    blocks: Sequence[IPAMBlock]
    unreadable: Sequence[tuple[str, str]]
    pools: Sequence[IPPool]
    nodes: Sequence[Resource]
    endpoints: Sequence[Resource]
    handles: Sequence[Handle]
    load_balancers: Sequence[Resource] | None


class Use(NamedTuple):
    ip: str
    user: str


class Findings(NamedTuple):
    """``allocations`` by block; ``users`` by address, in the order in which they were met."""

    allocations: Mapping[str, Sequence[tuple[Allocation, str]]]
    nodes: Sequence[Use]
    services: Sequence[Use]
    endpoints: Sequence[Use]
    users: Mapping[str, Sequence[str]]
    leaked: Sequence[tuple[Allocation, str]]
    outside_pools: Sequence[str]
    not_allocated: Sequence[str]
    idle_handles: Sequence[Handle]
    missing_handles: Sequence[str]
    invalid_blocks: Sequence[tuple[str, str]]

    @property
    def every_allocation(self) -> list[Allocation]:
        return [each for several in self.allocations.values() for each, _ in several]

    @property
    def leaked_addresses(self) -> set[str]:
        return {each.ip for each, _ in self.leaked}

    @property
    def problems(self) -> int:
        counted = (self.leaked_addresses, self.outside_pools, self.not_allocated, self.idle_handles)
        return sum(map(len, counted)) + len(self.invalid_blocks)


ReadServices = Callable[[], Awaitable[Sequence[Resource]]]


async def read(store: Store, read_services: ReadServices) -> Evidence:
    """Raises Missing where no cluster was ever initialised."""
    cluster = decode(ClusterInformation, await store.get(Key("ClusterInformation", "default")))
    found, unreadable = _readable((await store.list("IPAMBlock")).items)
    return Evidence(
        Cluster(cluster.guid, cluster.type, cluster.resource.revision, not cluster.is_ready),
        found,
        unreadable,
        [pool for pool in (await facts.read_cluster(store)).pools if not pool.disabled],
        (await store.list("Node")).items,
        (await store.list("WorkloadEndpoint")).items,
        [Handle(each.handle, each.resource.uid, each.resource.revision) for each in await Records(store).handles()],
        await _load_balancers(store, read_services),
    )


def _readable(items: Iterable[Resource]) -> tuple[list[IPAMBlock], list[tuple[str, str]]]:
    found: list[IPAMBlock] = []
    unreadable: list[tuple[str, str]] = []
    for item in items:
        try:
            found.append(decode(IPAMBlock, item))
        except Rejected as error:
            unreadable.append((item.name, str(error)))
    return found, unreadable


async def _load_balancers(store: Store, read_services: ReadServices) -> Sequence[Resource] | None:
    try:
        configuration = await store.get(Key("KubeControllersConfiguration", "default"))
    except Missing:
        return None
    controller = (configuration.spec.get("controllers") or {}).get("loadBalancer")
    if controller is None:
        return None
    return load_balancers.served(await read_services(), controller.get("assignIPs") or "")


def audit(evidence: Evidence, *, now: datetime) -> Findings:
    """Raises Failure for an endpoint or a node whose address cannot be read."""
    allocations = {str(block.cidr): list(_allocations(block)) for block in evidence.blocks}
    by_address = _by_address(each for several in allocations.values() for each in several)
    nodes = [use for node in evidence.nodes for use in _of_node(node)]
    services = [use for service in evidence.load_balancers or () for use in _of_service(service)]
    endpoints = [use for endpoint in evidence.endpoints for use in _of_endpoint(endpoint)]
    users = _users(by_address, [*nodes, *services, *endpoints])
    idle_handles, missing_handles = _handles(evidence)
    strays = [ip for ip in users if ip not in by_address]
    outside = [ip for ip in strays if not _is_in(ip, evidence.pools)]
    return Findings(
        allocations,
        nodes,
        services,
        endpoints,
        users,
        [each for ip, several in by_address.items() if _is_leaked(ip, several, users) for each in several],
        outside,
        [ip for ip in strays if ip not in outside],
        idle_handles,
        missing_handles,
        [*_invalid(evidence.blocks, now), *evidence.unreadable],
    )


# --- what is given out --------------------------------------------------------------------------------------------


def _allocations(block: IPAMBlock) -> Iterator[tuple[Allocation, str]]:
    """Each address that is not free, and what is known of its holder in words."""
    for ordinal, index in enumerate(block.slots):
        if index is not None:
            holder = block.attributes[index] if 0 <= index < len(block.attributes) else None
            yield _allocation(block, ordinal, holder), _in_words(holder)


def _allocation(block: IPAMBlock, ordinal: int, holder: AllocationAttribute | None) -> Allocation:
    holder = holder or AllocationAttribute()
    owner = holder.owner
    is_for_windows = holder.handle == blocks.WINDOWS_RESERVED_HANDLE
    node = owner.get("node") or block.node
    return Allocation(
        ip=str(blocks.address_at(block, ordinal)),
        handle="" if is_for_windows else blocks.handle_of(holder),
        sequence=block.taken_at.get(ordinal, 0),
        pod=owner.get("pod", ""),
        namespace=owner.get("namespace", ""),
        node=node,
        type=owner.get("type", ""),
        created=owner.get("timestamp", ""),
        is_borrowed=node != block.node,
        is_cooling=bool(holder.released_at),
        owners=[FOR_WINDOWS] if is_for_windows else [],
    )


def _in_words(holder: AllocationAttribute | None) -> str:
    if holder is None:
        return "<missing>"
    words = f"Main:{holder.handle or '<none>'} Extra:{_pairs(holder.owner)}"
    other = holder.rest.get("alternateOwnerAttrs")
    return f"{words} Alternate:{_pairs(other)}" if other else words


def _pairs(attributes: Mapping[str, str]) -> str:
    return ",".join(f"{key}={attributes[key]}" for key in sorted(attributes))


def _by_address(allocations: Iterable[tuple[Allocation, str]]) -> dict[str, list[tuple[Allocation, str]]]:
    found: dict[str, list[tuple[Allocation, str]]] = {}
    for each in allocations:
        found.setdefault(each[0].ip, []).append(each)
    return found


# --- what is used -------------------------------------------------------------------------------------------------


def _of_node(node: Resource) -> Iterator[Use]:
    spec = node.spec
    bgp, wireguard = spec.get("bgp") or {}, spec.get("wireguard") or {}
    named = {
        "IPv4VXLANTunnelAddr": spec.get("ipv4VXLANTunnelAddr"),
        "IPv6VXLANTunnelAddr": spec.get("ipv6VXLANTunnelAddr"),
        "Wireguard.InterfaceIPv4Address": wireguard.get("interfaceIPv4Address"),
        "Wireguard.InterfaceIPv6Address": wireguard.get("interfaceIPv6Address"),
        "IPv4IPIPTunnelAddr": bgp.get("ipv4IPIPTunnelAddr"),
    }
    for field, text in named.items():
        if text:
            yield Use(_address(text, f"{field} ({text}) of node {node.name}"), f"Node({node.name})")


def _of_service(service: Resource) -> Iterator[Use]:
    for text in load_balancers.addresses(service):
        yield Use(_address(text, f"address ({text}) of service {service.namespace}/{service.name}"), service.name)


def _of_endpoint(endpoint: Resource) -> Iterator[Use]:
    called = f"{endpoint.namespace}/{endpoint.name}"
    for text in endpoint.spec.get("ipNetworks") or ():
        yield Use(_address(text, f"IP ({text}) of workload {called}"), f"Workload({called})")


def _address(text: str, what: str) -> str:
    try:
        return str(read_cidr_or_address(text)[0])
    except ValueError as error:
        raise Failure(f"failed to parse {what}: {error}") from None


def _users(by_address: Mapping[str, Sequence[tuple[Allocation, str]]], uses: Iterable[Use]) -> dict[str, list[str]]:
    """Who uses each address; every allocation learns its owners."""
    users: dict[str, list[str]] = {}
    for ip, several in by_address.items():
        for allocation, _ in several:
            for owner in allocation.owners:
                users.setdefault(ip, []).append(owner)
    for ip, user in uses:
        users.setdefault(ip, []).append(user)
        for allocation, _ in by_address.get(ip, ()):
            allocation.owners.append(user)
    return users


def _is_leaked(ip: str, several: Iterable[tuple[Allocation, str]], users: Mapping[str, Sequence[str]]) -> bool:
    return ip not in users and not any(allocation.is_cooling for allocation, _ in several)


def _is_in(ip: str, pools: Iterable[IPPool]) -> bool:
    address, _ = read_cidr_or_address(ip)
    return any(address in pool.cidr for pool in pools)


# --- what does not fit --------------------------------------------------------------------------------------------


def _handles(evidence: Evidence) -> tuple[list[Handle], list[str]]:
    """The handles that hold nothing, and those that hold something and are not there."""
    holding = {
        blocks.handle_of(block.attributes[index]): None
        for block in evidence.blocks
        for index in block.slots
        if index is not None and 0 <= index < len(block.attributes)
    }
    holding = {handle: None for handle in holding if handle and handle != blocks.WINDOWS_RESERVED_HANDLE}
    known = {each.handle for each in evidence.handles}
    return [each for each in evidence.handles if each.handle not in holding], [
        handle for handle in holding if handle not in known
    ]


def _invalid(all_blocks: Iterable[IPAMBlock], now: datetime) -> Iterator[tuple[str, str]]:
    for block in all_blocks:
        for why in _flaws(block, now):
            yield f"BlockKey(cidr={block.cidr})", why
            break


def _flaws(block: IPAMBlock, now: datetime) -> Iterator[str]:
    size = block.cidr.num_addresses
    if len(block.slots) != size:
        yield f"it has {len(block.slots)} allocations, not {size}"
    used = {ordinal: index for ordinal, index in enumerate(block.slots) if index is not None}
    for ordinal, index in used.items():
        if not 0 <= index < len(block.attributes):
            yield f"allocation {ordinal} indexes a nonexistent attribute {index}"
    for index, holder in enumerate(block.attributes):
        if index not in used.values():
            yield f"attribute index {index} exists but is not indexed by an allocation"
        if holder.released_at and datetime.fromisoformat(holder.released_at) > now:
            yield f"attribute index {index} has releasedAt in the future, suggesting clock skew"
    yield from _flaws_of_free(block, used, size)


def _flaws_of_free(block: IPAMBlock, used: Mapping[int, int], size: int) -> Iterator[str]:
    seen: set[int] = set()
    for ordinal in block.free:
        if not 0 <= ordinal < len(block.slots):
            yield f"ordinal {ordinal} appears in the Unallocated array but is out of the block"
        if ordinal in seen:
            yield f"ordinal {ordinal} appears more than once in Unallocated array"
        if ordinal in used:
            yield f"ordinal {ordinal} is allocated but appears in Unallocated"
        seen.add(ordinal)
    if len(block.free) + len(used) != size:
        yield (
            f"expected {size} addresses in this block, but Unallocated ({len(block.free)})"
            f" + Allocated ({len(used)}) = {len(block.free) + len(used)}"
        )


def now_of(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC)
