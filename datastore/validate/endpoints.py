"""Nodes, workload endpoints, host endpoints and node statuses.

Source: Calico validator.go (validateNodeSpec, validateWorkloadEndpointSpec, validateEndpointPort ...), the CRDs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datastore.addresses import Address, Network, read_cidr_or_address
from datastore.schema.endpoints import IPNAT
from datastore.schema.go_text import text_of
from datastore.schema.nodes import NodeBGPSpec
from datastore.validate import Room
from datastore.validate.claims import Claim
from datastore.validate.flaw import Flaw
from datastore.validate.ports import check_protocol, has_ports

Json = Mapping[str, Any]


def _check_node(spec: Json) -> Iterable[Flaw]:
    if spec.get("bgp") == {}:
        yield Flaw("BGP", "Spec.BGP should not be empty", f"&{text_of(NodeBGPSpec, {})}")


def _check_port(port: Json) -> Iterable[Flaw]:
    if not has_ports(port["protocol"]):
        yield Flaw("EndpointPort.Protocol", "EndpointPort protocol does not support ports.", port["protocol"])


def _check_workload_port(port: Json) -> Iterable[Flaw]:
    if not has_ports(port["protocol"]):
        why = "WorkloadEndpointPort protocol does not support ports."
        yield Flaw("WorkloadEndpointPort.Protocol", why, port["protocol"])
    if not port.get("name") and not port.get("hostPort"):
        why = "WorkloadEndpointPort name must not be empty if no HostPort is specified"
        yield Flaw("WorkloadEndpointPort.Name", why, "")


def _check_nat(nat: Json) -> Iterable[Flaw]:
    inside, outside = _version(nat["internalIP"]), _version(nat["externalIP"])
    for version in (inside, outside):
        if version is None:
            yield Flaw("InternalIP", "invalid IP address", nat["externalIP"])
    if None not in (inside, outside) and inside != outside:
        yield Flaw("ExternalIP", "mismatched IP versions", nat["externalIP"])


def _check_workload(spec: Json) -> Iterable[Flaw]:
    texts = spec.get("ipNetworks", [])
    networks = [_network(text) for text in texts]
    for text, network in zip(texts, networks, strict=True):
        if network is None:
            yield Flaw("IPNetworks", "invalid CIDR", text)
        elif network.num_addresses > 1:
            yield Flaw("IPNetworks", "IP network contains multiple addresses", texts)
    for version in (4, 6):
        yield from _check_gateway(spec.get(f"ipv{version}Gateway", ""), version)
    yield from _check_nats(spec.get("ipNATs", []), networks)


def _check_gateway(gateway: str, version: int) -> Iterable[Flaw]:
    if not gateway:
        return
    address = _address(gateway)
    if address is None:
        yield Flaw(f"IPv{version}Gateway", "invalid CIDR", gateway)
    elif address.version != version:
        yield Flaw(f"IPv{version}Gateway", f"invalid IPv{version} gateway address specified", gateway)


def _check_nats(nats: list[Json], networks: list[Network | None]) -> Iterable[Flaw]:
    for nat in nats:
        inside = _address(nat["internalIP"])
        if inside is None or not any(network and inside in network for network in networks):
            yield Flaw("IPNATs", "NAT is not in the endpoint networks", [text_of(IPNAT, each) for each in nats])
            return


def _address(text: str) -> Address | None:
    try:
        return read_cidr_or_address(text)[0]
    except ValueError:
        return None


def _version(text: str) -> int | None:
    """Of IP; Go takes no text at all for an address of none."""
    if not text:
        return 0
    address = _address(text)
    return address.version if address else None


def _network(text: str) -> Network | None:
    try:
        return read_cidr_or_address(text)[1]
    except ValueError:
        return None


_HOST_ENDPOINT = (
    Claim(
        lambda spec: bool(spec.get("interfaceName") or spec.get("expectedIPs")),
        "at least one of interfaceName or expectedIPs must be specified",
    ),
    Claim(lambda spec: bool(spec.get("node")), "node must be specified"),
)

ROOM = Room(
    checks={
        "internalapi.NodeSpec": _check_node,
        "internalapi.IPNAT": _check_nat,
        "internalapi.WorkloadEndpointPort": _check_workload_port,
        "internalapi.WorkloadEndpointSpec": _check_workload,
        "v3.EndpointPort": _check_port,
        "numorstring.Protocol": check_protocol,
    },
    claims={"v3.HostEndpointSpec": _HOST_ENDPOINT},
)
