"""What the speaker remembers over its own end: its last good neighbours and exports, in one small file.

A process that starts while the datastore is away speaks with these, so that killing it then withdraws nothing. What was
announced counts only in the same boot of the machine: after another one the kernel has forgotten the blackholes, and
nothing may be announced before felix has put them back (invariant 9). The neighbours count in any.

The file is replaced by an atomic rename, and only its owner may read it: passwords are in it. One that cannot be read
is as good as none, and is said so once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Protocol

from bgp.export import NOTHING, Announcement, Exports
from bgp.filters import from_text
from bgp.neighbour import DEFAULT_PORT, AddPath, Kind, Neighbour, NextHopMode
from bgp.passing import CLOSED, Policy

log = logging.getLogger(__name__)

VERSION = 2
_READABLE = (1, 2)
"""1 knew nothing but what the mesh needs."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Remembered:
    """``boot`` names the machine's boot in which it was written."""

    router_id: IPv4Address
    neighbours: tuple[Neighbour, ...] = ()
    exports: Exports = field(default_factory=lambda: NOTHING)
    port: int = DEFAULT_PORT
    boot: str = ""
    policy: Policy = CLOSED


class Memory(Protocol):
    """Where it is kept. ``boot`` names the machine's present boot."""

    @property
    def boot(self) -> str: ...

    def load(self) -> Remembered | None:
        """What the last process left, or None."""
        ...

    async def save(self, remembered: Remembered) -> None:
        """Raises OSError when it cannot be kept; the old one is then still there."""
        ...


class FileMemory:
    """Disks block, so a thread writes."""

    def __init__(self, path: Path) -> None:
        self.boot = this_boot()
        self._path = path

    def load(self) -> Remembered | None:
        return load(self._path)

    async def save(self, remembered: Remembered) -> None:
        await asyncio.to_thread(save, self._path, remembered)

    def __str__(self) -> str:
        return str(self._path)


def this_boot() -> str:
    return _BOOT_ID.read_text().strip()


def load(path: Path) -> Remembered | None:
    """What the last process left, or None."""
    try:
        return _from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("remembered.unreadable path=%s why=%s", path, error)
        return None


def save(path: Path, remembered: Remembered) -> None:
    """Raises OSError when it cannot be written; the old one is then still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(_to_json(remembered), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _to_json(remembered: Remembered) -> dict[str, Any]:
    return {
        "version": VERSION,
        "boot": remembered.boot,
        "routerId": str(remembered.router_id),
        "port": remembered.port,
        "neighbours": [_neighbour_to_json(each) for each in remembered.neighbours],
        "exports": {str(dst): each.local_pref for dst, each in remembered.exports.items()},
        "policy": _policy_to_json(remembered.policy),
    }


def _from_json(raw: Any) -> Remembered:
    if raw["version"] not in _READABLE:
        raise ValueError(f"version {raw['version']}")
    return Remembered(
        router_id=IPv4Address(raw["routerId"]),
        neighbours=tuple(_neighbour_from_json(each) for each in raw["neighbours"]),
        exports={ip_network(dst): Announcement(int(local_pref)) for dst, local_pref in raw["exports"].items()},
        port=int(raw["port"]),
        boot=str(raw["boot"]),
        policy=_policy_from_json(raw.get("policy") or {}),
    )


_NETWORKS = ("pools", "closed", "services", "blocks")


def _policy_to_json(policy: Policy) -> dict[str, Any]:
    found: dict[str, Any] = {name: [str(each) for each in getattr(policy, name)] for name in _NETWORKS}
    found["marks"] = [[str(cidr), [list(each) for each in communities]] for cidr, communities in policy.marks]
    found["clusterId"] = str(policy.cluster_id or "")
    return found


def _policy_from_json(raw: dict[str, Any]) -> Policy:
    return Policy(
        **{name: tuple(ip_network(each) for each in raw.get(name, ())) for name in _NETWORKS},
        marks=tuple(
            (ip_network(cidr), tuple(tuple(map(int, each)) for each in communities))
            for cidr, communities in raw.get("marks", ())
        ),
        cluster_id=IPv4Address(raw["clusterId"]) if raw.get("clusterId") else None,
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """One of a neighbour's, under its name in the file. What an older file lacks has its default."""

    name: str
    key: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _write_address(address: Any) -> str:
    return str(address or "")


def _read_address(text: str) -> Any:
    return ip_address(text) if text else None


_FIELDS = (
    _Field("name", "name", str, str),
    _Field("kind", "kind", lambda kind: kind.value, Kind),
    _Field("address", "address", str, ip_address),
    _Field("peer_as", "peerAs", int, int),
    _Field("local_as", "localAs", int, int),
    _Field("local_address", "localAddress", _write_address, _read_address),
    _Field("port", "port", int, int),
    _Field("is_passive", "passive", bool, bool),
    _Field("restart_time_s", "restartTime", int, int),
    _Field("node", "node", str, str),
    _Field("keepalive_time_s", "keepalive", int, int),
    _Field("ttl_hops", "ttlHops", int, int),
    _Field("password", "password", str, str),
    _Field("gateway", "gateway", _write_address, _read_address),
    _Field("cluster_id", "clusterId", _write_address, lambda text: IPv4Address(text) if text else None),
    _Field("next_hop_mode", "nextHopMode", lambda mode: mode.value, NextHopMode),
    _Field("allowed_local_as", "allowedLocalAs", int, int),
    _Field(
        "filters",
        "filters",
        lambda filters: [[each.name, each.text] for each in filters],
        lambda raw: tuple(from_text(name, text) for name, text in raw),
    ),
    _Field("versions", "families", list, tuple),
    _Field("other_address", "otherAddress", _write_address, _read_address),
    _Field("survives_notifications", "survivesNotifications", bool, bool),
    _Field("hold_time_s", "holdTime", int, int),
    _Field("max_prefixes", "maxPrefixes", int, int),
    _Field("is_watched", "watched", bool, bool),
    _Field("needs_near_next_hops", "needsNearNextHops", bool, bool),
    _Field("enforces_first_as", "enforcesFirstAs", bool, bool),
    _Field("add_path", "addPath", int, AddPath),
)


def _neighbour_to_json(neighbour: Neighbour) -> dict[str, Any]:
    return {each.key: each.write(getattr(neighbour, each.name)) for each in _FIELDS}


def _neighbour_from_json(raw: dict[str, Any]) -> Neighbour:
    return Neighbour(**{each.name: each.read(raw[each.key]) for each in _FIELDS if each.key in raw})
