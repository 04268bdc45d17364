"""Which rules a node of a routed pod network needs: from facts to a RuleSet, in one pure pass.

- Pods of a pool with natOutgoing leave the cluster with the node's address, and keep their own inside.
- What the host itself sends into a tunnel carries the tunnel's address, or no answer finds back.
- What comes from pods and goes to pods is forwarded, whatever the host's policy for forwarding is.
- Encapsulated packets are taken from the cluster's nodes only, and pods may not make their own.
- A pod sends with its own address only. The check asks the routing table (a packet from a pod's device must have its
  way back through that device), so it needs no rule per pod and is right as soon as the pod's route is. The sysctl
  rp_filter would do the same for a device of its own, but ``all`` counts too, and strict there loses packets while
  two nodes switch encapsulation one after the other.
- TCP over a link whose MTU was lowered under running pods is kept working by a smaller segment size.

Rules that upstream has too are spelled as there, so that their hashes agree (:mod:`felix.firewall.iptables_text`);
what upstream decides with marks for its policies is decided here without them.
Source: Calico felix/rules (static.go, nat.go), measured against 3.32 in iptables mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from felix.fib.model import Why
from felix.firewall.model import (
    Accept,
    Action,
    Address,
    ChainKey,
    ClampMss,
    Drop,
    Entry,
    FamilyRules,
    FromDevice,
    FromNetwork,
    FromSet,
    FromThisHost,
    Goto,
    HasNoRouteBack,
    Hook,
    IsEstablished,
    IsIcmp6,
    IsProtocol,
    IsSyn,
    Jump,
    Masquerade,
    Match,
    Network,
    NoTrack,
    Ports,
    Reject,
    Return,
    Rule,
    RuleSet,
    SourceNat,
    Table,
    ToDevice,
    ToPort,
    ToSet,
    ToThisHost,
    networks,
)

Chains = dict[ChainKey, tuple[Rule, ...]]

INPUT, FORWARD, OUTPUT = "cali-INPUT", "cali-FORWARD", "cali-OUTPUT"
PREROUTING, POSTROUTING = "cali-PREROUTING", "cali-POSTROUTING"
NAT_OUTGOING, FLOATING = "cali-nat-outgoing", "cali-fip-snat"
POD_TO_HOST, FROM_POD, FREE_SOURCES = "cali-wl-to-host", "cali-from-wl-dispatch", "cali-rpf-skip"

POOLS, MASQUERADED, HOSTS, VXLAN_MEMBERS = "all-ipam-pools", "masq-ipam-pools", "all-hosts-net", "all-vxlan-net"

# Neighbour discovery and multicast listening: without them a pod's IPv6 default route is dead.
_ICMP6_FOR_ROUTERS = (130, 131, 132, 133, 135, 136)
_UNPRIVILEGED_PORTS = (1024, 65535)


class Encap(Enum):
    IPIP = "IPIP"
    VXLAN = "VXLAN"


class HostAction(Enum):
    """FelixConfiguration's defaultEndpointToHostAction: what becomes of packets from pods to their host."""

    DROP = "Drop"
    RETURN = "Return"
    ACCEPT = "Accept"


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A device that other nodes may send to. It stays in the facts for as long as the device exists, or a stranger
    could use it. ``has_address``: this node's tunnel address is on it. ``version`` is that of the outer packets.
    """

    encap: Encap
    device: str
    version: int = 4
    port: int = 4789
    has_address: bool = True


@dataclass(frozen=True, slots=True)
class Pool:
    cidr: Network
    nat_outgoing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What FelixConfiguration says, with upstream's defaults."""

    pod_prefixes: tuple[str, ...] = ("cali",)
    has_ipv6: bool = True
    nat_ports: Ports | None = None
    nat_addresses: Mapping[int, Address] = field(default_factory=dict)
    nat_out_device: str = ""
    nat_spares_hosts: bool = False
    host_action: HostAction = HostAction.DROP
    rejects: bool = False
    inserts_first: bool = True
    pods_may_send_ipip: bool = False
    pods_may_send_vxlan: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``hosts`` are all nodes' addresses (and externalNodesList), ``vxlan_members`` those that may send us VXLAN.
    ``free_sources``: device of a pod to the networks that it may send with, beside its own addresses.
    ``clamp``: device to the largest TCP segment, in bytes over IPv4, of connections that pass it in either direction;
    named for a tunnel's device, two rules serve all pods.
    """

    pools: frozenset[Pool] = frozenset()
    hosts: frozenset[Network] = frozenset()
    vxlan_members: frozenset[Network] = frozenset()
    tunnels: tuple[Tunnel, ...] = ()
    free_sources: Mapping[str, tuple[Network, ...]] = field(default_factory=dict)
    clamp: Mapping[str, int] = field(default_factory=dict)
    options: Options = Options()


def rules(facts: Facts) -> RuleSet:
    """IPv6 is left alone where FelixConfiguration's ipv6Support is off."""
    return RuleSet(_family(facts, 4), _family(facts, 6) if facts.options.has_ipv6 else FamilyRules(6))


