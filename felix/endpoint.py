"""A pod's endpoint and everything that is named after the pod. Pure.

Names, labels and profiles are upstream's: other programs find an endpoint by them.
Source: Calico cni-plugin/pkg/k8s, libcalico-go/lib/names.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from datastore import names
from datastore.codec import encode
from datastore.resource import Key, Resource
from datastore.resources import WorkloadEndpoint
from felix.cni.request import Request, Workload
from felix.cni.result import Interface, PodAddress
from felix.fib.pod_link import PodSide, VethPlan
from ipam.allocator import Assigned
from ipam.block import Holder


def device_of(workload: Workload) -> str:
    """The host's end: named after the pod where there is one, after the container otherwise."""
    if workload.orchestrator == "k8s":
        return names.pod_device(workload.namespace, workload.pod)
    return names.container_device(workload.container)


def key_of(workload: Workload, node: str) -> Key:
    who = workload.pod if workload.orchestrator == "k8s" else workload.container
    name = names.of_endpoint(node, workload.orchestrator, who, workload.interface)
    return Key("WorkloadEndpoint", name, workload.namespace)


def holder_of(request: Request, node: str, timestamp: str) -> Holder:
    workload = request.workload
    owner = {"node": node, "timestamp": timestamp}
    if workload.orchestrator == "k8s":
        owner = {"namespace": workload.namespace, **owner, "pod": workload.pod}
    return Holder(names.pod_handle(request.conf.name, workload.container), dict(sorted(owner.items())))


def document_of(request: Request, node: str, plan: VethPlan) -> Resource:
    workload, key = request.workload, key_of(request.workload, node)
    labels = {
        "projectcalico.org/namespace": workload.namespace,
        "projectcalico.org/orchestrator": workload.orchestrator,
    }
    profiles: tuple[str, ...] = (request.conf.name,)
    if workload.orchestrator == "k8s":
        labels["projectcalico.org/serviceaccount"] = "default"
        profiles = (f"kns.{workload.namespace}", f"ksa.{workload.namespace}.default")
    return encode(
        WorkloadEndpoint(
            resource=Resource(key.kind, key.name, key.namespace, labels=labels),
            orchestrator=workload.orchestrator,
            node=node,
            container=workload.container,
            pod=workload.pod,
            endpoint=workload.interface,
            networks=tuple(ip_network(address) for address in plan.addresses),
            profiles=profiles,
            device=plan.host_device,
            mac=plan.mac,
        )
    )


def workload_of(endpoint: WorkloadEndpoint) -> Workload:
    return Workload(
        endpoint.orchestrator, endpoint.container, endpoint.endpoint, endpoint.resource.namespace, endpoint.pod
    )


def interface_of(endpoint: WorkloadEndpoint, request: Request, assigned: Sequence[Assigned]) -> Interface:
    return Interface(
        host_device=endpoint.device,
        name=endpoint.endpoint,
        mac=endpoint.mac,
        netns=request.netns,
        addresses=tuple(PodAddress(each.address, each.block.prefixlen) for each in assigned),
        mtu_bytes=request.conf.mtu_bytes,
    )


def difference(endpoint: WorkloadEndpoint, seen: PodSide | None) -> str:
    """What the pod's side lacks, in words; "" when it is as ADD made it."""
    if seen is None:
        return f"interface {endpoint.endpoint} is not in the pod's namespace"
    if not seen.is_up:
        return f"interface {endpoint.endpoint} is down"
    missing = [str(net) for net in endpoint.networks if net.network_address not in seen.addresses]
    if missing:
        return f"interface {endpoint.endpoint} lacks {', '.join(missing)}"
    unrouted = {net.version for net in endpoint.networks} - seen.default_routes
    if unrouted:
        family = " for IPv6" if unrouted == {6} else ""
        return f"no default route through {endpoint.endpoint}{family}"
    return ""
