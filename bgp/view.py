"""What the datastore says, as far as the speaker reads it, and everything that follows from it.

A table a kind, fed by batches; each result is a pure function of some of the tables and is worked out again only when
one of those changed. A datastore that is away changes nothing here, and until every kind has been listed once the view
is not in sync and says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

from bgp.export import NORMAL_PRIORITY, Announcement, Exports, exports, own_blocks
from bgp.filters import Filter, Unreadable, community, read
from bgp.mesh import Cluster, Secrets, cluster_id_of, mesh
from bgp.message import Community
from bgp.neighbour import DEFAULT_PORT, ListenAt, Mesh
from bgp.ownership import Ownership, ownership
from bgp.passing import Marks, Policy
from bgp.services import EndpointSlice, Ranges, Service, announced, ranges
from bgp.session import HOLD_TIME_S
from datastore.follow import Batch
from datastore.resources import BGPConfiguration, BGPFilter, BGPPeer, BlockAffinity, IPAMBlock, IPPool, Node
from datastore.table import Table, rejected
from datastore.unreadable import Reasons

Network = IPv4Network | IPv6Network
T = TypeVar("T")

KINDS = ("Node", "BGPConfiguration", "BGPPeer", "BGPFilter", "IPPool", "BlockAffinity", "IPAMBlock")


class View:
    """``node`` is this node's name, ``cluster_ips`` the environment's word for serviceClusterIPs, ``node_hold_time_s``
    what is offered to other nodes.
    """

    def __init__(self, node: str, *, cluster_ips: str = "", node_hold_time_s: int = HOLD_TIME_S) -> None:
        self._node = node
        self._node_hold_time_s = node_hold_time_s
        self._cluster_ips = cluster_ips
        self._services = Table(Service)
        self._slices = Table(EndpointSlice)
        self._nodes = Table(Node)
        self._configurations = Table(BGPConfiguration)
        self._peers = Table(BGPPeer)
        self._filters = Table(BGPFilter)
        self._pools = Table(IPPool)
        self._affinities = Table(BlockAffinity)
        self._blocks = Table(IPAMBlock)
        self._tables: dict[str, Table[Any]] = {
            "Node": self._nodes,
            "BGPConfiguration": self._configurations,
            "BGPPeer": self._peers,
            "BGPFilter": self._filters,
            "IPPool": self._pools,
            "BlockAffinity": self._affinities,
            "IPAMBlock": self._blocks,
        }
        self._beside: dict[str, Table[Any]] = {"Service": self._services, "EndpointSlice": self._slices}
        self._known: dict[str, tuple[tuple[object, ...], Any]] = {}
        self._secrets: Secrets | None = None

    @property
    def in_sync(self) -> bool:
        return all(table.in_sync for table in self._tables.values())

    @property
    def unreadable(self) -> Reasons:
        """What is wrong with objects that cannot be read; their last good values count."""
        return rejected(self._tables.values())

    @property
    def has_services(self) -> bool:
        """Whether it is known which there are."""
        return self._services.in_sync and self._slices.in_sync

    def apply(self, batch: Batch) -> bool:
        """Whether it changed anything."""
        table = self._tables.get(batch.kind) or self._beside[batch.kind]
        return bool(table.apply(batch)) or batch.is_snapshot

    @property
    def me(self) -> Node | None:
        return next((node for node in self._nodes.values.values() if node.name == self._node), None)

    def waits_for(self, rule: str) -> str:
        """Why this node cannot speak yet, or "". ``rule`` is that of the router id."""
        me = self.me
        if me is None:
            return f"node {self._node} is not in the datastore"
        if me.ipv4 is None and me.ipv6 is None:
            return f"node {self._node} has no address"
        if me.ipv4 is None and not rule:
            return f"node {self._node} has no IPv4 address to take the router id from"
        return ""

    def keep(self, secrets: Secrets) -> None:
        """What the Secrets hold, by name and key. Until this is called the datastore is one that has none."""
        self._secrets = secrets

    def named_secrets(self) -> frozenset[str]:
        """Those that somebody refers to, whether this node's sessions need them or not."""
        return self._when_changed("named secrets", self._find_named_secrets, self._configurations, self._peers)

    def router_id(self, rule: str) -> IPv4Address:
        """``rule`` as in CALICO_ROUTER_ID: an address, ``hash``, or "" for the node's own (0.0.0.0 without one)."""
        if rule == "hash":
            return hashed_router_id(self._node)
        me = self.me
        own = int(me.ipv4.ip) if me is not None and me.ipv4 is not None else 0
        return IPv4Address(rule or own)

    def mesh(self) -> Mesh:
        """The neighbours over both families."""
        return self._when_changed(
            "mesh",
            self._find_mesh,
            self._nodes,
            self._configurations,
            self._peers,
            self._filters,
            also=tuple(sorted(self._secrets.items())) if self._secrets is not None else None,
        )

    def ownership(self) -> Ownership:
        return self._when_changed("ownership", self._find_owners, self._nodes, self._affinities, self._blocks)

    def exports(self, confirmed: frozenset[Network]) -> Exports:
        """``confirmed``: what felix found in the FIB."""
        tables = (self._affinities, self._pools, self._configurations, self._services, self._slices, self._nodes)
        return self._when_changed("exports", lambda: self._find_exports(confirmed), *tables, also=confirmed)

    def log_severity(self) -> str:
        """Upstream's word for how much is to be logged: this node's, the default one's, or Info."""
        for name in (f"node.{self._node}", "default"):
            configuration = self._configuration(name)
            if configuration is not None and "logSeverityScreen" in configuration.resource.spec:
                return configuration.log_severity
        return "Info"

    def nodes(self) -> frozenset[str]:
        return self._when_changed("nodes", self._find_nodes, self._nodes)

    def policy(self) -> Policy:
        """What may be passed on, and with which communities."""
        tables = (self._pools, self._configurations, self._affinities, self._nodes)
        return self._when_changed("policy", self._find_policy, *tables)

    def listen(self) -> ListenAt:
        default = self._configuration("default")
        me = self.me
        port = self._cluster().configured_port(self._node) or DEFAULT_PORT
        if default is None or default.bind_mode != "NodeIP" or me is None:
            return ListenAt(port)
        return ListenAt(port, tuple(each.ip for each in (me.ipv4, me.ipv6) if each is not None))

    def _find_mesh(self) -> Mesh:
        four, six = (mesh(self._cluster(), version=version) for version in (4, 6))
        unbuilt = dict.fromkeys((*four.unbuilt, *six.unbuilt))
        return Mesh((*four.neighbours, *six.neighbours), tuple(unbuilt))

    def _find_named_secrets(self) -> frozenset[str]:
        passwords = [each.password for each in self._peers.values.values()]
        passwords += [each.node_mesh_password for each in self._configurations.values.values()]
        return frozenset(str(each["secretKeyRef"].get("name") or "") for each in passwords if each.get("secretKeyRef"))

    def _find_owners(self) -> Ownership:
        return ownership(
            node=self._node,
            nodes=self._nodes.values.values(),
            affinities=self._affinities.values.values(),
            blocks=self._blocks.values.values(),
        )

    def service_ranges(self) -> Ranges:
        return ranges(self._configuration("default"), self._cluster_ips)

    def _find_exports(self, confirmed: frozenset[Network]) -> Exports:
        default = self._configuration("default")
        own = exports(
            node=self._node,
            affinities=self._affinities.values.values(),
            pools=self._pools.values.values(),
            confirmed=confirmed,
            priority=default.normal_route_priority if default is not None else NORMAL_PRIORITY,
            priority_v6=default.normal_route_priority_v6 if default is not None else NORMAL_PRIORITY,
        )
        services = sorted(self._find_service_routes(), key=lambda dst: (dst.version, dst))
        return {**dict.fromkeys(services, Announcement()), **own}

    def _find_service_routes(self) -> frozenset[Network]:
        """Without a node nothing is known of its labels, and nothing goes out."""
        me = self.me
        if me is None:
            return frozenset()
        return announced(
            node=_kubernetes_name(me),
            labels=me.resource.labels,
            ranges=self.service_ranges(),
            services=self._services.values.values(),
            slices=self._slices.values.values(),
        )

    def _find_policy(self) -> Policy:
        default, me = self._configuration("default"), self.me
        pools = tuple(self._pools.values.values())
        services = (*default.load_balancer_blocks, *default.external_blocks) if default is not None else ()
        return Policy(
            pools=tuple(pool.cidr for pool in pools if not pool.disable_bgp_export),
            closed=tuple(pool.cidr for pool in pools if pool.disable_bgp_export),
            services=tuple(ip_network(each["cidr"], strict=False) for each in services),
            marks=marks(default, self._configuration(f"node.{self._node}")),
            blocks=tuple(own_blocks(self._node, self._affinities.values.values())),
            ranges=self.service_ranges().whole(),
            cluster_id=cluster_id_of(me) if me is not None else None,
        )

    def _find_nodes(self) -> frozenset[str]:
        return frozenset(node.name for node in self._nodes.values.values())

    def _find_filters(self) -> dict[str, Filter | Unreadable]:
        found: dict[str, Filter | Unreadable] = {}
        for each in self._filters.values.values():
            try:
                found[each.resource.name] = read(each.resource.name, each.resource.spec)
            except Unreadable as error:
                found[each.resource.name] = error
        return found

    def _cluster(self) -> Cluster:
        return Cluster(
            me=self._node,
            nodes={node.name: node for node in self._nodes.values.values()},
            configurations={each.resource.name: each for each in self._configurations.values.values()},
            peers=tuple(self._peers.values.values()),
            secrets=self._secrets,
            filters=self._when_changed("filters", self._find_filters, self._filters),
            node_hold_time_s=self._node_hold_time_s,
        )

    def _configuration(self, name: str) -> BGPConfiguration | None:
        return self._cluster().configurations.get(name)

    def _when_changed(self, name: str, find: Callable[[], T], *tables: Table[Any], also: object = None) -> T:
        basis = (*(table.generation for table in tables), also)
        known = self._known.get(name)
        if known is None or known[0] != basis:
            self._known[name] = known = (basis, find())
        found: T = known[1]
        return found