def set_name(name: str, version: int) -> str:
    """As the kernel knows the set."""
    return f"cali{version}0{name}"


def _family(facts: Facts, version: int) -> FamilyRules:
    chains = _raw(facts, version) | _mangle(facts, version) | _nat(facts, version) | _filter(facts, version)
    return FamilyRules(version, _sets(facts, version, chains), chains, tuple(_entries(chains, facts.options)))


def _sets(facts: Facts, version: int, chains: Chains) -> dict[str, frozenset[Network]]:
    """Those that some rule asks."""
    matches = {match for rules_ in chains.values() for rule in rules_ for match in rule.matches}
    asked = {match.name for match in matches if isinstance(match, FromSet | ToSet)}
    members = {
        POOLS: [pool.cidr for pool in facts.pools],
        MASQUERADED: [pool.cidr for pool in facts.pools if pool.nat_outgoing],
        HOSTS: facts.hosts,
        VXLAN_MEMBERS: facts.vxlan_members,
    }
    named = {set_name(name, version): found for name, found in members.items()}
    return {name: networks(found, version) for name, found in named.items() if name in asked}


def _entries(chains: Chains, options: Options) -> Iterator[Entry]:
    """Where the kernel's own chains lead into ours."""
    for key in chains:
        hook = key.name.removeprefix("cali-")
        if hook in Hook.__members__:
            # Behind kube-proxy's masquerading: its mark must be gone before ours decides.
            is_last = key.table is Table.NAT or not options.inserts_first
            yield Entry(key.table, Hook(hook), Rule((), Jump(key.name), Why("the way into felix's rules")), is_last)
    for prefix in options.pod_prefixes:
        for match in (FromDevice(f"{prefix}*"), ToDevice(f"{prefix}*")):
            rule = Rule((match,), Accept(), Why("pods' packets are forwarded whatever the host's own policy"))
            yield Entry(Table.FILTER, Hook.FORWARD, rule, is_last=True)


# Raw: before connections are tracked.


def _raw(facts: Facts, version: int) -> Chains:
    untracked = tuple(_untracked(facts, version))
    free, checks = tuple(_free_sources(facts, version)), tuple(_spoof_checks(facts))
    chains = {ChainKey(Table.RAW, PREROUTING): (*untracked, *_skip(facts, free), *checks)}
    if free:
        chains[ChainKey(Table.RAW, FREE_SOURCES)] = free
    if untracked:
        chains[ChainKey(Table.RAW, OUTPUT)] = untracked
    return chains


def _untracked(facts: Facts, version: int) -> Iterator[Rule]:
    for tunnel in _tunnels(facts, version, Encap.VXLAN):
        why = Why("VXLAN has another source port each way: tracked, it would fill the table with halves")
        yield Rule((IsProtocol("udp"), ToPort(tunnel.port)), NoTrack(), why)


def _skip(facts: Facts, free: tuple[Rule, ...]) -> Iterator[Rule]:
    for device in _pod_devices(facts) if free else ():
        yield Rule((FromDevice(device),), Jump(FREE_SOURCES), Why("some pods may send with other addresses"))


def _free_sources(facts: Facts, version: int) -> Iterator[Rule]:
    for device, allowed in sorted(facts.free_sources.items()):
        for network in sorted(networks(allowed, version)):
            yield Rule((FromDevice(device), FromNetwork(network)), Accept(), Why("allowedSourcePrefixes of the pod"))


def _spoof_checks(facts: Facts) -> Iterator[Rule]:
    why = Why("a pod sends with its own address only: the way back must be its device")
    for device in _pod_devices(facts):
        yield Rule((FromDevice(device), HasNoRouteBack()), Drop(), why)


