"""net-conf.json: the whole network's configuration, from text to values.

Owns the document's form and defaults, not whether subnets can be cut from it (:mod:`flannel.subnets`, which only etcd
needs) nor the backend's own options (each file of :mod:`flannel.backends`). Without a Backend the type is udp: that is
what the original does, whatever its documentation says.

Pure. Source: flannel pkg/subnet/config.go; its behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from flannel import go_json
from flannel.go_json import BadDocument, Object

DEFAULT_BACKEND = "udp"


@dataclass(frozen=True, slots=True)
class Cut:
    """How one family's network is cut into subnets: what the document says, None for what it leaves open."""

    length: int | None = None
    first: IPv4Address | IPv6Address | None = None
    last: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class NetConf:
    """``network`` is None where IPv4 is off or none is given, ``network_v6`` likewise; ``backend`` in lower case.

    ``options`` are all fields of Backend.
    """

    network: IPv4Network | None
    network_v6: IPv6Network | None
    has_ipv4: bool = True
    has_ipv6: bool = False
    cut: Cut = Cut()
    cut_v6: Cut = Cut()
    uses_nftables: bool = False
    backend: str = DEFAULT_BACKEND
    options: Object = field(default_factory=Object)

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return tuple(network for network in (self.network, self.network_v6) if network is not None)


def read(text: str | bytes) -> NetConf:
    """Raises BadDocument, which names the field."""
    document = go_json.read(text)
    has_ipv4, has_ipv6 = document.flag("EnableIPv4", True), document.flag("EnableIPv6", False)
    if not has_ipv4 and not has_ipv6:
        raise BadDocument("EnableIPv4", "none defined stack: set EnableIPv4 or EnableIPv6 to true")
    network, network_v6 = document.network("Network", IPv4Network), document.network("IPv6Network", IPv6Network)
    backend = document.object("Backend")
    return NetConf(
        network=network if has_ipv4 else None,
        network_v6=network_v6 if has_ipv6 else None,
        has_ipv4=has_ipv4,
        has_ipv6=has_ipv6,
        cut=_cut(document),
        cut_v6=_cut_v6(document),
        uses_nftables=document.flag("EnableNFTables", False),
        backend=backend.text("Type").lower() if document.has("Backend") else DEFAULT_BACKEND,
        options=backend,
    )


def _cut(document: Object) -> Cut:
    length = document.count("SubnetLen", 0)
    first, last = document.address("SubnetMin", IPv4Address), document.address("SubnetMax", IPv4Address)
    return Cut(length or None, _given(first), _given(last))


def _cut_v6(document: Object) -> Cut:
    """Here null is as good as nothing."""
    length = document.count("IPv6SubnetLen", 0)
    names = ("IPv6SubnetMin", "IPv6SubnetMax")
    first, last = (None if document.value(name) is None else document.address(name, IPv6Address) for name in names)
    return Cut(length or None, _given(first), _given(last))


def _given(address: IPv4Address | IPv6Address | None) -> IPv4Address | IPv6Address | None:
    """All zeros says nothing."""
    return address if address is not None and int(address) else None
