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
from datastore.resources import IPPool
from ipam import block as blocks
from ipam import choose
from ipam.gc import Leak

NO_POOL, NO_NODE, NO_AFFINITY = "no_ippool", "unknown_node", "no_affinity"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """``reclaimed``: addresses by block and node; ``released``: everything, by what it was."""

    evidence: Evidence
    pools: Sequence[IPPool]
    suspects: Iterable[Suspect]
    reclaimed: Mapping[tuple[str, str], int]
    released: Mapping[str, int]
    failures: int
    leads: bool


def text(figures: Figures) -> str:
    return "".join(
        [
            *_family("ipam_allocations_in_use", "gauge", "IPs currently allocated in IPAM.", _allocations(figures)),
            *_family(
                "ipam_allocations_borrowed", "gauge", "IPs allocated from another node's block.", _borrowed(figures)
            ),
            *_family("ipam_blocks", "gauge", "IPAM blocks of each pool.", _blocks(figures)),
            *_family("ipam_allocations_gc_candidates", "gauge", "Allocations that look leaked.", _candidates(figures)),
            *_family("ipam_allocations_gc_reclamations", "counter", "Allocations reclaimed.", _reclaimed(figures)),
            *_family("ipam_ippool_size", "gauge", "Addresses in the pool.", _sizes(figures)),
            *_family("tortie_controllers_releases", "counter", "What was given back, by what it was.", _all(figures)),
            *_family("tortie_controllers_failures", "counter", "Passes cut short.", {(): figures.failures}),
            *_family("tortie_controllers_leads", "gauge", "1 while this replica works.", {(): int(figures.leads)}),
        ]
    )


def _family(name: str, kind: str, what: str, values: Mapping[Labels, int]) -> Iterator[str]:
    yield f"# HELP {name} {what}\n# TYPE {name} {kind}\n"
    for labels, value in sorted(values.items()):
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{name}{{{told}}} {value}\n" if told else f"{name} {value}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


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
