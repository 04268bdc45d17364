"""Invariant 10: when nothing has happened for a while, nothing tells what happened before.

The tables are what the datastore and the pods that are there demand, worked out here without a look at felix; every pod
reaches every other, every route says why it is there, and the controllers have given back all that is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator

from felix.fib.model import Network
from ipam import block as blocks
from tests.sim.cluster import SimCluster
from tests.sim.node import SimNode


def check_rest(cluster: SimCluster) -> None:
    """Raises Violation. The cluster must have been left alone for long enough, with everything mended."""
    cluster.check()
    flaws = [*_unfinished(cluster), *_silent_pairs(cluster), *_other_tables(cluster), *_unexplained(cluster)]
    flaws += _leaks(cluster)
    if flaws:
        raise cluster.trail.violation("invariant 10: " + "\n".join(flaws))


def _unfinished(cluster: SimCluster) -> Iterator[str]:
    for node in cluster.nodes.values():
        yield from (f"{pod} of {node.name} still comes or goes" for pod in cluster.runtimes[node.name].busy)
        if node.felix is None or not node.felix.agent.health.is_ready:
            yield f"felix of {node.name} is not ready: {node.felix and node.felix.agent.health.why_not()}"
        if node.machine.disk.deletions:
            yield f"{node.name} still spools {list(node.machine.disk.deletions)}"


def _silent_pairs(cluster: SimCluster) -> Iterator[str]:
    fates = (cluster.walker.walk(one, other) for one in cluster.live for other in cluster.live if one is not other)
    yield from (fate.story for fate in fates if not fate.is_delivered)


def _other_tables(cluster: SimCluster) -> Iterator[str]:
    wanted = {node.name: set(_demanded(cluster, node)) for node in cluster.nodes.values()}
    for node in cluster.nodes.values():
        held = {str(route) for route in cluster.ours(node)}
        yield from (f"{node.name} lacks {line}" for line in sorted(wanted[node.name] - held))
        yield from (f"{node.name} has {line}, wanted by nobody" for line in sorted(held - wanted[node.name]))


def _demanded(cluster: SimCluster, node: SimNode) -> Iterator[str]:
    """Lines of ``ip route``: blocks, this node's pods, and pods elsewhere that are outside their node's blocks."""
    owners: dict[Network, str] = {each.cidr: each.node for each in cluster.records.affinities() if each.is_confirmed}
    for cidr, owner in owners.items():
        if owner == node.name:
            yield f"blackhole {cidr} proto bird"
        elif owner in cluster.nodes:
            yield f"{cidr} via {cluster.nodes[owner].address} dev ens33 proto bird"
    for pod in cluster.live:
        if pod.node is node:
            yield f"{pod.address} dev {pod.device} scope link"
        elif not any(pod.address in cidr for cidr, owner in owners.items() if owner == pod.node.name):
            yield f"{pod.address} via {pod.node.address} dev ens33 proto bird"


def _unexplained(cluster: SimCluster) -> Iterator[str]:
    """Every route of ours has its Why."""
    for node in cluster.nodes.values():
        assert node.felix is not None
        for route in cluster.ours(node):
            if "because" not in node.felix.agent.why(route.dst.network_address):
                yield f"felix of {node.name} cannot say why it has {route}"


def _leaks(cluster: SimCluster) -> Iterator[str]:
    live = {pod.handle for pod in cluster.live}
    held = [each.handle for block in cluster.records.blocks() for _, each in blocks.allocations(block)]
    yield from (f"{handle} is gone and has an address" for handle in sorted({*held} - live))
    counted = {each.handle for each in cluster.records.handles()}
    yield from (f"the handle {handle} is idle" for handle in sorted(counted - live))
    owners = {each.node for each in cluster.records.affinities()} | {each.node for each in cluster.records.blocks()}
    yield from (f"{owner} is gone and owns blocks" for owner in sorted(owners - {*cluster.nodes, ""}))
    endpoints, pods = len(cluster.records.names("WorkloadEndpoint")), len(cluster.live)
    if endpoints != pods:
        yield f"{endpoints} endpoints for {pods} pods"
