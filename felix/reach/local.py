"""What this node has itself: routes straight away, nothing is left to choose.

- Each address of a pod: ``<address> dev cali… scope link``, proto boot, without metric (IPv6: 1024, the kernel's own).
- Each confirmed block of ours: ``blackhole <block> proto bird``, so that packets to addresses that no pod has stay
  here, and so that there is something to announce. Not for a block of one address: a pod's route has that place.

Two endpoints with one address are two lives of one pod: the one made last has it.

Source: the documents' tables; Calico confd's static routes, felix/dataplane/linux/endpoint_mgr.
"""

from __future__ import annotations

from collections.abc import Iterator

from datastore.resources import BlockAffinity, WorkloadEndpoint
from felix.fib.model import IPV6_METRIC, Hop, Network, Protocol, Route, RouteType, Scope, Why
from felix.view import View


def pod_routes(view: View) -> Iterator[tuple[Route, Why]]:
    for dst, endpoint in _owners(view).items():
        yield _pod_route(dst, endpoint.device), Why(f"pod {pod_name(endpoint)}")


def blackholes(view: View) -> Iterator[tuple[Route, Why]]:
    for affinity in view.affinities.values():
        if _is_ours(affinity, view.node) and affinity.cidr.prefixlen < affinity.cidr.max_prefixlen:
            yield _blackhole(affinity.cidr), Why(f"own block, affinity {affinity.resource.name}")


def endpoints(view: View) -> Iterator[WorkloadEndpoint]:
    """Those of this node that have a device."""
    return (one for one in view.endpoints.values() if one.node == view.node and one.device)


def pod_name(endpoint: WorkloadEndpoint) -> str:
    return f"{endpoint.resource.namespace}/{endpoint.pod or endpoint.container}"


def _owners(view: View) -> dict[Network, WorkloadEndpoint]:
    by_age = sorted(endpoints(view), key=lambda one: (one.resource.created, one.resource.name))
    return {dst: endpoint for endpoint in by_age for dst in endpoint.networks}


def _pod_route(dst: Network, device: str) -> Route:
    return Route(
        dst,
        (Hop(device),),
        protocol=Protocol.BOOT,
        scope=Scope.LINK if dst.version == 4 else Scope.GLOBAL,
        metric=0 if dst.version == 4 else IPV6_METRIC,
    )


def _blackhole(dst: Network) -> Route:
    return Route(dst, type=RouteType.BLACKHOLE, metric=0 if dst.version == 4 else IPV6_METRIC)


def _is_ours(affinity: BlockAffinity, node: str) -> bool:
    return affinity.node == node and affinity.type == "host" and affinity.is_confirmed
