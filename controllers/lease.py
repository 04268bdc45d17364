"""The record that says which replica works: Kubernetes' Lease, in every datastore. Pure.

Who reads it never trusts the other's clock: a lease has run out when the record has not changed for its duration by the
reader's own monotonic clock. The times in it are for people.
Source: Kubernetes client-go tools/leaderelection, coordination.k8s.io/v1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from datastore.resource import Key, Resource

KEY = Key("Lease", "calico-kube-controllers")
DURATION_S = 15.0
RENEWAL_S = 5.0
MARGIN_S = 2.0
"""A leader stops so long before others may take over: clocks do not run alike."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The record's revision, and since when it has been that; "" where there is none."""

    revision: str
    since: float


def seen(before: Seen | None, record: Resource | None, *, now: float) -> Seen:
    revision = record.revision if record is not None else ""
    return before if before is not None and before.revision == revision else Seen(revision, now)


def may_take(me: str, record: Resource | None, seen: Seen, *, now: float) -> bool:
    """It is mine, nobody's, or has run out."""
    holder = holder_of(record)
    return holder in ("", me) or now - seen.since >= _duration_s(record)


def holder_of(record: Resource | None) -> str:
    return str(record.spec.get("holderIdentity") or "") if record is not None else ""


def taken(me: str, record: Resource | None, *, wall: datetime) -> Resource:
    """The record as ``me`` writes it, to take or to renew it."""
    told = wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = dict(record.spec) if record is not None else {}
    if holder_of(record) != me:
        spec |= {"acquireTime": told, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (record is not None)}
    spec |= {"holderIdentity": me, "leaseDurationSeconds": int(DURATION_S), "renewTime": told}
    return replace(record, spec=spec) if record is not None else Resource(KEY.kind, KEY.name, spec=spec)


def let_go(record: Resource) -> Resource:
    """The next one need not wait."""
    spec = {name: value for name, value in record.spec.items() if name != "holderIdentity"}  # may not be empty
    return replace(record, spec={**spec, "leaseDurationSeconds": 1})


def _duration_s(record: Resource | None) -> float:
    raw = record.spec.get("leaseDurationSeconds") if record is not None else None
    return float(raw) if isinstance(raw, int) and raw > 0 else DURATION_S
