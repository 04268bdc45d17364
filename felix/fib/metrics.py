"""What monitoring is told of a reconciler's work: routes wanted, routes held, and what was written. Pure.

Wanted and held ones are the same when all is well; where they differ is what is drifting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from datastore.monitoring.exposition import Family, Type, by, one
from felix.fib.mirror import Mirror
from felix.fib.model import Desired, RouteKey
from felix.fib.owner import Ownership, is_ours
from felix.fib.status import Report


@dataclass(frozen=True, slots=True)
class Figures:
    """At one moment."""

    desired: Desired
    mirror: Mirror
    ownership: Ownership
    report: Report


def families(prefix: str, figures: Figures) -> Iterator[Family]:
    wanted, held = figures.desired.routes, figures.mirror.actual.routes
    ours = {key for key, route in held.items() if is_ours(route, figures.ownership)}
    yield _by_version(f"{prefix}_routes_wanted", "Routes that the kernel should hold.", wanted)
    yield _by_version(f"{prefix}_routes_actual", "Our routes that the kernel holds.", ours)
    drift = {
        "missing": sum(held.get(key) != route for key, (route, _) in wanted.items()),
        "unwanted": len(ours - wanted.keys()),
        "pending": figures.report.pending,
        "refused": figures.report.failed,
        "conflict": figures.report.conflicts,
    }
    yield by(f"{prefix}_routes_drift", "How the kernel differs from what is wanted.", "state", drift)
    counters = figures.report.counters
    writes = {"written": counters.written, "removed": counters.removed, "refused": counters.refused}
    yield by(f"{prefix}_kernel_writes_total", "Writes to the kernel.", "result", writes, Type.COUNTER)
    yield one(f"{prefix}_passes_total", Type.COUNTER, "Comparisons with the kernel.", counters.passes)


def _by_version(name: str, about: str, keys: Iterable[RouteKey]) -> Family:
    counted = Counter(key.dst.version for key in keys)
    return by(name, about, "ip_version", {str(version): counted[version] for version in (4, 6)})
