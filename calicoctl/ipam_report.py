"""The report of ``ipam check``, by which ``ipam release`` knows what nobody uses: JSON, as upstream writes it.

Every address carries the handle and the sequence that it was seen with, so that one given out again meanwhile is not
taken from its new holder. Source: Calico calicoctl/commands/ipam/check.go (CheckReport), release.go (mergeReports).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from calicoctl.failure import Failure
from calicoctl.versions import CLIENT_VERSION


@dataclass(slots=True)
class Allocation:
    """One address that a block holds for somebody. ``owners`` are those that really use it."""

    ip: str
    handle: str = ""
    sequence: int = 0
    pod: str = ""
    namespace: str = ""
    node: str = ""
    type: str = ""
    created: str = ""
    is_borrowed: bool = False
    is_cooling: bool = False
    owners: list[str] = field(default_factory=list)

    @property
    def is_in_use(self) -> bool:
        return bool(self.owners)


class Handle(NamedTuple):
    """A handle that holds nothing, as it was seen."""

    handle: str
    uid: str
    revision: str


class Cluster(NamedTuple):
    """Which cluster was looked at, and in what state. ``revision`` is that of its ClusterInformation."""

    guid: str
    type: str
    revision: str
    is_locked: bool


class Report(NamedTuple):
    """``idle`` by address: what may be released."""

    path: str
    version: str
    guid: str
    revision: str
    idle: Mapping[str, Allocation]
    handles: Mapping[str, Handle]


def write(path: str, cluster: Cluster, allocations: Iterable[Allocation], handles: Sequence[Handle]) -> None:
    """Raises Failure where the file cannot be written."""
    by_address: dict[str, list[dict[str, Any]]] = {}
    for each in allocations:
        by_address.setdefault(each.ip, []).append(_written(each))
    report: dict[str, Any] = {
        "version": CLIENT_VERSION,
        "clusterGUID": cluster.guid,
        "datastoreLocked": cluster.is_locked,
        "clusterInformationRevision": cluster.revision,
        "clusterType": cluster.type,
        "allocations": dict(sorted(by_address.items())),
    }
    if handles:
        report["leakedHandles"] = [
            {"ID": each.handle, "UID": each.uid or None, "Revision": each.revision} for each in handles
        ]
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o777), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2, ensure_ascii=False)
    except OSError as error:
        raise _unusable(path, error) from None


def _written(each: Allocation) -> dict[str, Any]:
    said = {
        "handle": each.handle,
        "sequenceNumber": each.sequence,
        "pod": each.pod,
        "namespace": each.namespace,
        "node": each.node,
        "type": each.type,
        "creationTimestamp": each.created,
    }
    written = {"ip": each.ip, **{key: value for key, value in said.items() if value or key == "sequenceNumber"}}
    written["inUse"] = each.is_in_use
    if each.is_borrowed:
        written["borrowed"] = True
    if each.is_cooling:
        written["coolingDown"] = True
    return {**written, "owners": each.owners or None}


def read(path: str) -> Report:
    """Raises Failure for what is no report."""
    try:
        with open(path, encoding="utf-8") as file:
            return _report(path, json.load(file))
    except OSError as error:
        raise _unusable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{path} is no report of ipam check: {error}") from None


def _unusable(path: str, error: OSError) -> Failure:
    return Failure(f"open {path}: {(error.strerror or str(error)).lower()}")


def _report(path: str, raw: Mapping[str, Any]) -> Report:
    found = [each for several in raw["allocations"].values() for each in several]
    idle = [each for each in found if not each["inUse"] and not each.get("coolingDown")]
    handles = [Handle(each["ID"], each["UID"] or "", each["Revision"]) for each in raw.get("leakedHandles") or ()]
    return Report(
        path,
        raw["version"],
        raw["clusterGUID"],
        raw["clusterInformationRevision"],
        {each["ip"]: Allocation(each["ip"], each.get("handle", ""), each["sequenceNumber"]) for each in idle},
        {each.handle: each for each in handles},
    )


def in_all(reports: Sequence[Report]) -> tuple[list[Allocation], list[Handle]]:
    """What every report calls idle: the addresses as the last one saw them, the handles that did not change."""
    first, *others = reports
    addresses = [
        reports[-1].idle[address] for address in first.idle if all(address in report.idle for report in others)
    ]
    handles = [
        handle
        for name, handle in first.handles.items()
        if all(name in other.handles and other.handles[name].revision == handle.revision for other in others)
    ]
    return addresses, handles
