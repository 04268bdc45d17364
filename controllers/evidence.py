"""What is known at one moment, and whether an address is used by somebody. Pure.

The rule that keeps it correct: whatever cannot be judged is in use. An endpoint that cannot be read keeps every address
of its node; an address of a kind that is not known here (a virtual machine's, a load balancer's) is never touched.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go (allocationIsValid, checkAllocations), which asks for pods;
endpoints are asked here, because every datastore has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore import names
from datastore.addresses import read_cidr_or_address
from datastore.resource import Key, Resource
from datastore.resources import AllocationAttribute, BlockAffinity, IPAMBlock, IPAMHandle
from ipam.block import WINDOWS_RESERVED_HANDLE

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

TUNNEL_TYPES = frozenset(
    f"{tunnel}TunnelAddress" for tunnel in ("ipip", "vxlan", "vxlanV6", "wireguard", "wireguardV6")
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one endpoint says that it uses. ``addresses`` is None when that cannot be read."""

    node: str
    namespace: str
    pod: str
    addresses: tuple[Address, ...] | None

    @classmethod
    def of(cls, endpoint: Resource) -> Claim:
        spec = endpoint.spec
        try:
            found = tuple(read_cidr_or_address(text)[0] for text in spec.get("ipNetworks") or ())
        except (ValueError, TypeError, AttributeError):
            return cls(str(spec.get("node") or ""), endpoint.namespace, "", None)
        return cls(str(spec.get("node") or ""), endpoint.namespace, str(spec.get("pod") or ""), found)

    @classmethod
    def of_unreadable(cls, key: Key) -> Claim:
        """An endpoint of which there is no more than its name: that tells its node; any node, where it is another's."""
        parts = names.endpoint_parts(key.name)
        return cls(parts[0] if len(parts) == 4 else "", key.namespace, "", None)


@dataclass(frozen=True, slots=True)
class Claims:
    """What all endpoints say. ``waiting`` are the (node, namespace, pod) of those without an address yet, ``unclear``
    the nodes with an endpoint that cannot be read, ``nodes`` those that have any.
    """

    addresses: frozenset[Address] = frozenset()
    waiting: frozenset[tuple[str, str, str]] = frozenset()
    unclear: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, endpoints: Iterable[Resource], unreadable: Iterable[Key] = ()) -> Claims:
        return cls.together([*map(Claim.of, endpoints), *map(Claim.of_unreadable, unreadable)])

    @classmethod
    def together(cls, claims: Collection[Claim]) -> Claims:
        return cls(
            frozenset(address for each in claims for address in each.addresses or ()),
            frozenset((each.node, each.namespace, each.pod) for each in claims if each.addresses == ()),
            frozenset(each.node for each in claims if each.addresses is None),
            frozenset(each.node for each in claims),
        )

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
