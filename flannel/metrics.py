"""What flanneld tells monitoring of itself. Pure: figures in, families out. The original exports nothing.

A node exports the same few series however large the cluster is, but for peers that host-gw cannot reach: those are few,
and a count without their names would help nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from datastore.monitoring import usage
from datastore.monitoring.exposition import Family, Labels, Type, by, one
from datastore.monitoring.usage import Usage
from felix.fib import metrics as fib
from felix.firewall.reconciler import Counters as FilterCounters
from flannel.backends.host_gw import OffLink
from flannel.large_pods import LargePod
from flannel.source import Counters


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything at one moment. ``peers`` have leases, ``unreadable`` are subnets whose lease cannot be read; ``drops``
    are packets that the udp backend's pump let go, by reason.
    """

    backend: str
    is_ready: bool
    peers: int
    unreadable: int
    kernel: fib.Figures
    repairs: int
    large_pods: Sequence[LargePod]
    source: Counters
    filter: FilterCounters
    drops: Mapping[str, int]


def families(figures: Figures | None, used: Usage | None) -> Iterator[Family]:
    """``figures`` None: it waits for its configuration still."""
    is_ready = figures is not None and figures.is_ready
    yield one("tortie_flannel_ready", Type.GAUGE, "1 when subnet.env is written.", int(is_ready))
    if figures is not None:
        yield by("tortie_flannel_backend", "The backend, as a label.", "type", {figures.backend: 1})
        yield from _of_leases(figures)
        yield from fib.families("tortie_flannel", figures.kernel)
        yield from _of_node(figures)
    if used is not None:
        yield from usage.families(used)


def _of_leases(figures: Figures) -> Iterator[Family]:
    source = figures.source
    peers = {"readable": figures.peers, "unreadable": figures.unreadable}
    yield by("tortie_flannel_leases", "Leases of other nodes.", "state", peers)
    renewals = {"done": source.renewals, "failed": source.renewal_failures}
    about = "Renewals of this node's lease; one that failed is tried again in a minute."
    yield by("tortie_flannel_lease_renewals_total", about, "result", renewals, Type.COUNTER)
    about = "How often all leases were read: at the start, and when the watch had to begin anew."
    yield one("tortie_flannel_lease_lists_total", Type.COUNTER, about, source.lists)
    about = "Watches of leases that the datastore ended or did not take."
    yield one("tortie_flannel_watch_failures_total", Type.COUNTER, about, source.watch_failures)
    about = "Leases that came and could not be read; they took nothing away."
    yield one("tortie_flannel_bad_leases_total", Type.COUNTER, about, source.bad)


def _of_node(figures: Figures) -> Iterator[Family]:
    about = "Writes that put back what somebody else had taken or changed."
    yield one("tortie_flannel_repairs_total", Type.COUNTER, about, figures.repairs)
    yield Family("tortie_flannel_off_link_peers", Type.GAUGE, "Peers that host-gw cannot reach.", _off_link(figures))
    about = "Pods of this node with a larger MTU than the network carries."
    yield one("tortie_flannel_large_pods", Type.GAUGE, about, len(figures.large_pods))
    passes = {"passes": figures.filter.passes, "changes": figures.filter.changes, "failures": figures.filter.failures}
    about = "Passes over the packet filter, changes to it, and passes that failed."
    yield by("tortie_flannel_packet_filter_total", about, "what", passes, Type.COUNTER)
    about = "Packets that the udp backend dropped."
    yield by("tortie_flannel_pump_drops_total", about, "why", figures.drops, Type.COUNTER)


def _off_link(figures: Figures) -> dict[Labels, float]:
    return {(("peer", why.peer),): 1 for why in figures.kernel.desired.pending.values() if isinstance(why, OffLink)}
