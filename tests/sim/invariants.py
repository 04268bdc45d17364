"""What must be true of a cluster at every moment: looked at after every step, and where it can be at every write.

Numbers are DESIGN.md's. Invariants 3 and 4 are also looked at with each op (:mod:`tests.sim.node`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator

from datastore.codec import V, decode
from datastore.memory import Memory, MemoryStore
from datastore.plain import run
from datastore.resource import Key, Resource
from datastore.resources import BlockAffinity, IPAMBlock, IPAMHandle
from felix.fib.model import Address, Network, Route, RouteKey
from ipam import block as blocks
from tests.sim.excuses import Excuses
from tests.sim.node import SimNode
from tests.sim.runtime import Sandbox
from tests.sim.walker import Walker

Pair = tuple[Sandbox, Sandbox]

MEMORY_S = 2.0
"""What a kernel held so shortly ago may still be spoken of."""
LAG_S = 5.0


class Records:
    """The IPAM objects as they stand in the store, each decoded once."""

    def __init__(self, memory: Memory) -> None:
        self._store = MemoryStore(memory)
        self._decoded: dict[Key, tuple[str, object]] = {}

    def blocks(self) -> list[IPAMBlock]:
        return list(self._all(IPAMBlock, "IPAMBlock"))

    def affinities(self) -> list[BlockAffinity]:
        return [each for each in self._all(BlockAffinity, "BlockAffinity") if not each.is_deleted]

    def handles(self) -> list[IPAMHandle]:
        return list(self._all(IPAMHandle, "IPAMHandle"))

    def names(self, kind: str) -> list[str]:
        return [item.name for item in run(self._store.list(kind)).items]

    def _all(self, kind: type[V], name: str) -> Iterator[V]:
        for item in run(self._store.list(name)).items:
            yield self._typed(kind, item)

    def _typed(self, kind: type[V], item: Resource) -> V:
        revision, known = self._decoded.get(item.key, ("", None))
        if revision == item.revision and isinstance(known, kind):
            return known
        value = decode(kind, item)
        self._decoded[item.key] = (item.revision, value)
        return value


class Addresses:
    """Invariants 1 and 2, of what the store says and of what runtimes were told."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def flaws(self, live: Iterable[Sandbox]) -> Iterator[str]:
        found = self._records.blocks()
        held = {address: each.handle for block in found for address, each in blocks.allocations(block)}
        yield from self._double(live, held)
        yield from (f"{block.cidr}: {flaw}" for block in found for flaw in blocks.flaws(block))
        yield from self._owners({block.cidr: block for block in found})
        yield from self._counts(found)

    def _double(self, live: Iterable[Sandbox], held: dict[Address, str]) -> Iterator[str]:
        users: dict[Address, Sandbox] = {}
        for sandbox in live:
            assert sandbox.address is not None
            other = users.setdefault(sandbox.address, sandbox)
            if other is not sandbox:
                yield f"invariant 1: {sandbox} and {other} have one address"
            if held.get(sandbox.address) != sandbox.handle:
                yield f"invariant 1: {sandbox} uses what the store says is held by {held.get(sandbox.address)}"

    def _owners(self, found: dict[Network, IPAMBlock]) -> Iterator[str]:
        confirmed = [each for each in self._records.affinities() if each.is_confirmed]
        for cidr, count in Counter(each.cidr for each in confirmed).items():
            if count > 1:
                yield f"invariant 2: {cidr} is confirmed for {count} nodes"
        for each in confirmed:
            if each.cidr not in found or found[each.cidr].node != each.node:
                yield f"invariant 2: {each.cidr} is confirmed for {each.node} and is not its block"

    def _counts(self, found: list[IPAMBlock]) -> Iterator[str]:
        """A handle may count too much for a while, never too little."""
        counted = {each.handle: each.blocks for each in self._records.handles()}
        for block in found:
            for handle, count in Counter(each.handle for _, each in blocks.allocations(block)).items():
                if counted.get(handle, {}).get(str(block.cidr), 0) < count:
                    yield f"invariant 1: {handle} holds {count} of {block.cidr} and counts fewer"


