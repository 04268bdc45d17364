"""A lab whose network is flannel's: leases in a folder of the lab's, flanneld on each node, bridge for the pods.

node1 has the first /24 of the pool, node2 the second, as in a cluster whose controllers give out podCIDRs in order.
With --ipv6 each has one of the IPv6 pool as well, 16 bits longer than that.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

import cni_plugin.flannel
from flannel import lease
from flannel.lease import Attributes, Subnets
from lab import daemons
from lab.node import write_file
from lab.plan import BadWish
from lab.state import LabState, NodeState, folder

NETWORKS = ("calico", "flannel")
BACKENDS = {
    "vxlan": {"Type": "vxlan"},
    "vxlan-direct": {"Type": "vxlan", "DirectRouting": True},
    "host-gw": {"Type": "host-gw"},
    "udp": {"Type": "udp"},
    "ipip": {"Type": "ipip"},
}
CONFLIST = Path("/etc/cni/net.d/10-flannel.conflist")
OTHER_PLUGINS = Path("/usr/lib/cni")
_IPV4_ONLY = ("udp", "ipip")
_SUBNET_BITS_V6, _LONGEST_POOL_V6 = 16, 104
_DELEGATE = {"hairpinMode": True, "isDefaultGateway": True}


def check(backend: str, pool: str, pool_v6: str = "") -> None:
    """``pool_v6`` where there is IPv6. Raises BadWish."""
    if backend not in BACKENDS:
        raise BadWish(f"--backend {backend}: there are {', '.join(BACKENDS)}")
    if IPv4Network(pool).prefixlen > 22:
        raise BadWish(f"--pool {pool}: flannel gives each node a /24 of it, so a /22 is the smallest")
    if pool_v6 and backend in _IPV4_ONLY:
        raise BadWish(f"--ipv6 --backend {backend}: that one is IPv4 only")
    if pool_v6 and IPv6Network(pool_v6).prefixlen > _LONGEST_POOL_V6:
        raise BadWish(
            f"--pool-v6 {pool_v6}: each node gets a part of 16 bits more, so a /{_LONGEST_POOL_V6} is the smallest"
        )
    missing = [name for name in ("bridge", "host-local") if not os.access(OTHER_PLUGINS / name, os.X_OK)]
    if missing:
        what = f"{OTHER_PLUGINS} has no {' and no '.join(missing)}"
        raise BadWish(f"--network flannel: {what}; Debian has them in the package containernetworking-plugins")


def environment(name: str) -> dict[str, str]:
    """What programs of such a lab get beside the usual."""
    return {"LAB_NETWORK": "flannel", "FLANNELD_LEASE_FOLDER": str(_leases(name)), "FLANNELD_IP_MASQ": "true"}


def is_used(lab: LabState) -> bool:
    return lab.environment.get("LAB_NETWORK") == "flannel"


def configure(lab: LabState, backend: str) -> None:
    """Write net-conf.json. Daemons read it when they start."""
    pool = _pool(lab)
    config = {
        "Network": str(pool),
        "SubnetLen": 24,
        "SubnetMin": str(pool.network_address),
        "EnableNFTables": True,
        "Backend": BACKENDS[backend],
        **(_config_v6(lab) if lab.has_ipv6 else {}),
    }
    path = _leases(lab.name)
    (path / "subnets").mkdir(parents=True, exist_ok=True)
    (path / "config.new").write_text(json.dumps(config))
    (path / "config.new").rename(path / "config")


def _config_v6(lab: LabState) -> dict[str, object]:
    pool = _pool_v6(lab)
    return {
        "EnableIPv6": True,
        "IPv6Network": str(pool),
        "IPv6SubnetLen": pool.prefixlen + _SUBNET_BITS_V6,
        "IPv6SubnetMin": str(pool.network_address),
    }


def install(lab: LabState, node: NodeState) -> None:
    """The CNI plugin and its configuration, where a runtime looks for them."""
    interpreter = getattr(sys, "_base_executable", sys.executable)
    body = Path(cni_plugin.flannel.__file__).read_text().partition("\n")[2]
    write_file(node.holder, "/opt/cni/bin/flannel", f"#!{interpreter} -IS\n{body}", mode="755")
    plugins = [{"type": "flannel", "delegate": _DELEGATE}]
    conflist = {"name": "cbr0", "cniVersion": "1.0.0", "plugins": plugins}
    write_file(node.holder, str(CONFLIST), json.dumps(conflist, indent=2), mode="600")


def register(lab: LabState, node: NodeState) -> None:
    """Its subnets are set aside for its address."""
    public_v6 = IPv6Interface(node.address_v6).ip if node.address_v6 else None
    _lease_file(lab, node).write_text(lease.value(Attributes(IPv4Interface(node.address).ip, public_v6)))


def forget(lab: LabState, node: NodeState) -> None:
    """Its lease ends."""
    _lease_file(lab, node).unlink(missing_ok=True)


def switch(lab: LabState, backend: str, say: Callable[[str], None]) -> None:
    """Another backend: the configuration, then one daemon after the other. Raises BadWish, LabError."""
    check(backend, str(_pool(lab)), str(_pool_v6(lab)) if lab.has_ipv6 else "")
    configure(lab, backend)
    for node in lab.nodes:
        daemons.stop(lab, node, daemons.FLANNELD)
        daemons.start(lab, node, daemons.FLANNELD)
        say(f"{node.name} runs {backend}")


def _lease_file(lab: LabState, node: NodeState) -> Path:
    place, pool = node.number - 1, _pool(lab)
    v4 = IPv4Network((int(pool.network_address) + (place << 8), 24))
    return _leases(lab.name) / "subnets" / lease.key(Subnets(v4, _subnet_v6(lab, place) if lab.has_ipv6 else None))


def _subnet_v6(lab: LabState, place: int) -> IPv6Network:
    pool = _pool_v6(lab)
    length = pool.prefixlen + _SUBNET_BITS_V6
    return IPv6Network((int(pool.network_address) + (place << (128 - length)), length))


def _pool(lab: LabState) -> IPv4Network:
    return IPv4Network(lab.environment["CALICO_IPV4POOL_CIDR"])


def _pool_v6(lab: LabState) -> IPv6Network:
    return IPv6Network(lab.environment["CALICO_IPV6POOL_CIDR"])


def _leases(name: str) -> Path:
    return folder(name) / "leases"
