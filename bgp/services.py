"""Which addresses of Kubernetes' Services this node announces: a pure function of Services, EndpointSlices, the default
BGPConfiguration and the node's labels.

- Every node announces the ranges whole (serviceClusterIPs, serviceExternalIPs, serviceLoadBalancerIPs), so that outside
  routers spread packets over all of them; ranges of one address are none.
- A single address goes out beside them where only some nodes may get its packets: externalTrafficPolicy Local, from
  nodes with a ready endpoint. It goes out from all where a range is that one address, and, for load balancers that are
  not to be aggregated, wherever there is any ready endpoint.
- A node that is labelled as none for load balancers announces nothing of it.

None of it is written into the kernel, learned or not: kube-proxy knows where such packets go.

Source: Calico confd/pkg/backends/calico (routes.go; updateGlobalRoutes in client.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from datastore.codec import document, spec, text
from datastore.codec import each as each_of
from datastore.resource import Resource
from datastore.resources import BGPConfiguration

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
SERVICE_OF = "kubernetes.io/service-name"
"""An EndpointSlice's label."""
_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    resource: Resource
    type: str = spec("type", text, "ClusterIP")
    cluster_ip: str = spec("clusterIP", text, "")
    cluster_ips: tuple[str, ...] = spec("clusterIPs", each_of(text), ())
    external_ips: tuple[str, ...] = spec("externalIPs", each_of(text), ())
    load_balancer_ip: str = spec("loadBalancerIP", text, "")
    policy: str = spec("externalTrafficPolicy", text, "")
    families: tuple[str, ...] = spec("ipFamilies", each_of(text), ())
    status: Mapping[str, Any] = spec("status", document, dict)

    @property
    def ingress_ips(self) -> tuple[str, ...]:
        given = (self.status.get("loadBalancer") or {}).get("ingress") or ()
        return tuple(str(each["ip"]) for each in given if each.get("ip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    resource: Resource
    family: str = spec("addressType", text, "")
    endpoints: tuple[Mapping[str, Any], ...] = spec("endpoints", each_of(document), ())

    @property
    def service(self) -> tuple[str, str]:
        return self.resource.namespace, self.resource.labels.get(SERVICE_OF, "")


@dataclass(frozen=True, slots=True)
class Ranges:
    """``is_aggregated``: load balancers' addresses go out with their range."""

    cluster: tuple[Network, ...] = ()
    external: tuple[Network, ...] = ()
    load_balancer: tuple[Network, ...] = ()
    is_aggregated: bool = True

    def __bool__(self) -> bool:
        return bool(self.cluster or self.external or self.load_balancer)

    def whole(self) -> tuple[Network, ...]:
        balanced = self.load_balancer if self.is_aggregated else ()
        return (*self.cluster, *(each for each in (*self.external, *balanced) if each.prefixlen < each.max_prefixlen))


NONE = Ranges()


def ranges(configuration: BGPConfiguration | None, cluster_ips: str = "") -> Ranges:
    """``cluster_ips``: the environment's word for serviceClusterIPs, which wins (CALICO_ADVERTISE_CLUSTER_IPS)."""
    if configuration is None:
        return Ranges(cluster=_networks(cluster_ips.split(",")))
    given = cluster_ips.split(",") if cluster_ips else [each.get("cidr") for each in configuration.cluster_blocks]
    return Ranges(
        cluster=_networks(given),
        external=_networks(each.get("cidr") for each in configuration.external_blocks),
        load_balancer=_networks(each.get("cidr") for each in configuration.load_balancer_blocks),
        is_aggregated=configuration.load_balancer_aggregation != "Disabled",
    )


def announced(
    *,
    node: str,
    labels: Mapping[str, str],
    ranges: Ranges,
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
) -> frozenset[Network]:
    """``node`` is this node's name in Kubernetes, ``labels`` are its own."""
    if labels.get(EXCLUDED) == "true":
        return frozenset()
    of_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for each in slices:
        of_service.setdefault(each.service, []).append(each)
    found = set(ranges.whole())
    for service in services:
        own = of_service.get((service.resource.namespace, service.resource.name), [])
        if _goes_out(service, own, node, ranges):
            found.update(_addresses(service, ranges))
    return frozenset(found)


def _goes_out(service: Service, slices: list[EndpointSlice], node: str, ranges: Ranges) -> bool:
    """Whether its addresses go out one by one."""
    if service.type not in _TYPES or service.cluster_ip in ("", "None") or not slices:
        return False
    if service.policy == "Cluster" and _has_a_range_of_its_own(service, ranges):
        return True
    is_local = service.policy == "Local"
    if not is_local and ranges.is_aggregated:
        return False
    endpoints = (endpoint for part in slices if part.family in service.families for endpoint in _ready(part))
    return any(not is_local or endpoint.get("nodeName") == node for endpoint in endpoints)


def _has_a_range_of_its_own(service: Service, ranges: Ranges) -> bool:
    balanced = (service.load_balancer_ip, *service.ingress_ips) if service.type == "LoadBalancer" else ()
    return any(_is_single(each, ranges.load_balancer) for each in balanced) or any(
        _is_single(each, ranges.external) for each in service.external_ips
    )


def _is_single(address: str, networks: Iterable[Network]) -> bool:
    found = _address(address)
    return found is not None and any(each.prefixlen == each.max_prefixlen and found in each for each in networks)


def _ready(slice_: EndpointSlice) -> Iterator[Mapping[str, Any]]:
    """What is not said to be unready is ready."""
    return (each for each in slice_.endpoints if (each.get("conditions") or {}).get("ready") is not False)


def _addresses(service: Service, ranges: Ranges) -> Iterator[Network]:
    allowed = [
        *(service.cluster_ips if ranges.cluster else ()),
        *(each for each in service.external_ips if _is_in(each, ranges.external)),
        *(each for each in service.ingress_ips if _is_in(each, ranges.load_balancer)),
    ]
    return (ip_network(found) for each in allowed if (found := _address(each)) is not None)


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    found = _address(address)
    return found is not None and any(found in each for each in networks)


def _address(raw: str) -> Address | None:
    try:
        return ip_address(raw)
    except ValueError:
        return None


def _networks(texts: Iterable[Any]) -> tuple[Network, ...]:
    """What is no network was refused when it was written; here it counts for nothing."""
    found: list[Network] = []
    for each in texts:
        try:
            found.append(ip_network(str(each).strip(), strict=False))
        except ValueError:
            continue
    return tuple(found)
