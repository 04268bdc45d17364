"""What monitoring is told, in Prometheus' text format. Pure.

Names, labels and the values for what is missing (``unknown_node``, ``no_ippool``, ``no_affinity``) are upstream's, for
the sake of dashboards; ``tortie_controllers_*`` is ours.
Source: Calico kube-controllers/pkg/controllers/node/ipam.go (updateMetrics), pool_manager.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from controllers.evidence import Evidence, Network
from controllers.findings import Suspect, What
from datastore.monitoring import exposition
from datastore.monitoring.exposition import Family, Labels, Type
from datastore.resources import IPPool
from ipam import block as blocks
from ipam import choose
from ipam.gc import Leak

FOLLOWED = ("Node", "IPAMBlock", "BlockAffinity", "IPAMHandle", "IPPool", "WorkloadEndpoint")
NO_POOL, NO_NODE, NO_AFFINITY = "no_ippool", "unknown_node", "no_affinity"


@dataclass(frozen=True, slots=True)
class Figures:
    """``reclaimed``: addresses by block and node; ``released``: everything, by what it was; ``unreadable``: objects, by
    kind.
    """

    evidence: Evidence
    pools: Sequence[IPPool]
    suspects: Iterable[Suspect]
    reclaimed: Mapping[tuple[str, str], int]
    released: Mapping[str, int]
    failures: int
    leads: bool
    unreadable: Mapping[str, int]


def text(figures: Figures) -> str:
    return exposition.text(
        [
            Family("ipam_allocations_in_use", Type.GAUGE, "IPs currently allocated in IPAM.", _allocations(figures)),
            Family(
                "ipam_allocations_borrowed", Type.GAUGE, "IPs allocated from another node's block.", _borrowed(figures)
            ),
            Family("ipam_blocks", Type.GAUGE, "IPAM blocks of each pool.", _blocks(figures)),
            Family("ipam_allocations_gc_candidates", Type.GAUGE, "Allocations that look leaked.", _candidates(figures)),
            Family("ipam_allocations_gc_reclamations", Type.COUNTER, "Allocations reclaimed.", _reclaimed(figures)),
            Family("ipam_ippool_size", Type.GAUGE, "Addresses in the pool.", _sizes(figures)),
            Family("tortie_controllers_releases", Type.COUNTER, "What was given back, by what it was.", _all(figures)),
            Family("tortie_controllers_failures", Type.COUNTER, "Passes cut short.", {(): figures.failures}),
            Family("tortie_controllers_objects_unreadable", Type.GAUGE, _UNREADABLE, _unread(figures)),
            Family("tortie_controllers_leads", Type.GAUGE, "1 while this replica works.", {(): int(figures.leads)}),
        ]
    )


_UNREADABLE = "Objects of the datastore that cannot be read: what they use is kept."


def _unread(figures: Figures) -> dict[Labels, int]:
    return {(("type", kind),): figures.unreadable.get(kind, 0) for kind in FOLLOWED}


def _allocations(figures: Figures) -> Counter[Labels]:
    return Counter(_labels(figures, cidr, node) for cidr, _, node in _held(figures))


def _borrowed(figures: Figures) -> Counter[Labels]:
    return Counter(_labels(figures, cidr, node) for cidr, owner, node in _held(figures) if node and node != owner)


def _held(figures: Figures) -> Iterator[tuple[Network, str, str]]:
    """Each address's block, that block's owner, and the node that uses it."""
    for block in figures.evidence.blocks.values():
        for _, attribute in blocks.allocations(block):
            yield block.cidr, block.node, attribute.owner.get("node", "")


def _blocks(figures: Figures) -> Counter[Labels]:
    return Counter(_labels(figures, each.cidr, each.node or NO_AFFINITY) for each in figures.evidence.blocks.values())


def _candidates(figures: Figures) -> Counter[Labels]:
    counted = {_labels(figures, cidr, node): 0 for cidr, _, node in _held(figures)}
    found: Counter[Labels] = Counter(counted)
    for each in figures.suspects:
        if each.what is What.ADDRESS and isinstance(each.subject, Leak):
            pool = choose.pool_of(each.subject.address, figures.pools)
            found[_told(pool, each.node)] += 1
    return found


def _reclaimed(figures: Figures) -> Counter[Labels]:
    found: Counter[Labels] = Counter()
    for (cidr, node), count in figures.reclaimed.items():
        pool = next((each for each in figures.pools if _is_in(cidr, each)), None)
        found[_told(pool, node)] += count
    return found


def _is_in(cidr: str, pool: IPPool) -> bool:
    return ip_network(cidr).network_address in pool.cidr


def _sizes(figures: Figures) -> dict[Labels, int]:
    return {(("ippool", pool.name),): pool.cidr.num_addresses for pool in figures.pools}


def _all(figures: Figures) -> dict[Labels, int]:
    """Also what never happened: of a series that appears with its first count, Prometheus sees no increase."""
    kinds = (each.value for each in What if each is not What.NODE)
    return {(("what", what),): figures.released.get(what, 0) for what in kinds}


def _labels(figures: Figures, cidr: Network, node: str) -> Labels:
    return _told(choose.pool_of(cidr.network_address, figures.pools), node)


def _told(pool: IPPool | None, node: str) -> Labels:
    return (("ippool", pool.name if pool is not None else NO_POOL), ("node", node or NO_NODE))