# Mangle.


def _mangle(facts: Facts, version: int) -> Chains:
    found = tuple(clamps(facts.clamp, version))
    return {ChainKey(Table.MANGLE, FORWARD): found} if found else {}


def clamps(segments: Mapping[str, int], version: int, comment: str = "") -> Iterator[Rule]:
    """``segments`` as :attr:`Facts.clamp`. A segment that is smaller already stays so."""
    why = Why("the way onwards takes smaller packets than the pod's device")
    for device, mss_bytes in sorted(segments.items()):
        for match in (FromDevice(device), ToDevice(device)):
            yield Rule((match, IsSyn()), ClampMss(_mss(mss_bytes, version)), why, comment)


def _mss(mss_bytes: int, version: int) -> int:
    """An IPv6 header is 20 bytes longer."""
    return mss_bytes if version == 4 else mss_bytes - 20


# NAT.


def _nat(facts: Facts, version: int) -> Chains:
    way_in = [
        Rule((), Jump(FLOATING), Why("upstream's place for floating addresses; empty")),
        Rule((), Jump(NAT_OUTGOING), Why("pods that leave the cluster")),
    ]
    return {
        ChainKey(Table.NAT, POSTROUTING): (*way_in, *_tunnel_masquerades(facts, version)),
        ChainKey(Table.NAT, FLOATING): (),
        ChainKey(Table.NAT, NAT_OUTGOING): tuple(_nat_outgoing(facts, version)),
    }


def _nat_outgoing(facts: Facts, version: int) -> Iterator[Rule]:
    pools = [pool for pool in facts.pools if pool.nat_outgoing and pool.cidr.version == version]
    if not pools:
        return
    why = Why(f"natOutgoing of {', '.join(sorted(str(pool.cidr) for pool in pools))}")
    ports, address = facts.options.nat_ports, facts.options.nat_addresses.get(version)
    if ports is not None:
        for protocol in ("tcp", "udp"):
            matches = _leaves_the_cluster(facts.options, version, protocol)
            yield Rule(matches, _source_nat(address, ports), why)
            yield Rule(matches, Return(), why)
    yield Rule(_leaves_the_cluster(facts.options, version), _source_nat(address, None), why)


def _leaves_the_cluster(options: Options, version: int, protocol: str = "") -> tuple[Match, ...]:
    matches: list[Match] = [FromSet(set_name(MASQUERADED, version)), ToSet(set_name(POOLS, version), is_member=False)]
    if options.nat_spares_hosts:
        matches.append(ToSet(set_name(HOSTS, version), is_member=False))
    if protocol:
        matches.append(IsProtocol(protocol))
    if options.nat_out_device:
        matches.append(ToDevice(options.nat_out_device.replace("+", "*")))  # iptables' wildcard, which users write
    return tuple(matches)


def _source_nat(address: Address | None, ports: Ports | None) -> Action:
    return Masquerade(ports) if address is None else SourceNat(address, ports)


def _tunnel_masquerades(facts: Facts, version: int) -> Iterator[Rule]:
    vxlan = next(iter(_tunnels(facts, version, Encap.VXLAN)), None)
    for tunnel in facts.tunnels:
        if tunnel.version != version or not tunnel.has_address:
            continue
        why = Why(f"the host's own packets into {tunnel.device} need the tunnel's address for their answers")
        matches = (ToDevice(tunnel.device), FromThisHost(is_so=False, on_out_device=True), FromThisHost())
        if vxlan is not None:
            ports = _all_but(vxlan.port)
            yield Rule((IsProtocol("17"), *matches), Masquerade(ports), Why(f"{why}; not from VXLAN's own port"))
        yield Rule(matches, Masquerade(), why)


def _all_but(port: int) -> Ports:
    """The larger part of the unprivileged ports beside ``port``: answers to it would look like a stranger's VXLAN."""
    first, last = _UNPRIVILEGED_PORTS
    return (first, port - 1) if port - first >= last - port else (port + 1, last)


# Filter.


