"""The typed values that the program reads: one class a kind, with the fields that some room acts on and no others.

Names, places in the document and defaults are upstream's (Calico v3 API). Every class keeps its document in
``resource``; :mod:`datastore.codec` says how. Kinds that nobody here acts on (policies, tiers ...) have no class:
they are stored and shown as documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

from datastore.codec import (
    Shape,
    address,
    boolean,
    document,
    each,
    enum,
    interface,
    network,
    number,
    optional,
    spec,
    text,
)
from datastore.resource import Resource
from datastore.unset import DEFAULT_BLOCK_SIZE

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


class EncapMode(Enum):
    NEVER = "Never"
    ALWAYS = "Always"
    CROSS_SUBNET = "CrossSubnet"


class Use(Enum):
    """What an address of a pool may be for."""

    WORKLOAD = "Workload"
    TUNNEL = "Tunnel"
    LOAD_BALANCER = "LoadBalancer"


class Assignment(Enum):
    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class IPPool:
    resource: Resource
    cidr: Network = spec("cidr", network)
    block_size_given: int = spec("blockSize", number, 0)
    ipip_mode: EncapMode = spec("ipipMode", enum(EncapMode), EncapMode.NEVER)
    vxlan_mode: EncapMode = spec("vxlanMode", enum(EncapMode), EncapMode.NEVER)
    nat_outgoing: bool = spec("natOutgoing", boolean, False)
    disabled: bool = spec("disabled", boolean, False)
    disable_bgp_export: bool = spec("disableBGPExport", boolean, False)
    node_selector: str = spec("nodeSelector", text, "all()")
    namespace_selector: str = spec("namespaceSelector", text, "")
    allowed_uses: tuple[Use, ...] = spec("allowedUses", each(enum(Use)), (Use.WORKLOAD, Use.TUNNEL))
    assignment: Assignment = spec("assignmentMode", enum(Assignment), Assignment.AUTOMATIC)

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def block_size(self) -> int:
        """The prefix length of this pool's blocks."""
        return self.block_size_given or DEFAULT_BLOCK_SIZE[self.cidr.version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """``ipv4`` and ``ipv6`` are the node's BGP addresses with the prefix length of its subnet."""

    resource: Resource
    ipv4: Interface | None = spec("bgp.ipv4Address", optional(interface), None)
    ipv6: Interface | None = spec("bgp.ipv6Address", optional(interface), None)
    as_number: int = spec("bgp.asNumber", number, 0)
    reflector_cluster_id: str = spec("bgp.routeReflectorClusterID", text, "")
    ipip_tunnel_address: Address | None = spec("bgp.ipv4IPIPTunnelAddr", optional(address), None)
    vxlan_tunnel_address: Address | None = spec("ipv4VXLANTunnelAddr", optional(address), None)
    vxlan_tunnel_address_v6: Address | None = spec("ipv6VXLANTunnelAddr", optional(address), None)
    vxlan_mac: str = spec("vxlanTunnelMACAddr", text, "")
    vxlan_mac_v6: str = spec("vxlanTunnelMACAddrV6", text, "")

    @property
    def name(self) -> str:
        return self.resource.name


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPConfiguration:
    """``default``, or ``node.<name>``, of which only the listen port, log level and prefix advertisements count."""

    resource: Resource
    mesh_enabled: bool = spec("nodeToNodeMeshEnabled", boolean, True)
    as_number: int = spec("asNumber", number, 64512)
    listen_port: int = spec("listenPort", number, 179)
    log_severity: str = spec("logSeverityScreen", text, "Info")
    node_mesh_max_restart_time: str = spec("nodeMeshMaxRestartTime", text, "")
    node_mesh_password: Mapping[str, Any] = spec("nodeMeshPassword", document, dict)
    bind_mode: str = spec("bindMode", text, "None")
    ignored_interfaces: tuple[str, ...] = spec("ignoredInterfaces", each(text), ())
    normal_route_priority: int = spec("ipv4NormalRoutePriority", number, 1024)
    normal_route_priority_v6: int = spec("ipv6NormalRoutePriority", number, 1024)
    communities: tuple[Mapping[str, Any], ...] = spec("communities", each(document), ())
    prefix_advertisements: tuple[Mapping[str, Any], ...] = spec("prefixAdvertisements", each(document), ())
    load_balancer_blocks: tuple[Mapping[str, Any], ...] = spec("serviceLoadBalancerIPs", each(document), ())
    external_blocks: tuple[Mapping[str, Any], ...] = spec("serviceExternalIPs", each(document), ())
    cluster_blocks: tuple[Mapping[str, Any], ...] = spec("serviceClusterIPs", each(document), ())
    load_balancer_aggregation: str = spec("serviceLoadBalancerAggregation", text, "Enabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPPeer:
    resource: Resource
    node: str = spec("node", text, "")
    node_selector: str = spec("nodeSelector", text, "")
    peer_ip: str = spec("peerIP", text, "")
    peer_selector: str = spec("peerSelector", text, "")
    as_number: int = spec("asNumber", number, 0)
    local_as_number: int = spec("localASNumber", number, 0)
    source_address: str = spec("sourceAddress", text, "UseNodeIP")
    password: Mapping[str, Any] = spec("password", document, dict)
    max_restart_time: str = spec("maxRestartTime", text, "")
    keepalive_time: str = spec("keepaliveTime", text, "")
    ttl_security: int = spec("ttlSecurity", number, 0)
    reachable_by: str = spec("reachableBy", text, "")
    keep_original_next_hop: bool = spec("keepOriginalNextHop", boolean, False)
    next_hop_mode: str = spec("nextHopMode", text, "")
    num_allowed_local_as: int = spec("numAllowedLocalASNumbers", number, 0)
    local_workload_selector: str = spec("localWorkloadSelector", text, "")
    reverse_peering: str = spec("reversePeering", text, "Auto")
    failure_detection_mode: str = spec("failureDetectionMode", text, "")
    filters: tuple[str, ...] = spec("filters", each(text), ())

    @property
    def name(self) -> str:
        return self.resource.name


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPFilter:
    """Rules stay documents until the room that evaluates them reads them."""

    resource: Resource
    export_v4: tuple[Mapping[str, Any], ...] = spec("exportV4", each(document), ())
    import_v4: tuple[Mapping[str, Any], ...] = spec("importV4", each(document), ())
    export_v6: tuple[Mapping[str, Any], ...] = spec("exportV6", each(document), ())
    import_v6: tuple[Mapping[str, Any], ...] = spec("importV6", each(document), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class FelixConfiguration:
    """``default``, ``node.<name>``, or any name with a node selector.

    Its fields are read one by one in :mod:`felix.settings`, because one that cannot be meant does not stop the others.
    """

    resource: Resource


class AffinityState(Enum):
    """Only a confirmed affinity counts for ownership; an absent state is old data and means confirmed."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    PENDING_DELETION = "pendingDeletion"
    LEGACY = ""


def _read_flag(raw: Any) -> bool:
    """v1 CRDs hold ``deleted`` as text, everything else as a bool."""
    return raw is True or raw == "true"


_flag: Shape[bool] = Shape(_read_flag, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAffinity:
    """Which node owns a block, written before the block itself and removed after it."""

    resource: Resource
    node: str = spec("node", text)
    cidr: Network = spec("cidr", network)
    state: AffinityState = spec("state", enum(AffinityState), AffinityState.LEGACY, always=True)
    type: str = spec("type", text, "host", always=True)
    is_deleted: bool = spec("deleted", _flag, False, always=True)

    @property
    def is_confirmed(self) -> bool:
        return self.state in (AffinityState.CONFIRMED, AffinityState.LEGACY) and not self.is_deleted


@dataclass(frozen=True, slots=True)
class AllocationAttribute:
    """Who holds some addresses of a block. ``released_at`` (RFC 3339) marks addresses that are cooling down."""

    handle: str = ""
    owner: Mapping[str, str] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    released_at: str = ""


_ATTRIBUTE_KEYS = ("handle_id", "secondary", "releasedAt")


def _read_attribute(raw: Mapping[str, Any]) -> AllocationAttribute:
    rest = {key: value for key, value in raw.items() if key not in _ATTRIBUTE_KEYS}
    return AllocationAttribute(
        raw.get("handle_id") or "", raw.get("secondary") or {}, rest, raw.get("releasedAt") or ""
    )


def _write_attribute(value: AllocationAttribute) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    if value.handle:
        raw["handle_id"] = value.handle
    if value.owner:
        raw["secondary"] = dict(value.owner)
    raw.update(value.rest)
    if value.released_at:
        raw["releasedAt"] = value.released_at
    return raw


_attribute: Shape[AllocationAttribute] = Shape(_read_attribute, _write_attribute)
_ordinals: Shape[tuple[int, ...]] = Shape(tuple, list)
_slots: Shape[tuple[int | None, ...]] = Shape(tuple, list)
_sequences: Shape[Mapping[int, int]] = Shape(
    lambda raw: {int(ordinal): sequence for ordinal, sequence in raw.items()},
    lambda value: {str(ordinal): sequence for ordinal, sequence in sorted(value.items())},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAMBlock:
    """The stored form of a block: what each of its addresses is for. The rules of change are in :mod:`ipam.block`.

    ``slots[n]`` is None or an index into ``attributes`` for the n-th address; ``free`` lists the free ones, next first;
    ``sequence`` grows with every write, ``taken_at[n]`` is its value when the n-th address was given out.
    """

    resource: Resource
    cidr: Network = spec("cidr", network)
    affinity: str | None = spec("affinity", optional(text), None)
    claimed_at: str | None = spec("affinityClaimTime", optional(text), None)
    slots: tuple[int | None, ...] = spec("allocations", _slots)
    free: tuple[int, ...] = spec("unallocated", _ordinals)
    attributes: tuple[AllocationAttribute, ...] = spec("attributes", each(_attribute), (), always=True)
    sequence: int = spec("sequenceNumber", number, 0, always=True)
    taken_at: Mapping[int, int] = spec("sequenceNumberForAllocation", _sequences, dict, always=True)
    is_deleted: bool = spec("deleted", _flag, False, always=True)

    @property
    def node(self) -> str:
        """The host that owns it, or ""."""
        return (self.affinity or "").removeprefix("host:") if (self.affinity or "").startswith("host:") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAMHandle:
    """How many addresses of which block a holder has. The counts may be too high, never too low."""

    resource: Resource
    handle: str = spec("handleID", text)
    blocks: Mapping[str, int] = spec("block", document, always=True)
    is_deleted: bool = spec("deleted", _flag, False, always=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAMConfig:
    """Absent means the defaults; reading must not create it."""

    resource: Resource
    strict_affinity: bool = spec("strictAffinity", boolean, False, always=True)
    auto_allocate_blocks: bool = spec("autoAllocateBlocks", boolean, True, always=True)
    max_blocks_per_host: int = spec("maxBlocksPerHost", number, 0)
    cooldown_s: int = spec("ipCooldownSeconds", number, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IPReservation:
    """Never given out unasked; an address asked for by name is still given."""

    resource: Resource
    cidrs: tuple[Network, ...] = spec("reservedCIDRs", each(network), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEndpoint:
    """A pod's interface, as the rest of the cluster knows it."""

    resource: Resource
    orchestrator: str = spec("orchestrator", text, "")
    node: str = spec("node", text, "")
    container: str = spec("containerID", text, "")
    pod: str = spec("pod", text, "")
    endpoint: str = spec("endpoint", text, "")
    networks: tuple[Network, ...] = spec("ipNetworks", each(network), ())
    profiles: tuple[str, ...] = spec("profiles", each(text), ())
    device: str = spec("interfaceName", text, "")
    mac: str = spec("mac", text, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInformation:
    """``is_ready`` False is the cluster-wide lock: no ADD and no DEL while it stands."""

    resource: Resource
    guid: str = spec("clusterGUID", text, "")
    type: str = spec("clusterType", text, "")
    calico_version: str = spec("calicoVersion", text, "")
    is_ready: bool = spec("datastoreReady", boolean, False, always=True)  # upstream reads an absent one and dies
