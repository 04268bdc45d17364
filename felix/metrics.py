"""What felix tells monitoring of itself. Pure: figures in, families out.

``felix_*`` are upstream's names, with upstream's meanings, as far as there is here what they count; ``tortie_felix_*``
are ours. No label is a route's, a pod's or another node's: a node exports the same few series however large the
cluster is, so a cluster of n nodes has O(n). What concerns the whole cluster the controllers export.

Source: Calico felix (calc, dataplane/linux, routetable: the files that make the collectors).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datastore.monitoring import usage
from datastore.monitoring.durations import Durations
from datastore.monitoring.exposition import Family, Labels, Type, by, one
from datastore.monitoring.usage import Usage
from datastore.resources import IPAMBlock, IPPool
from felix.fib import metrics as fib
from felix.fib.mirror import Mirror
from felix.fib.model import Desired
from felix.fib.owner import Ownership
from felix.fib.status import Report
from felix.health import Health, Part
from felix.view import View
from ipam import block as blocks
from ipam import choose

NO_POOL = "no_ippool"
"""For addresses whose pool is gone; the controllers' word."""
_MAIN_TABLE = 254


@dataclass(slots=True)
class FlowCounters:
    """Since the start: connections forgotten, and addresses of which some may be left."""

    forgotten: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Commanded:
    """One CNI command: how long it took each time, and how often it failed."""

    took: Durations
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Datastore:
    """``updates`` and ``unreadable`` objects by kind; ``is_listed``: every kind was, once; ``lists``: how often one was
    read whole.
    """

    updates: Mapping[str, int]
    lists: int
    is_listed: bool
    out_of_touch: int
    unreadable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything at one moment. ``first_ready_s``: from the start; None until then. ``filters``: work on the packet
    filter, by what it was.
    """

    view: View
    desired: Desired
    mirror: Mirror
    ownership: Ownership
    report: Report
    deciding: Durations
    applying: Durations
    first_ready_s: float | None
    filters: Mapping[str, int]
    flows: FlowCounters
    datastore: Datastore
    commands: Mapping[str, Commanded]
    health: Health
    usage: Usage | None


def families(figures: Figures) -> Iterator[Family]:
    yield from _of_datastore(figures)
    yield from _of_dataplane(figures)
    yield from _of_routes(figures)
    yield from _of_commands(figures)
    yield from _of_addresses(figures)
    yield from _of_health(figures)
    if figures.usage is not None:
        yield from usage.families(figures.usage)


# --- upstream's ---------------------------------------------------------------------------------------------------

_WAITING, _LISTING, _IN_SYNC = 0, 1, 2


def _of_datastore(figures: Figures) -> Iterator[Family]:
    view, store = figures.view, figures.datastore
    state = _IN_SYNC if store.is_listed else _LISTING if store.lists else _WAITING
    yield Family("felix_host", Type.GAUGE, "This node's name, as a label.", {(("host", view.node),): 1})
    yield one("felix_resync_state", Type.GAUGE, "0 waits for the datastore, 1 lists it, 2 follows it.", state)
    yield one("felix_resyncs_started", Type.COUNTER, "Whole lists of a kind that were read.", store.lists)
    updates: dict[Labels, float | Durations] = {(("type", kind),): count for kind, count in store.updates.items()}
    yield Family("felix_calc_graph_updates_processed", Type.COUNTER, "Changes heard from the datastore.", updates)
    about = "Seconds to work out what the kernel should hold."
    yield one("felix_calc_graph_update_time_seconds", Type.SUMMARY, about, figures.deciding)
    yield one("felix_cluster_num_hosts", Type.GAUGE, "Nodes of the cluster.", len(view.nodes))
    own = sum(endpoint.node == view.node for endpoint in view.endpoints.values())
    yield one("felix_active_local_endpoints", Type.GAUGE, "Endpoints of this node.", own)


def _of_dataplane(figures: Figures) -> Iterator[Family]:
    counters = figures.report.counters
    yield one(
        "felix_int_dataplane_apply_time_seconds",
        Type.SUMMARY,
        "Seconds of each pass over the kernel.",
        figures.applying,
    )
    failures = counters.refused + counters.kernel_errors
    yield one("felix_int_dataplane_failures", Type.COUNTER, "Writes that the kernel refused, and reads.", failures)
    if figures.first_ready_s is not None:
        about = "Seconds from the start until the kernel held what was wanted."
        yield one("felix_int_dataplane_initial_resync_time_seconds", Type.GAUGE, about, figures.first_ready_s)
    pods = Counter(link.startswith("cali") for link in figures.mirror.actual.links)[True]
    managed = Counter(key.dst.version for key in figures.desired.routes)
    for name, about, value in (
        ("felix_route_table_num_routes", "Routes that are kept in the table.", managed),
        ("felix_route_table_num_ifaces", "Pods' devices.", Counter({4: pods, 6: pods})),
    ):
        tables: dict[Labels, float | Durations] = {
            (("table", f"IPv{version}:{_MAIN_TABLE}"),): value[version] for version in (4, 6)
        }
        yield Family(name, Type.GAUGE, about, tables)


# --- ours ---------------------------------------------------------------------------------------------------------


def _of_routes(figures: Figures) -> Iterator[Family]:
    kernel = fib.Figures(figures.desired, figures.mirror, figures.ownership, figures.report)
    yield from fib.families("tortie_felix", kernel)
    about = "Passes over the packet filter, changes to it, and passes that failed."
    yield by("tortie_felix_packet_filter_total", about, "what", figures.filters, Type.COUNTER)


def _of_commands(figures: Figures) -> Iterator[Family]:
    took: dict[Labels, float | Durations] = {(("command", name),): each.took for name, each in figures.commands.items()}
    yield Family("tortie_felix_cni_seconds", Type.HISTOGRAM, "Seconds of each CNI command, felix's part.", took)
    failures = {name: each.failures for name, each in figures.commands.items()}
    about = "CNI commands that ended with an error; a DEL that was put off is one."
    yield by("tortie_felix_cni_failures_total", about, "command", failures, Type.COUNTER)
    flows = {"forgotten": figures.flows.forgotten, "failures": figures.flows.failures}
    about = "Tracked connections forgotten because their address has a new holder, and addresses that failed."
    yield by("tortie_felix_connections_total", about, "what", flows, Type.COUNTER)


def _of_addresses(figures: Figures) -> Iterator[Family]:
    """This node's blocks, by pool."""
    pools = list(figures.view.pools.values())
    own = [block for block in figures.view.blocks.values() if block.node == figures.view.node]
    named = [(_pool_of(block, pools), block) for block in own]
    counted: dict[str, Counter[str]] = {name: Counter() for name in ("blocks", "in_use", "free")}
    for pool, block in named:
        counted["blocks"][pool] += 1
        counted["in_use"][pool] += sum(1 for _ in blocks.allocations(block))
        counted["free"][pool] += len(block.free)
    names = sorted({pool.name for pool in pools} | {pool for pool, _ in named})
    for what, about in (
        ("blocks", "Blocks of this node."),
        ("in_use", "Addresses of this node's blocks that somebody has."),
        ("free", "Addresses of this node's blocks that nobody has."),
    ):
        yield by(f"tortie_felix_ipam_{what}", about, "ippool", {name: counted[what][name] for name in names})


def _pool_of(block: IPAMBlock, pools: list[IPPool]) -> str:
    pool = choose.pool_of(block.cidr.network_address, pools)
    return pool.name if pool is not None else NO_POOL


def _of_health(figures: Figures) -> Iterator[Family]:
    states = figures.health.states
    ready = {part.value: int(states[part].is_ready) for part in Part if part in states}
    yield by("tortie_felix_part_ready", "1 for each part that does its work.", "part", ready)
    troubled = {part.value: int(bool(states[part].why)) for part in Part if part in states}
    yield by(
        "tortie_felix_part_troubled", "1 for each part that has something to tell in /readiness.", "part", troubled
    )
    yield one("tortie_felix_ready", Type.GAUGE, "1 when the node can take pods.", int(figures.health.is_ready))
    about = "Kinds of which the datastore tells nothing at the moment."
    yield one("tortie_felix_datastore_out_of_touch", Type.GAUGE, about, figures.datastore.out_of_touch)
    about = "Objects of the datastore that cannot be read."
    yield by("tortie_felix_objects_unreadable", about, "type", figures.datastore.unreadable)
