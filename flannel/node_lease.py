"""A lease as annotations of a Node: ``flannel.alpha.coreos.com/backend-data`` and its like.

The subnet itself is the Node's podCIDR. Data is written compact and with the MAC last: the original's reader depends on
both. "null" is what the original writes where there is no data.

Pure. Source: flannel pkg/subnet/kube.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from flannel import go_json
from flannel.go_json import BadDocument, read_network
from flannel.lease import Attributes, Lease, Subnets

DEFAULT_PREFIX = "flannel.alpha.coreos.com"
NO_DATA = "null"
_PREFIX = re.compile(r"([a-z0-9_-]+\.)+[a-z0-9_-]+/([a-z0-9_-]+-)?")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """``prefix`` ends with a slash or a dash."""

    prefix: str

    def __getitem__(self, word: str) -> str:
        return self.prefix + word


def names(prefix: str = DEFAULT_PREFIX) -> Names:
    """Raises ValueError for what Kubernetes would not take."""
    whole = prefix if "/" in prefix else f"{prefix}/"
    if not whole.endswith(("/", "-")):
        whole += "-"
    if whole.count("/") != 1 or _PREFIX.fullmatch(whole) is None:
        raise ValueError(f"{prefix!r}: a lower-case domain name, and at most one slash and a word behind it")
    return Names(whole)


def write(attributes: Attributes, of: Names) -> dict[str, str]:
    found = {
        of["backend-data"]: attributes.data or NO_DATA,
        of["backend-type"]: attributes.backend,
        of["kube-subnet-manager"]: "true",
    }
    if attributes.public_ip is not None:
        found[of["public-ip"]] = str(attributes.public_ip)
    if attributes.public_ipv6 is not None:
        found[of["public-ipv6"]] = str(attributes.public_ipv6)
        found[of["backend-v6-data"]] = attributes.data_v6 or NO_DATA
    return found


def read(node: Json, of: Names) -> Attributes | None:
    """None of a node that no flannel daemon has written to. Raises BadDocument, which names the annotation."""
    said = said_by(node)
    if said.get(of["kube-subnet-manager"]) != "true":
        return None
    return Attributes(
        public_ip=_address(said, of["public-ip"], IPv4Address),
        public_ipv6=_address(said, of["public-ipv6"], IPv6Address),
        backend=said.get(of["backend-type"], ""),
        data=_data(said, of["backend-data"]),
        data_v6=_data(said, of["backend-v6-data"]),
    )


def read_lease(node: Json, of: Names) -> Lease | None:
    """As :func:`read`; also None of a node without a podCIDR."""
    attributes, subnets = read(node, of), pod_cidrs(node)
    if attributes is None or (subnets.v4 is None and subnets.v6 is None):
        return None
    return Lease(subnets, attributes, name(node))


def overwritten(attributes: Attributes, node: Json, of: Names) -> Attributes:
    """With the addresses that an operator wants others to send to. Raises BadDocument."""
    said = said_by(node)
    public_ip = _address(said, of["public-ip-overwrite"], IPv4Address) or attributes.public_ip
    public_ipv6 = _address(said, of["public-ipv6-overwrite"], IPv6Address) or attributes.public_ipv6
    return Attributes(public_ip, public_ipv6, attributes.backend, attributes.data, attributes.data_v6)


def asked_addresses(node: Json, of: Names) -> tuple[IPv4Address | None, IPv6Address | None]:
    """Which addresses an operator wants this node to use, in place of --public-ip. Raises BadDocument."""
    said = said_by(node)
    return _address(said, of["node-public-ip"], IPv4Address), _address(said, of["node-public-ipv6"], IPv6Address)


def pod_cidrs(node: Json) -> Subnets:
    """Raises BadDocument."""
    spec = node.get("spec") or {}
    texts = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if len(texts) > 2:
        raise BadDocument("spec.podCIDRs", f"node {name(node)!r} has {len(texts)} of them, and two are the most")
    v4 = [found for text in texts if (found := _network(text, IPv4Network)) is not None]
    v6 = [other for text in texts if (other := _network(text, IPv6Network)) is not None]
    if len(v4) + len(v6) != len(texts) or len(v4) > 1 or len(v6) > 1:
        raise BadDocument("spec.podCIDRs", f"node {name(node)!r} has {', '.join(map(str, texts))}: one of each family")
    return Subnets(v4[0] if v4 else None, v6[0] if v6 else None)


def name(node: Json) -> str:
    return str((node.get("metadata") or {}).get("name", ""))


def said_by(node: Json) -> Mapping[str, str]:
    return (node.get("metadata") or {}).get("annotations") or {}


def _data(said: Mapping[str, str], field: str) -> str:
    text = said.get(field, NO_DATA)
    if text in (NO_DATA, ""):
        return ""
    try:
        return go_json.compact(go_json.read_any(text))
    except BadDocument as error:
        raise BadDocument(field, error.why) from None


def _address(said: Mapping[str, str], field: str, kind: type[go_json.A]) -> go_json.A | None:
    text = said.get(field, "")
    try:
        return kind(text) if text else None
    except ValueError:
        raise BadDocument(field, f"{text!r} is not an IPv{kind(0).version} address") from None


def _network(text: Any, kind: type[go_json.N]) -> go_json.N | None:
    try:
        return read_network(text, kind) if isinstance(text, str) else None
    except ValueError:
        return None