class Traffic:
    """Invariant 6: pods that could talk before something that does not concern them can talk all the while."""

    def __init__(self, walker: Walker, excuses: Excuses) -> None:
        self._walker, self._excuses = walker, excuses
        self._talking: dict[Pair, None] = {}

    def look(self, live: Iterable[Sandbox]) -> None:
        """From now on those pairs are looked after that can talk now."""
        pods = list(live)
        pairs = [(one, other) for one in pods for other in pods if one is not other]
        self._talking = {pair: None for pair in pairs if self._walker.walk(*pair).is_delivered}

    def flaws(self, node: SimNode | None = None, route: Route | None = None) -> Iterator[str]:
        """Pairs that cannot talk any more: of all, or of those that a change of ``node``'s kernel may be about."""
        for pair in list(self._talking):
            start, end = pair
            if start.address is None or end.address is None:
                del self._talking[pair]
            elif _may_concern(node, route, start, end) and not (fate := self._walker.walk(start, end)).is_delivered:
                del self._talking[pair]
                if not self._excuses.cover(start.node, end.node):
                    yield f"invariant 6: {fate.story}"


def _may_concern(node: SimNode | None, route: Route | None, start: Sandbox, end: Sandbox) -> bool:
    if route is not None:
        return end.address in route.dst
    return node is None or node in (start.node, end.node)


class Announcements:
    """Invariant 9: what a node tells others is in its kernel, and was there first."""

    def __init__(self, walker: Walker, excuses: Excuses) -> None:
        self._walker, self._excuses = walker, excuses
        self._held: dict[SimNode, set[Network]] = {}
        self._gone_at: dict[tuple[SimNode, Network], float] = {}
        self._missing_since: dict[tuple[SimNode, SimNode, Network], float] = {}

    def note(self, node: SimNode) -> None:
        """Its kernel has changed."""
        now_held = self._walker.table(node).destinations
        for dst in self._held.get(node, set()) - now_held:
            self._gone_at[node, dst] = _now()
        self._held[node] = now_held

    def note_boot(self, node: SimNode) -> None:
        """It has forgotten everything, and nothing that it held before counts."""
        self._gone_at = {key: at for key, at in self._gone_at.items() if key[0] is not node}
        self._held[node] = self._walker.table(node).destinations

    def flaws(self, node: SimNode, told: Iterable[Network], to_whom: str) -> Iterator[str]:
        for dst in told:
            if not self._has(node, dst):
                yield f"invariant 9: {node.name} tells {to_whom} of {dst}, which its kernel does not hold"

    def lasting_flaws(self, nodes: Iterable[SimNode]) -> Iterator[str]:
        """What others have learned and its node does not hold, for longer than a withdrawal takes."""
        missing = set(self._missing(list(nodes)))
        self._missing_since = {key: self._missing_since.get(key, _now()) for key in sorted(missing, key=str)}
        for (who, whose, dst), since in self._missing_since.items():
            if _now() - since > LAG_S:
                yield f"invariant 9: {who.name} has learned {dst} of {whose.name}, whose kernel does not hold it"

    def _missing(self, nodes: list[SimNode]) -> Iterator[tuple[SimNode, SimNode, Network]]:
        steady = [node for node in nodes if self._excuses.is_steady(node)]
        by_address: dict[Address, SimNode] = {node.address: node for node in steady}
        for who in steady:
            assert who.speaker is not None
            for route in who.speaker.daemon.speaker.rib.routes():
                for whose in (by_address[hop] for hop in route.next_hops if hop in by_address):
                    if route.dst not in self._held[whose]:
                        yield who, whose, route.dst

    def _has(self, node: SimNode, dst: Network) -> bool:
        """Also what it had until just now, or until there was no felix that knew enough to take it back."""
        if dst in self._held.get(node, set()):
            return True
        if (node, dst) not in self._gone_at:
            return False
        is_untold = node.felix is None or not node.felix.has_confirmed
        return is_untold or _now() - self._gone_at[node, dst] < MEMORY_S


def foreign_flaws(node: SimNode, held: dict[RouteKey, Route]) -> Iterator[str]:
    """Invariant 4, by what other programs wrote and not by any mark on it."""
    for key, route in node.machine.foreign.items():
        if held.get(key) != route and (node.machine.has_uplink or not any(hop.device == "ens33" for hop in route.hops)):
            yield f"invariant 4: on {node.name} the foreign {route} is gone or another: {held.get(key)}"


def _now() -> float:
    return asyncio.get_running_loop().time()