def _filter(facts: Facts, version: int) -> Chains:
    devices = _pod_devices(facts)
    to_host = tuple(Rule((FromDevice(d),), Goto(POD_TO_HOST), Why("what pods send to their host")) for d in devices)
    onwards = tuple(Rule((FromDevice(d),), Jump(FROM_POD), Why("what pods may not send")) for d in devices)
    return {
        ChainKey(Table.FILTER, INPUT): (*_member_checks(facts, version), *to_host),
        ChainKey(Table.FILTER, FORWARD): onwards,
        ChainKey(Table.FILTER, POD_TO_HOST): tuple(_pod_to_host(facts, version)),
        ChainKey(Table.FILTER, FROM_POD): tuple(_not_from_pods(facts)),
    }


def _member_checks(facts: Facts, version: int) -> Iterator[Rule]:
    for tunnel in facts.tunnels:
        if tunnel.version != version:
            continue
        is_ipip = tunnel.encap is Encap.IPIP
        yield from _ipip_check(facts) if is_ipip else _vxlan_check(facts, tunnel)


def _ipip_check(facts: Facts) -> Iterator[Rule]:
    protocol, why = IsProtocol("4"), Why("only nodes of the cluster may send IPIP")
    members = (protocol, FromSet(set_name(HOSTS, 4)), ToThisHost())
    yield Rule(members, Accept(), why, "Allow IPIP packets from Calico hosts")
    yield Rule((protocol,), _denial(facts), why, f"{_verb(facts)} IPIP packets from non-Calico hosts")


def _vxlan_check(facts: Facts, tunnel: Tunnel) -> Iterator[Rule]:
    version, why = tunnel.version, Why("only nodes of the cluster may send VXLAN")
    to_port = (IsProtocol("17"), ToPort(tunnel.port))
    members = (*to_port, FromSet(set_name(VXLAN_MEMBERS, version)), ToThisHost())
    yield Rule(members, Accept(), why, f"Allow IPv{version} VXLAN packets from allowed hosts")
    strangers = f"{_verb(facts)} IPv{version} VXLAN packets from non-allowed hosts"
    yield Rule((*to_port, ToThisHost()), _denial(facts), why, strangers)


def _pod_to_host(facts: Facts, version: int) -> Iterator[Rule]:
    for type_ in _ICMP6_FOR_ROUTERS if version == 6 else ():
        yield Rule((IsProtocol("58"), IsIcmp6(type_)), Accept(), Why("a pod must find its router"))
    yield Rule((), Jump(FROM_POD), Why("what pods may not send"))
    yield Rule((IsEstablished(),), Accept(), Why("answers to what the host asked, such as its probes"))
    action = facts.options.host_action
    done: Mapping[HostAction, Action] = {
        HostAction.DROP: Drop(),
        HostAction.RETURN: Return(),
        HostAction.ACCEPT: Accept(),
    }
    why = Why(f"defaultEndpointToHostAction {action.value}")
    yield Rule((), done[action], why, "Configured DefaultEndpointToHostAction")


def _not_from_pods(facts: Facts) -> Iterator[Rule]:
    """Masqueraded, a pod's own encapsulated packet would come from a member and pass the other node's check."""
    ports = {tunnel.port for tunnel in facts.tunnels if tunnel.encap is Encap.VXLAN} or {4789}
    if not facts.options.pods_may_send_vxlan:
        for port in sorted(ports):
            why = Why("allowVXLANPacketsFromWorkloads is off")
            comment = f"{_verb(facts)} VXLAN encapped packets originating in workloads"
            yield Rule((IsProtocol("17"), ToPort(port)), _denial(facts), why, comment)
    if not facts.options.pods_may_send_ipip:
        why = Why("allowIPIPPacketsFromWorkloads is off")
        comment = f"{_verb(facts)} IPinIP encapped packets originating in workloads"
        yield Rule((IsProtocol("4"),), _denial(facts), why, comment)


# What several tables ask.


def _pod_devices(facts: Facts) -> tuple[str, ...]:
    return tuple(f"{prefix}*" for prefix in facts.options.pod_prefixes)


def _tunnels(facts: Facts, version: int, encap: Encap) -> list[Tunnel]:
    return [tunnel for tunnel in facts.tunnels if (tunnel.version, tunnel.encap) == (version, encap)]


def _denial(facts: Facts) -> Drop | Reject:
    """FelixConfiguration's iptablesFilterDenyAction, for the filter table: nothing else can reject."""
    return Reject() if facts.options.rejects else Drop()


def _verb(facts: Facts) -> str:
    return "Reject" if facts.options.rejects else "Drop"
