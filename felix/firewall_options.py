"""What the settings ask of the packet filter, in its own words. Pure."""

from __future__ import annotations

from felix.firewall.choose import Backend, Modes
from felix.firewall.rules import Options
from felix.settings import ChainInsertMode, DenyAction, Exclusions, Settings


def modes(settings: Settings) -> Modes:
    return Modes(settings.nftables_mode, settings.iptables_backend)


def options(settings: Settings, backend: Backend) -> Options:
    """``backend`` because nftables and iptables have a deny action each."""
    ports, source = settings.nat_port_range, settings.nat_outgoing_address
    is_nft = backend is Backend.NFT
    denies_by = settings.nftables_deny_action if is_nft else settings.iptables_deny_action
    return Options(
        pod_prefixes=settings.interface_prefixes,
        has_ipv6=settings.ipv6_support,
        nat_ports=None if ports is None else (ports.first, ports.last),
        nat_addresses={} if source is None else {4: source},
        nat_out_device=settings.nat_outgoing_device,
        nat_spares_hosts=settings.nat_outgoing_exclusions is Exclusions.POOLS_AND_HOSTS,
        host_action=settings.endpoint_to_host_action,
        rejects=denies_by is DenyAction.REJECT,
        inserts_first=settings.chain_insert_mode is ChainInsertMode.INSERT,
        pods_may_send_ipip=settings.allow_ipip_packets_from_workloads,
        pods_may_send_vxlan=settings.allow_vxlan_packets_from_workloads,
    )
