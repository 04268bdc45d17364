"""Services whose addresses Calico's IPAM gave out: those of type LoadBalancer that its controller serves. Pure.

A cluster that is taken over from Calico may have some. They stand in Kubernetes alone, and an address that only a
Service uses looks lost to whoever does not ask there.
Source: Calico kube-controllers/pkg/controllers/loadbalancer (IsCalicoManagedLoadBalancer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from datastore.resource import Resource

OWN_CLASS = "calico"
ALL_SERVICES, REQUESTED_ONLY = "AllServices", "RequestedServicesOnly"
_REQUESTS = ("projectcalico.org/ipv4pools", "projectcalico.org/ipv6pools", "projectcalico.org/loadBalancerIPs")


def served(services: Iterable[Resource], assign_ips: str) -> list[Resource]:
    """Those that the controller serves, when it is configured with ``assign_ips``."""
    return [service for service in services if _is_served(service, assign_ips or ALL_SERVICES)]


def _is_served(service: Resource, assign_ips: str) -> bool:
    named = service.spec.get("loadBalancerClass")
    if service.spec.get("type") != "LoadBalancer" or named not in (None, OWN_CLASS):
        return False
    if assign_ips == ALL_SERVICES or named == OWN_CLASS:
        return True
    is_asked = any(service.annotations.get(each) for each in _REQUESTS) or service.spec.get("loadBalancerIP")
    return assign_ips == REQUESTED_ONLY and bool(is_asked)


def addresses(service: Resource) -> Iterator[str]:
    status = service.spec.get("status") or {}
    for ingress in (status.get("loadBalancer") or {}).get("ingress") or ():
        if ingress.get("ip"):
            yield ingress["ip"]
