"""What looks as if nobody needed it any more, at one moment. Pure; a finding is a suspicion, not a verdict.

Addresses without a user, blocks and affinities of nodes that are gone, affinities without a block, blocks that a node
has for nothing, handles that hold nothing. Each says how long it must have looked so before it is acted on.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go (checkAllocations, releaseUnusedBlocks, cleanupNode).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from controllers.evidence import Evidence, use
from datastore.resources import BlockAffinity, IPAMBlock, IPAMHandle
from ipam import block as blocks
from ipam import gc
from ipam.gc import Leak

ABSENCE_S = 20.0
"""A node that is deleted and made again sooner than this has lost nothing."""
UNUSED_S = 10.0
"""For what a node that is gone left behind. An ADD that was under way has ended by then."""
LEAST_GRACE_S = 30.0
"""For what a node that is there has: no ADD takes so long between its address and its endpoint."""


class What(Enum):
    NODE = "node"
    ADDRESS = "address"
    BLOCK = "block"
    AFFINITY = "affinity"
    HANDLE = "handle"


Subject = Leak | BlockAffinity | IPAMBlock | IPAMHandle | None


@dataclass(frozen=True, slots=True)
class Suspect:
    """The same thing in the same state is the same suspect: ``name`` tells sequences and revisions too.

    ``gone_node``: it is only suspect because this node is not there.
    """

    what: What
    name: str
    why: str = field(compare=False)
    patience_s: float = field(compare=False)
    node: str = field(compare=False, default="")
    gone_node: str = field(compare=False, default="")
    subject: Subject = field(compare=False, default=None)


def find(evidence: Evidence) -> list[Suspect]:
    return [
        *_absent_nodes(evidence),
        *_addresses(evidence),
        *_affinities_of_absent_nodes(evidence),
        *(_of_present_nodes(evidence, max(evidence.grace_s, LEAST_GRACE_S)) if evidence.grace_s else ()),
    ]


def _absent_nodes(evidence: Evidence) -> Iterator[Suspect]:
    named = {each.node for each in evidence.affinities if each.type == "host"}
    for block in evidence.blocks.values():
        named.update(attribute.owner.get("node", "") for _, attribute in blocks.allocations(block))
    for node in sorted(named - evidence.nodes - {""}):
        yield Suspect(What.NODE, node, "it is not there", ABSENCE_S, node)


def _addresses(evidence: Evidence) -> Iterator[Suspect]:
    for leak in gc.leaks(evidence.blocks.values(), lambda address, holder: bool(use(evidence, address, holder))):
        node = leak.owner["node"]
        name = f"{leak.address} of {leak.handle} at {leak.sequence}"
        if node not in evidence.nodes:
            yield Suspect(What.ADDRESS, name, "node gone, no endpoint", UNUSED_S, node, node, leak)
        elif evidence.grace_s:
            patience_s = max(evidence.grace_s, LEAST_GRACE_S)
            yield Suspect(What.ADDRESS, name, "no endpoint", patience_s, node, "", leak)


def _affinities_of_absent_nodes(evidence: Evidence) -> Iterator[Suspect]:
    """Once nothing in the block is that node's own any more. What others borrowed there stays theirs."""
    for each in evidence.affinities:
        if each.type != "host" or each.node in evidence.nodes or each.node in evidence.claims.nodes:
            continue
        block = evidence.blocks.get(each.cidr)
        if block is None or not _holds_for(block, each.node):
            name = f"{each.cidr} of {each.node}"
            yield Suspect(What.AFFINITY, name, "node gone", 0.0, each.node, each.node, each)


def _holds_for(block: IPAMBlock, node: str) -> bool:
    return any(attribute.owner.get("node", node) == node for _, attribute in blocks.allocations(block))


def _of_present_nodes(evidence: Evidence, grace_s: float) -> Iterator[Suspect]:
    hosts = [each for each in evidence.affinities if each.type == "host" and each.node in evidence.nodes]
    for each in gc.dangling_affinities(hosts, evidence.blocks):
        name = f"{each.cidr} of {each.node} at {each.resource.revision}"
        yield Suspect(What.AFFINITY, name, "its block is not there, or another's", grace_s, each.node, "", each)
    for block in _spare_blocks(evidence):
        name = f"{block.cidr} of {block.node} at {block.sequence}"
        yield Suspect(What.BLOCK, name, "empty, and its node has another", grace_s, block.node, "", block)
    for handle in gc.idle_handles(evidence.handles, evidence.blocks):
        name = f"{handle.handle} at {handle.resource.revision}"
        yield Suspect(What.HANDLE, name, "it holds nothing", grace_s, "", "", handle)


def _spare_blocks(evidence: Evidence) -> Iterator[IPAMBlock]:
    """Empty blocks, but never the last block of a node and family."""
    owned: dict[tuple[str, int], list[IPAMBlock]] = {}
    for block in evidence.blocks.values():
        if block.node in evidence.nodes:
            owned.setdefault((block.node, block.cidr.version), []).append(block)
    for mine in owned.values():
        empty = [block for block in sorted(mine, key=lambda each: str(each.cidr)) if blocks.is_empty(block)]
        yield from empty if len(empty) < len(mine) else empty[1:]
