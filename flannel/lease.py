"""A lease: which node has a subnet, and how it is reached. Its form in etcd, key and value, byte for byte.

The value is what all flannel daemons of a network read, old and new ones: fields in this order, without blanks,
PublicIPv6 always there, what is empty left out. Read is anything that any of them ever wrote, and what people write by
hand. ``data`` is the backend's own, kept as compact text: who does not know a backend passes it on unchanged.

Pure. Source: flannel pkg/subnet/subnet.go; golden values from the running original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from flannel import go_json
from flannel.go_json import BadDocument, Object

_KEY = re.compile(r"(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f0-9:]+)-(\d+))?$")


@dataclass(frozen=True, slots=True)
class Attributes:
    """``backend`` "" is what backends without peers' data write (udp, alloc). ``data``: JSON text, or ""."""

    public_ip: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None
    backend: str = ""
    data: str = ""
    data_v6: str = ""


@dataclass(frozen=True, slots=True)
class Subnets:
    """What one lease is for: a subnet of either family, or of both."""

    v4: IPv4Network | None = None
    v6: IPv6Network | None = None

    def __str__(self) -> str:
        return ", ".join(str(one) for one in (self.v4, self.v6) if one is not None)


NO_SUBNETS = Subnets()


@dataclass(frozen=True, slots=True)
class Lease:
    """``node`` is its name, where the datastore has names."""

    subnets: Subnets
    attributes: Attributes
    node: str = ""


def key(subnets: Subnets) -> str:
    """``10.5.52.0-24&fd00:12:13::-56``. Raises ValueError without an IPv4 subnet: the layout has no such keys."""
    if subnets.v4 is None:
        raise ValueError("etcd's keys begin with an IPv4 subnet")
    texts = [f"{one.network_address}-{one.prefixlen}" for one in (subnets.v4, subnets.v6) if one is not None]
    return "&".join(texts)


def read_key(text: str) -> Subnets | None:
    """From the end of a key; None for what is no subnet's."""
    found = _KEY.search(text)
    if found is None:
        return None
    try:
        v4 = IPv4Network(f"{found[1]}/{found[2]}", strict=False)
        v6 = IPv6Network(f"{found[3]}/{found[4]}", strict=False) if found[3] else None
    except ValueError:
        return None
    return Subnets(v4, v6) if v4.prefixlen < 32 and (v6 is None or v6.prefixlen < 128) else None


def value(attributes: Attributes) -> str:
    """What is stored."""
    fields: list[tuple[str, object]] = [
        ("PublicIP", str(attributes.public_ip or "0.0.0.0")),
        ("PublicIPv6", None if attributes.public_ipv6 is None else str(attributes.public_ipv6)),
    ]
    if attributes.backend:
        fields.append(("BackendType", attributes.backend))
    for name, data in (("BackendData", attributes.data), ("BackendV6Data", attributes.data_v6)):
        if data:
            fields.append((name, go_json.read_any(data)))
    return go_json.compact(Object(tuple(fields)))


def read_value(text: str | bytes) -> Attributes:
    """Raises BadDocument."""
    document = go_json.read(text)
    public_ip = document.address("PublicIP", IPv4Address)
    has_v6 = document.value("PublicIPv6") is not None
    return Attributes(
        public_ip=public_ip if public_ip is not None and int(public_ip) else None,
        public_ipv6=document.address("PublicIPv6", IPv6Address) if has_v6 else None,
        backend=document.text("BackendType"),
        data=_data(document, "BackendData"),
        data_v6=_data(document, "BackendV6Data"),
    )


def read_lease(key_text: str, value_text: str | bytes) -> Lease:
    """Raises BadDocument for a key that is no subnet's, and for a value that cannot be read."""
    subnets = read_key(key_text)
    if subnets is None:
        raise BadDocument("", "is not a subnet's key, such as 10.5.52.0-24")
    return Lease(subnets, read_value(value_text))


def _data(document: Object, name: str) -> str:
    found = document.value(name)
    return "" if found is None else go_json.compact(found)
