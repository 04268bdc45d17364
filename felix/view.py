"""All that felix knows, as tables: filled by events, read whole.

Level-based: an event says what is, not what happened, so the order of events, events that come twice and events that
were merged into one leave the same tables. Nothing is decided here. What cannot be told from the tables is which of
them are complete: a kind is *listed* once its first whole list has been taken, and stays so, because a watch that is
lost and found again is followed by differences to what is here and never by an empty table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bgp.learned import Message
from datastore.resource import Key, Resource
from datastore.resources import BlockAffinity, FelixConfiguration, IPAMBlock, IPPool, Node, WorkloadEndpoint
from felix.fib.mirror import Surroundings
from felix.fib.model import Network
from felix.fib.plan import InSync
from felix.reach.bgp import Announced
from felix.reach.reach import Reach
from felix.settings import Read, Settings, read
from felix.tunnels import Held, Tunnel

Listed = IPPool | Node | BlockAffinity | IPAMBlock | WorkloadEndpoint | FelixConfiguration
KINDS = ("IPPool", "Node", "BlockAffinity", "IPAMBlock", "WorkloadEndpoint", "FelixConfiguration")
_FOR_REMOTE = {"IPPool", "Node", "BlockAffinity", "IPAMBlock", "FelixConfiguration"}
_ON_THE_MAP = {"IPPool", "Node", "FelixConfiguration"}


class View:
    """``node`` is this node's name, ``environ`` what overrides settings. ``map_version`` grows when that changes in
    which every destination is looked up: pools, nodes, tunnels, settings, surroundings. ``unfinished``: pods' devices
    that are being made at this moment.
    """

    def __init__(self, node: str, environ: Mapping[str, str] | None = None) -> None:
        self.node = node
        self._environ = environ or {}
        self._configured: Read | None = None
        self.surroundings = Surroundings()
        self.map_version = 0
        self._tables: dict[str, dict[Key, Any]] = {kind: {} for kind in KINDS}
        self._listed: set[str] = set()
        self._announced = Announced()
        self.held: Held = {}
        self.unfinished: set[str] = set()

    # What is known.

    @property
    def pools(self) -> Mapping[Key, IPPool]:
        return self._tables["IPPool"]

    @property
    def nodes(self) -> Mapping[Key, Node]:
        return self._tables["Node"]

    @property
    def affinities(self) -> Mapping[Key, BlockAffinity]:
        return self._tables["BlockAffinity"]

    @property
    def blocks(self) -> Mapping[Key, IPAMBlock]:
        return self._tables["IPAMBlock"]

    @property
    def endpoints(self) -> Mapping[Key, WorkloadEndpoint]:
        return self._tables["WorkloadEndpoint"]

    @property
    def me(self) -> Node | None:
        """This node, once it is known."""
        return self.nodes.get(Key("Node", self.node))

    @property
    def settings(self) -> Settings:
        """What holds on this node."""
        return self.configured.settings

    @property
    def configured(self) -> Read:
        """The settings, and what is wrong with those that were asked for."""
        if self._configured is None:
            documents = (each.resource for each in self._tables["FelixConfiguration"].values())
            labels = self.me.resource.labels if self.me is not None else {}
            self._configured = read(documents, node=self.node, labels=labels, environ=self._environ)
        return self._configured

    @property
    def announced(self) -> Mapping[Network, Reach]:
        return self._announced.reaches

    @property
    def can_place_remote(self) -> bool:
        """Whether enough is known to say how anything remote is reached: without pools everything looks external."""
        return self._listed >= _FOR_REMOTE

    @property
    def in_sync(self) -> InSync:
        return InSync(
            pods="WorkloadEndpoint" in self._listed,
            blocks="BlockAffinity" in self._listed,
            remote=self.can_place_remote and self._announced.is_in_sync,
            tunnels=self.can_place_remote and self.held.keys() >= set(Tunnel),
        )

    # What happens.

    def put(self, value: Listed) -> bool:
        """Returns whether that changes anything: most writes to a node are not about what is read here."""
        key = value.resource.key
        table = self._tables[key.kind]
        if _says_the_same(table.get(key), value):
            return False
        table[key] = value
        self._redraw(key.kind)
        return True

    def gone(self, key: Key) -> bool:
        """Returns whether it was there."""
        if self._tables[key.kind].pop(key, None) is None:
            return False
        self._redraw(key.kind)
        return True

    def listed(self, kind: str) -> bool:
        """The first whole list of ``kind`` has been taken. Returns whether that was not known."""
        is_first = kind not in self._listed
        self._listed.add(kind)
        return is_first

    def hear(self, message: Message) -> None:
        """From the BGP speaker."""
        self._announced.hear(message)

    def hold(self, held: Held) -> None:
        """This node's tunnel addresses, as far as they are known."""
        self.held = dict(held)
        self.map_version += 1

    def see(self, surroundings: Surroundings) -> None:
        """From the kernel."""
        self.surroundings = surroundings
        self.map_version += 1

    def _redraw(self, kind: str) -> None:
        if kind in _ON_THE_MAP:
            self.map_version += 1
            self._configured = None


def _says_the_same(known: Listed | None, value: Listed) -> bool:
    """But for the rest of its document. The time of creation counts: of two endpoints the younger has the address.
    Labels do for what selects nodes by them, and that an object is being deleted.
    """
    return (
        known is not None
        and _about(known.resource) == _about(value.resource)
        and replace(value, resource=known.resource) == known
    )


def _about(resource: Resource) -> tuple[object, ...]:
    whole = resource.spec if resource.kind == "FelixConfiguration" else None
    return resource.uid, resource.created, resource.labels, resource.metadata.get("deletionTimestamp"), whole
