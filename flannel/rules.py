"""Which packet filter rules a node of a flannel network needs. Pure.

    what leaves the network is masqueraded, unless somebody has marked it for that already (kube-proxy)
    what stays inside, or comes in to this node's pods by a route from outside, is not
    what the host sends in from an address outside of the network is
    what is forwarded from and to the network is accepted, whatever the host's own policy is
    TCP through a tunnel opens with segments that fit, while this node has pods that would send larger ones

In this order, under these names and comments: the original on the same node would set its own again every five seconds
if one were missing or different; of the last it knows nothing. nftables gets the same rules; the original's fourth
there would make the sixth one useless.

Source: flannel pkg/trafficmngr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from felix.fib.model import Network, Why
from felix.firewall.model import (
    Accept,
    ChainKey,
    Entry,
    FamilyRules,
    FromNetwork,
    HasMark,
    Hook,
    Jump,
    Masquerade,
    Return,
    Rule,
    RuleSet,
    Table,
    ToNetwork,
)
from felix.firewall.rules import clamps
from flannel.lease import Subnets

POSTROUTING = ChainKey(Table.NAT, "FLANNEL-POSTRTG")
FORWARD = ChainKey(Table.FILTER, "FLANNEL-FWD")
CLAMP = ChainKey(Table.MANGLE, "FLANNEL-MSS")
MASQ_COMMENT, FORWARD_COMMENT, CLAMP_COMMENT = "flanneld masq", "flanneld forward", "flanneld mss"
KUBE_PROXY_MARK = 0x4000
_MULTICAST = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags ask for."""

    masquerades: bool = False
    is_random: bool = True
    forwards: bool = True


NO_SEGMENTS: Mapping[str, int] = {}


def rules(networks: Subnets, subnets: Subnets, wanted: Wanted, segments: Mapping[str, int] = NO_SEGMENTS) -> RuleSet:
    """``subnets`` are this node's own. A family that is off has none. ``segments``: tunnel device to the largest
    segment of TCP over IPv4, in bytes, where it must be told.
    """
    v4 = _family(4, networks.v4, subnets.v4, wanted, segments)
    return RuleSet(v4, _family(6, networks.v6, subnets.v6, wanted, segments))


def _family(
    version: int, network: Network | None, subnet: Network | None, wanted: Wanted, segments: Mapping[str, int]
) -> FamilyRules:
    if network is None or subnet is None:
        return FamilyRules(version)
    chains: dict[ChainKey, tuple[Rule, ...]] = {}
    entries: list[Entry] = []
    if wanted.masquerades:
        chains[POSTROUTING] = tuple(_masquerading(network, subnet, is_random=wanted.is_random))
        entries.append(_entry(POSTROUTING, Hook.POSTROUTING, MASQ_COMMENT))
    if wanted.forwards:
        chains[FORWARD] = tuple(_forwarding(network))
        entries.append(_entry(FORWARD, Hook.FORWARD, FORWARD_COMMENT))
    if segments:
        chains[CLAMP] = tuple(clamps(segments, version, CLAMP_COMMENT))
        entries.append(_entry(CLAMP, Hook.FORWARD, CLAMP_COMMENT))
    return FamilyRules(version, chains=chains, entries=tuple(entries))


def _entry(chain: ChainKey, hook: Hook, comment: str) -> Entry:
    rule = Rule((), Jump(chain.name), Why("the way into flannel's rules"), comment)
    return Entry(chain.table, hook, rule, is_last=True)


def _masquerading(network: Network, subnet: Network, *, is_random: bool) -> Iterator[Rule]:
    inside, masquerade = Why("it stays in the network"), Masquerade(is_random=is_random)
    is_from, is_to = FromNetwork(network), ToNetwork(network)
    is_from_elsewhere, multicast = FromNetwork(network, is_so=False), _MULTICAST[network.version]
    yield Rule((HasMark(KUBE_PROXY_MARK),), Return(), Why("kube-proxy masquerades it"), MASQ_COMMENT)
    yield Rule((FromNetwork(subnet), is_to), Return(), inside, MASQ_COMMENT)
    yield Rule((is_from, ToNetwork(subnet)), Return(), inside, MASQ_COMMENT)
    yield Rule((is_from_elsewhere, ToNetwork(subnet)), Return(), Why("pods see who asks them"), MASQ_COMMENT)
    leaves = (is_from, ToNetwork(multicast, is_so=False))
    yield Rule(leaves, masquerade, Why("nobody outside knows the way back"), MASQ_COMMENT)
    yield Rule((is_from_elsewhere, is_to), masquerade, Why("the answer comes back to this node"), MASQ_COMMENT)


def _forwarding(network: Network) -> Iterator[Rule]:
    why = Why("pods' packets are forwarded whatever the host's own policy")
    for match in (FromNetwork(network), ToNetwork(network)):
        yield Rule((match,), Accept(), why, FORWARD_COMMENT)