def marks(default: BGPConfiguration | None, own: BGPConfiguration | None) -> Marks:
    """The communities of each prefix. A node's own advertisements stand in for all of the default ones.

    A community that has no such name and is none itself is left out: the one bad word stops no route.
    """
    source = own if own is not None and own.prefix_advertisements else default
    if source is None:
        return ()
    given = [each for each in (default, own) if each is not None]
    named = {each.get("name"): each.get("value") for one in given for each in one.communities}
    found: list[tuple[Network, tuple[Community, ...]]] = []
    for each in source.prefix_advertisements:
        try:
            words = [str(named.get(word, word)) for word in each.get("communities") or ()]
            found.append((ip_network(each["cidr"], strict=False), tuple(community(word) for word in words)))
        except (ValueError, KeyError):
            continue
    return tuple(found)


def _kubernetes_name(node: Node) -> str:
    """Under which its pods are said to be there."""
    references = node.resource.spec.get("orchRefs") or ()
    return next((str(each["nodeName"]) for each in references if each.get("orchestrator") == "k8s"), node.name)


def hashed_router_id(node: str) -> IPv4Address:
    """Upstream's way to a router id for nodes without an IPv4 address: of the name, and never multicast."""
    first, *rest = hashlib.sha256(node.encode()).digest()[:4]
    return IPv4Address(bytes((first - 32 if first > 223 else first, *rest)))
