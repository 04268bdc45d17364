"""What the node's object says after this start, from what it said before, the environment and the machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from datastore.resource import Resource
from datastore.resources import Node
from felix.startup import environment
from felix.startup.address import VARIABLES, Choice, choose
from felix.startup.detect import Address, Machine, parsed
from felix.startup.environment import Backend, BadEnvironment, Environ

_LARGEST_AS = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Decided:
    node: Node
    said: Sequence[str] = ()


def decide(known: Node | None, name: str, environ: Environ, machine: Machine) -> Decided:
    """``known``: the object as it is, None where there is none. Raises BadEnvironment."""
    node = known or Node(resource=Resource("Node", name, status={}))
    node = replace(node, resource=_with_reference(node.resource, environ))
    if environment.backend(environ) is Backend.NONE:
        return Decided(node, ["CALICO_NETWORKING_BACKEND=none: the node gets no address from here"])
    internal = _internal(node.resource)
    ipv4 = choose(environ, 4, machine, known=node.ipv4, internal=internal)
    ipv6 = choose(environ, 6, machine, known=node.ipv6, internal=internal)
    if ipv4.address is None and ipv6.address is None:
        told = " ".join(f"{variable}={environ.get(variable, '')}" for variable in VARIABLES.values())
        raise BadEnvironment(
            f"{told}: no IPv4 or IPv6 addresses configured or detected, required for Calico networking"
        )
    as_number = environment.number(environ, "AS", default=node.as_number, low=1, high=_LARGEST_AS)
    node = replace(node, ipv4=ipv4.address, ipv6=ipv6.address, as_number=as_number)
    return Decided(node, [*_told("IPv4", ipv4), *_told("IPv6", ipv6)])


def clash(node: Node, others: Iterable[Node]) -> str:
    """The other node that has one of these addresses, in words; "" when there is none."""
    for other in others:
        for mine, theirs in ((node.ipv4, other.ipv4), (node.ipv6, other.ipv6)):
            if other.name != node.name and mine is not None and theirs is not None and mine.ip == theirs.ip:
                return f"{mine.ip}: node {other.name} has this address already; DISABLE_NODE_IP_CHECK=true accepts it"
    return ""


def _told(family: str, choice: Choice) -> list[str]:
    return [f"{family} {choice.address}: {choice.why}"] if choice.why else []


def _internal(resource: Resource) -> list[Address]:
    """The addresses that Kubernetes gives the node; the Kubernetes datastore puts them on the object."""
    given = resource.spec.get("addresses") or ()
    return list(parsed([str(each.get("address")) for each in given if each.get("type") == "InternalIP"]))


def _with_reference(resource: Resource, environ: Environ) -> Resource:
    name = environ.get("CALICO_K8S_NODE_REF", "")
    if not name:
        return resource
    return replace(resource, spec={**resource.spec, "orchRefs": [{"nodeName": name, "orchestrator": "k8s"}]})
