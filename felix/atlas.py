"""Where a destination is looked up: its pool, the way to its next hops, and the name of the node that it belongs to.

An atlas is made from the map (pools, nodes, surroundings) and is good until that changes. It remembers its answers,
because one node has many blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datastore.resources import IPPool, Node
from felix import mtu
from felix.choose import Choice, Peer, choose
from felix.encap import direct, ipip, vxlan
from felix.encap.way import NoWay, Way
from felix.fib.model import Address, Link, Network, Why
from felix.ground import Ground
from felix.prefixes import PrefixTable
from felix.reach.reach import Reach, Source
from felix.tunnels import Tunnel
from felix.view import View


class Atlas:
    """``version`` is the view's ``map_version`` that it was made from."""

    def __init__(self, view: View) -> None:
        self.version = view.map_version
        self._me = view.me
        self._pools = PrefixTable((pool.cidr, pool) for pool in view.pools.values())
        self._nodes = dict(_by_address(view))
        self._ground = Ground(view.surroundings)
        links = view.surroundings.links
        self._up = tunnels_up(links)
        self._settings = view.settings
        self._host_mtu_bytes = mtu.of_host(links.values(), self._settings.mtu_iface_pattern)
        self._ways: dict[tuple[str, tuple[Address, ...], str], tuple[Way | NoWay, Why]] = {}

    def pool_of(self, dst: Network) -> IPPool | None:
        return self._pools.best(dst)

    def way(self, reach: Reach, pool: IPPool | None) -> tuple[Way | NoWay, Why]:
        """How packets get there, by which rule, or what that waits for. ``pool`` is the destination's."""
        if (connected := self._ground.connected.get(reach.dst)) is not None:
            return NoWay("connected"), Why(f"this node is connected to it: {connected}")
        key = ("" if pool is None else pool.name, reach.next_hops, reach.told_by)
        answer = self._ways.get(key)
        if answer is None:
            answer = self._ways[key] = self._find(reach, pool)
        return answer

    def _find(self, reach: Reach, pool: IPPool | None) -> tuple[Way | NoWay, Why]:
        if not reach.next_hops:
            return NoWay("no address"), Why(f"node {reach.told_by} has no address")
        address = reach.next_hops[0]
        peer = Peer(address, self._nodes.get(address))
        choice = choose(pool, self._me, peer, self._up)
        origin = f"{choice.rule}, {self._teller(reach)}"
        way = self._way_of(choice, peer, reach)
        return way, Why(f"{origin}: {way.why}" if isinstance(way, NoWay) else origin)

    def _way_of(self, choice: Choice, peer: Peer, reach: Reach) -> Way | NoWay:
        tunnel = choice.tunnel
        if tunnel is None or peer.node is None:
            return direct.way_to(reach.next_hops, self._ground)
        if tunnel is Tunnel.IPIP:
            return ipip.way_to(reach.next_hops)
        published = tunnel.published(peer.node)
        if published is None:
            return NoWay(f"{peer.node.name} publishes no tunnel address")
        return vxlan.way_to(published, tunnel, mtu.of_tunnel(tunnel, self._host_mtu_bytes, self._settings))

    def _teller(self, reach: Reach) -> str:
        """``node node2, bgp 192.168.50.11``."""
        if reach.source is Source.BLOCKS:
            return f"node {reach.told_by}, its block"
        node = self._nodes.get(reach.next_hops[0])
        return f"node {node.name}, bgp {reach.told_by}" if node is not None else f"bgp {reach.told_by}"


def tunnels_up(links: Mapping[str, Link]) -> frozenset[Tunnel]:
    """Those whose device here is up."""
    return frozenset(tunnel for tunnel in Tunnel if tunnel.device in links and links[tunnel.device].is_up)


def _by_address(view: View) -> Iterator[tuple[Address, Node]]:
    for node in view.nodes.values():
        for interface in (node.ipv4, node.ipv6):
            if interface is not None:
                yield interface.ip, node
