"""What an edit would change, worked out from two forecasts. Pure.

A destination that somebody has, but that cannot be reached for now, keeps the route that it has: it *waits*.
:mod:`calicoctl.foretold_text` shows what is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datastore.resource import Key, Resource
from felix.fib.model import Address, Route
from felix.fib.tunnel import TunnelDevice
from felix.forecast import Outlook, Stored, text_of
from felix.prefixes import PrefixTable
from felix.reach.local import pod_name


@dataclass(frozen=True, slots=True)
class Change:
    """``before`` and ``after`` are lines; "" is nothing. ``waits``: ``after`` is only what stays for the time being."""

    what: str
    before: str
    after: str
    why: str = ""
    waits: bool = False

    @property
    def is_any(self) -> bool:
        return self.waits or self.before != self.after


@dataclass(frozen=True, slots=True)
class SmallerMtu:
    before_bytes: int
    after_bytes: int
    pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeChange:
    """``taken`` and ``given_back`` are addresses of its tunnels."""

    node: str
    routes: tuple[Change, ...]
    devices: tuple[Change, ...]
    sessions: tuple[Change, ...]
    pods: SmallerMtu | None
    taken: tuple[Address, ...]
    given_back: tuple[Address, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.routes or self.devices or self.sessions or self.pods or self.taken or self.given_back)


@dataclass(frozen=True, slots=True)
class LostAddress:
    """A pod's, which nobody will be able to reach, or which it will not have any more."""

    address: Address
    pod: str
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Foretold:
    """``objects``: what becomes of the documents themselves, by their keys."""

    objects: tuple[Change, ...]
    nodes: tuple[NodeChange, ...]
    lost: tuple[LostAddress, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.objects or self.lost) or any(node.is_any for node in self.nodes)


# --- what differs -------------------------------------------------------------------------------------------------


def node_changes(before: Mapping[str, Outlook], after: Mapping[str, Outlook]) -> tuple[NodeChange, ...]:
    """Of all nodes that are there before or after, by name. One that is gone needs nothing any more."""
    return tuple(_node_change(name, before.get(name), after.get(name)) for name in sorted({*before, *after}))


def _node_change(name: str, before: Outlook | None, after: Outlook | None) -> NodeChange:
    had = set(before.tunnels.values()) if before else set()
    has = set(after.tunnels.values()) if after else set()
    return NodeChange(
        node=name,
        routes=tuple(_routes(before, after)),
        devices=tuple(_paired("device", _devices(before), _devices(after))),
        sessions=tuple(_paired("session", _sessions(before), _sessions(after))),
        pods=_smaller_mtu(before, after),
        taken=tuple(sorted(has - had, key=_in_order)),
        given_back=tuple(sorted(had - has, key=_in_order)),
    )


def _routes(before: Outlook | None, after: Outlook | None) -> Iterator[Change]:
    old = {key.dst: found for key, found in before.desired.routes.items()} if before else {}
    new = {key.dst: found for key, found in after.desired.routes.items()} if after else {}
    pending = after.desired.pending if after else {}
    was_pending = before.desired.pending if before else {}
    for dst in sorted({*old, *new, *pending}, key=lambda each: (each.version, each)):
        (was, was_why), (will, why) = old.get(dst, (None, "")), new.get(dst, (None, ""))
        if will is None and dst in pending:
            if dst not in was_pending:
                yield Change("route", _text(was), _text(was), str(pending[dst]), waits=True)
        elif was != will:
            yield Change("route", _text(was), _text(will), str(why or was_why))


def _text(route: Route | None) -> str:
    return "" if route is None else text_of(route)


def _devices(outlook: Outlook | None) -> dict[str, tuple[str, str]]:
    found = outlook.desired.tunnels.items() if outlook else ()
    return {name: (_device(device), str(why)) for name, (device, why) in found}


def _device(device: TunnelDevice) -> str:
    address = "" if device.address is None else f", address {device.address}/{device.address.max_prefixlen}"
    made = f", {device.vxlan}" if device.vxlan is not None else ""
    return f"{device.name} up, MTU {device.mtu_bytes}{address}{made}"


def _sessions(outlook: Outlook | None) -> dict[str, tuple[str, str]]:
    found = outlook.sessions if outlook else ()
    return {
        each.name: (f"{each.name} with {each.address} port {each.port}, AS {each.peer_as}, own AS {each.local_as}", "")
        for each in found
    }


def _paired(what: str, before: Mapping[str, tuple[str, str]], after: Mapping[str, tuple[str, str]]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        (was, _), (will, why) = before.get(name, ("", "")), after.get(name, ("", ""))
        if was != will:
            yield Change(what, was, will, why)


def _smaller_mtu(before: Outlook | None, after: Outlook | None) -> SmallerMtu | None:
    """A pod keeps the MTU that it was born with, so only less is a matter."""
    if before is None or after is None or after.pod_mtu_bytes >= before.pod_mtu_bytes or not after.pods:
        return None
    return SmallerMtu(before.pod_mtu_bytes, after.pod_mtu_bytes, after.pods)


def lost_addresses(before: Stored, after: Stored) -> tuple[LostAddress, ...]:
    """Addresses of pods whose pool, or whose endpoint, would be gone."""
    pools_before, pools_after = (PrefixTable((pool.cidr, pool) for pool in each.pools) for each in (before, after))
    remaining = {(endpoint.resource.key, dst) for endpoint in after.endpoints for dst in endpoint.networks}
    found = []
    for endpoint in before.endpoints:
        for dst in endpoint.networks:
            if (endpoint.resource.key, dst) not in remaining:
                why = "its endpoint would be deleted"
            elif (pool := pools_before.best(dst)) is not None and pools_after.best(dst) is None:
                why = f"pool {pool.name} would be gone, and no other has it"
            else:
                continue
            found.append(LostAddress(dst.network_address, pod_name(endpoint), endpoint.node, why))
    return tuple(sorted(found, key=lambda each: _in_order(each.address)))


def object_changes(
    keys: Iterable[Key], before: Mapping[Key, Resource], after: Mapping[Key, Resource]
) -> tuple[Change, ...]:
    """Of the documents that the edit is about, field by field."""
    found = (each for key in dict.fromkeys(keys) for each in _object_change(key, before.get(key), after.get(key)))
    return tuple(found)


def _object_change(key: Key, before: Resource | None, after: Resource | None) -> Iterator[Change]:
    if before is None or after is None:
        if before is not after:
            yield Change(str(key), "stored" if before else "", "stored" if after else "")
        return
    was, will = dict(_leaves("", _said(before))), dict(_leaves("", _said(after)))
    for path in sorted({*was, *will}):
        change = Change(f"{key} {path}", was.get(path, ""), will.get(path, ""))
        if change.is_any:
            yield change


def _said(resource: Resource) -> dict[str, Any]:
    return {**resource.spec, "labels": dict(resource.labels), "annotations": dict(resource.annotations)}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """What stands in a document, by its place in it. Lists are one value: their items have no names."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), inner)
    else:
        yield path, _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value) or '""'


def _in_order(address: Address) -> tuple[int, int]:
    return address.version, int(address)
