"""Deleting what users know, with all that hangs on it.

A pool's blocks lose their owners first, so that nobody takes another address from them; a node goes with its endpoints,
its addresses, its blocks and its own settings, and last itself. What a crash leaves is removed by deleting again.
Source: Calico libcalico-go/lib/clientv3 ippool.go, node.go, tier.go.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from calicoctl.failure import Failure, NotAllowed
from calicoctl.objects import DEFAULT_PROFILE, READ_ONLY, refuse_kubernetes
from datastore.resource import Key
from datastore.store import ApiServer, Missing, Store

if TYPE_CHECKING:
    from datastore.resources import BlockAffinity
    from ipam.block import Address
    from ipam.records import Records

WallNs = Callable[[], int]

PROTECTED_TIERS = ("default", "kube-admin", "kube-baseline")
_IN_TIERS = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")


async def delete(store: Store, key: Key, *, wall_ns: WallNs, revision: str = "") -> None:
    """Only the object of ``revision``, if one is given. Raises Missing, Conflict, NotAllowed, Failure."""
    if key.kind == READ_ONLY:
        raise NotAllowed(f"operation delete is not supported on {READ_ONLY}")
    refuse_kubernetes(key, "delete")
    match key.kind:
        case "IPPool":
            await _delete_pool(store, key, revision)
        case "Node":
            await _delete_node(store, key, wall_ns, revision)
        case "Tier":
            await _delete_tier(store, key, revision)
        case "Profile" if key.name == DEFAULT_PROFILE:
            why = f'The profile "{DEFAULT_PROFILE}" is a default provided by Calico and cannot be deleted'
            raise NotAllowed(f"operation Delete is not supported on {DEFAULT_PROFILE}: {why}")
        case _:
            await store.delete(key, revision=revision)


async def _delete_tier(store: Store, key: Key, revision: str) -> None:
    if key.name in PROTECTED_TIERS:
        raise NotAllowed(f"operation Delete is not supported on {key.name}: Cannot delete {key.name} tier")
    for kind in _IN_TIERS:
        if any(policy.spec.get("tier") == key.name for policy in (await store.list(kind)).items):
            raise NotAllowed(f"operation delete is not supported on {key.name}: Cannot delete a non-empty tier")
    await store.delete(key, revision=revision)


# --- pools --------------------------------------------------------------------------------------------------------


async def _delete_pool(store: Store, key: Key, revision: str) -> None:
    """Disabled first: a node that still claims a block meanwhile is met by the second round of releases."""
    pool = await store.get(key)
    if not pool.spec.get("disabled"):
        disabled = replace(pool, spec={**pool.spec, "disabled": True}, revision=revision or pool.revision)
        revision = (await store.update(disabled)).revision
    await _release_blocks(store, pool.spec.get("cidr", ""))
    await store.delete(key, revision=revision)
    await _release_blocks(store, pool.spec.get("cidr", ""))


async def _release_blocks(store: Store, cidr: str) -> None:
    from datastore.addresses import read_cidr
    from datastore.codec import decode
    from datastore.resources import BlockAffinity
    from ipam.records import Records

    try:
        _, network = read_cidr(cidr)
    except ValueError:
        return
    records = Records(store)
    affinities = [decode(BlockAffinity, item) for item in (await store.list("BlockAffinity")).items]
    for each in affinities:
        if each.cidr.version == network.version and each.cidr.overlaps(network):
            await _release(records, each)


async def _release(records: Records, owned: BlockAffinity) -> None:
    from ipam import affinity
    from ipam.records import Contention

    try:
        await affinity.release(records, owned.node, owned.cidr)
    except affinity.ClaimedByOther:
        return
    except Contention as error:
        raise Failure(f"block {owned.cidr}: {error}") from None


# --- nodes --------------------------------------------------------------------------------------------------------


async def _delete_node(store: Store, key: Key, wall_ns: WallNs, revision: str) -> None:
    """Also where the Node itself is gone already: then what is left of it, and Missing at the end.

    Nodes of Kubernetes are not deleted here, and of one that is there nothing is touched; the words are upstream's.
    """
    if not (isinstance(store, ApiServer) and key.kind in store.views):
        await _leave_nothing_of(store, key, wall_ns)
        await store.delete(key, revision=revision)
        return
    if not await _is_there(store, key):
        await _leave_nothing_of(store, key, wall_ns)
    why = "malformed WorkloadEndpoint name - unable to determine Pod name"
    raise Missing(Key("WorkloadEndpoint", f"{key.name}-*"), why)


async def _is_there(store: Store, key: Key) -> bool:
    try:
        await store.get(key)
    except Missing:
        return False
    return True


async def _leave_nothing_of(store: Store, key: Key, wall_ns: WallNs) -> None:
    from ipam.records import Records

    name = key.name
    endpoints = (await store.list("WorkloadEndpoint", node=name)).items
    texts = [text for endpoint in endpoints for text in endpoint.spec.get("ipNetworks", ())]
    await _give_back(store, [*texts, *await _tunnel_addresses(store, key)], wall_ns)
    for endpoint in endpoints:
        await _delete_if_there(store, endpoint.key)
    records = Records(store)
    for owned in await records.affinities(name):
        await _release(records, owned)
    for kind in ("BGPPeer", "HostEndpoint"):
        for item in (await store.list(kind)).items:
            if item.spec.get("node") == name:
                await _delete_if_there(store, item.key)
    for kind in ("FelixConfiguration", "BGPConfiguration"):
        await _delete_if_there(store, Key(kind, f"node.{name}"))


async def _delete_if_there(store: Store, key: Key) -> None:
    with suppress(Missing):
        await store.delete(key)


async def _tunnel_addresses(store: Store, key: Key) -> list[str]:
    try:
        spec = (await store.get(key)).spec
    except Missing:
        return []
    bgp, wireguard = spec.get("bgp", {}), spec.get("wireguard", {})
    found = (
        bgp.get("ipv4IPIPTunnelAddr"),
        spec.get("ipv4VXLANTunnelAddr"),
        spec.get("ipv6VXLANTunnelAddr"),
        wireguard.get("interfaceIPv4Address"),
        wireguard.get("interfaceIPv6Address"),
    )
    return [text for text in found if text]


async def _give_back(store: Store, texts: list[str], wall_ns: WallNs) -> None:
    from ipam import facts
    from ipam.block import Release
    from ipam.records import Contention, Records
    from ipam.release import Releaser
    from ipam.writer import BlockWriter

    releases = [Release(address) for address in _addresses(texts)]
    if not releases:
        return
    releaser = Releaser(store, BlockWriter(Records(store)), facts=lambda: facts.read_cluster(store), wall_ns=wall_ns)
    try:
        await releaser.release_addresses(releases)
    except Contention as error:
        raise Failure(f"addresses {', '.join(texts)}: {error}") from None


def _addresses(texts: list[str]) -> list[Address]:
    """What cannot be read holds no address that could be given back."""
    from datastore.addresses import read_cidr_or_address

    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(read_cidr_or_address(text)[0])
    return found
