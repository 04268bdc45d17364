"""From flags to an agent: opens the machine's kernel, files and connections. Decides nothing.

Raises what the user can do something about: Refused, BadDocument, Rejected; and Unavailable.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar

from datastore.store import Rejected
from felix.fib.journal import FileJournal
from felix.fib.netlink import NetlinkKernel
from flannel import machine
from flannel.agent import Agent
from flannel.backends import catalogue
from flannel.backends.backend import Backend, Refused, Uplink
from flannel.flags import Flags
from flannel.marks import FLANNEL
from flannel.masquerade import Masquerade
from flannel.netconf import NetConf
from flannel.packet_filter import FlannelFilters
from flannel.source import Source
from flannel.uplink import Wish, choose
from flannel.world import Carrier, Options, World

A = TypeVar("A", IPv4Address, IPv6Address)

_SYSCTL = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGE = Path("/proc/sys/net/bridge")

log = logging.getLogger("flannel")


async def source_of(flags: Flags, environ: Mapping[str, str]) -> Source:
    """Only the one that is asked for is loaded."""
    if flags.kube_subnet_mgr:
        from flannel.kube_start import kube_leases

        return await kube_leases(flags, environ)
    if environ.get("FLANNELD_LEASE_FOLDER"):
        from flannel.file_leases import FileLeases

        return FileLeases(Path(environ["FLANNELD_LEASE_FOLDER"]))
    from flannel.etcd_start import etcd_leases

    return etcd_leases(flags)


async def agent_of(flags: Flags, source: Source, *, on_ready: Callable[[], None]) -> Agent:
    config = await source.config()
    log.info("Found network config - Backend type: %s", config.backend)
    _check_bridge_filter(config)
    kernel = await NetlinkKernel.open(FLANNEL)
    uplink = await _uplink(flags, config, source, kernel)
    try:
        backend = catalogue.configure(config, uplink)
    except Refused as error:
        raise Refused(f"Error fetching backend: {error}") from None
    path = Path(flags.subnet_file)
    world = World(
        source=source,
        kernel=kernel,
        journal=FileJournal(path.with_suffix(".routes")),
        filter=Masquerade(FlannelFilters(), flags, uses_nftables=config.uses_nftables),
        carrier=_carrier(backend),
        random=random.Random(),
    )
    options = Options(
        path,
        masquerades=flags.ip_masq,
        drops_strays=flags.ip_blackhole_route,
        has_sysctls=os.access(_SYSCTL, os.W_OK),  # in a container that is not privileged they are only shown
    )
    return Agent(world, config, uplink, backend, options=options, on_ready=on_ready)


def _carrier(backend: Backend) -> Carrier | None:
    if backend.pumped is None:
        return None
    from flannel.pump import Pump

    return Pump(backend.pumped, backend.mtu_bytes)


def _check_bridge_filter(config: NetConf) -> None:
    """Packets between pods of one bridge pass iptables' rules only with this module. nftables does not need it."""
    if config.uses_nftables:
        return
    wanted = [("bridge-nf-call-iptables", config.has_ipv4), ("bridge-nf-call-ip6tables", config.has_ipv6)]
    for name, is_on in wanted:
        if is_on and not (_BRIDGE / name).exists():
            why = f"Failed to check br_netfilter: stat {_BRIDGE / name}: no such file or directory"
            raise Refused(f"{why}; load it with: modprobe br_netfilter")


async def _uplink(flags: Flags, config: NetConf, source: Source, kernel: NetlinkKernel) -> Uplink:
    asked, asked_v6 = await source.asked_addresses()
    wish = Wish(
        versions=tuple(version for version, is_on in ((4, config.has_ipv4), (6, config.has_ipv6)) if is_on),
        ifaces=flags.iface,
        regexes=flags.iface_regex,
        can_reach=flags.iface_can_reach,
        public=asked or _address("public-ip", flags.public_ip, IPv4Address),
        public_v6=asked_v6 or _address("public-ipv6", flags.public_ipv6, IPv6Address),
    )
    destinations = [flags.iface_can_reach] if flags.iface_can_reach else []
    chosen = choose(machine.read(await kernel.read(), destinations), wish)
    for line in chosen.told:
        log.info(line)
    return chosen.uplink


def _address(flag: str, text: str, kind: type[A]) -> A | None:
    try:
        return kind(text) if text else None
    except ValueError:
        raise Rejected(f"--{flag}", f"{text!r} is not an IPv{kind(0).version} address") from None
