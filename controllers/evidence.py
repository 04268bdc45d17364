"""What is known at one moment, and whether an address is used by somebody. Pure.

The rule that keeps it correct: whatever cannot be judged is in use. An endpoint that cannot be read keeps every address
of its node; an address of a kind that is not known here (a virtual machine's, a load balancer's) is never touched.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go (allocationIsValid, checkAllocations), which asks for pods;
endpoints are asked here, because every datastore has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore.addresses import read_cidr_or_address
from datastore.resource import Resource
from datastore.resources import AllocationAttribute, BlockAffinity, IPAMBlock, IPAMHandle
from ipam.block import WINDOWS_RESERVED_HANDLE

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

TUNNEL_TYPES = frozenset(
    f"{tunnel}TunnelAddress" for tunnel in ("ipip", "vxlan", "vxlanV6", "wireguard", "wireguardV6")
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What endpoints say that they use. ``waiting`` are the (node, namespace, pod) of those without an address yet,
    ``unclear`` the nodes with an endpoint that cannot be read, ``nodes`` those that have any.
    """

    addresses: frozenset[Address] = frozenset()
    waiting: frozenset[tuple[str, str, str]] = frozenset()
    unclear: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, endpoints: Iterable[Resource]) -> Claims:
        addresses: set[Address] = set()
        waiting, unclear, nodes = set(), set(), set()
        for each in endpoints:
            node = str(each.spec.get("node") or "")
            nodes.add(node)
            try:
                found = [read_cidr_or_address(text)[0] for text in each.spec.get("ipNetworks") or ()]
            except (ValueError, TypeError, AttributeError):
                unclear.add(node)
                continue
            addresses.update(found)
            if not found:
                waiting.add((node, each.namespace, str(each.spec.get("pod") or "")))
        return cls(frozenset(addresses), frozenset(waiting), frozenset(unclear), frozenset(nodes))

    def __or__(self, other: Claims) -> Claims:
        return Claims(
            self.addresses | other.addresses,
            self.waiting | other.waiting,
            self.unclear | other.unclear,
            self.nodes | other.nodes,
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """``grace_s``: how long something of a node that is there must look leaked; None: it is left alone."""

    nodes: frozenset[str] = frozenset()
    claims: Claims = field(default_factory=Claims)
    blocks: Mapping[Network, IPAMBlock] = field(default_factory=dict)
    affinities: Sequence[BlockAffinity] = ()
    handles: Sequence[IPAMHandle] = ()
    grace_s: float | None = None


def use(evidence: Evidence, address: Address, attribute: AllocationAttribute) -> str:
    """Why the address may not be taken from its holder, in words; "" when nobody uses it."""
    owner, claims = attribute.owner, evidence.claims
    node = owner.get("node", "")
    if address in claims.addresses:
        return "an endpoint has it"
    if not _is_judged(attribute):
        return "who made it is not known here"
    if owner.get("type") in TUNNEL_TYPES:
        if node in evidence.nodes:
            return "its node is there"
        return "its node is gone, and still has endpoints" if node in claims.nodes else ""
    if "" in claims.unclear or node in claims.unclear:
        return "an endpoint of its node cannot be read"
    if (node, owner.get("namespace", ""), owner.get("pod", "")) in claims.waiting:
        return "its pod has no address yet"
    return ""


def _is_judged(attribute: AllocationAttribute) -> bool:
    """Made for a node's tunnel, or by a CNI plugin (which tells the pod, or when), and not on its way elsewhere."""
    owner = attribute.owner
    if attribute.handle.lower() == WINDOWS_RESERVED_HANDLE or not owner.get("node"):
        return False
    if "vmi-name" in owner or attribute.rest.get("alternateOwnerAttrs"):
        return False
    return owner.get("type") in TUNNEL_TYPES or bool(owner.get("pod") or owner.get("timestamp"))
