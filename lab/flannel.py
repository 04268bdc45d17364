"""A lab whose network is flannel's: leases in a folder of the lab's, flanneld on each node, bridge for the pods.

node1 has the first /24 of the pool, node2 the second, as in a cluster whose controllers give out podCIDRs in order.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv4Network
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
_DELEGATE = {"hairpinMode": True, "isDefaultGateway": True}


def check(backend: str, pool: str) -> None:
    """Raises BadWish."""
    if backend not in BACKENDS:
        raise BadWish(f"--backend {backend}: there are {', '.join(BACKENDS)}")
    if IPv4Network(pool).prefixlen > 22:
        raise BadWish(f"--pool {pool}: flannel gives each node a /24 of it, so a /22 is the smallest")
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
    pool = IPv4Network(lab.environment["CALICO_IPV4POOL_CIDR"])
    config = {
        "Network": str(pool),
        "SubnetLen": 24,
        "SubnetMin": str(pool.network_address),
        "EnableNFTables": True,
        "Backend": BACKENDS[backend],
    }
    path = _leases(lab.name)
    (path / "subnets").mkdir(parents=True, exist_ok=True)
    (path / "config.new").write_text(json.dumps(config))
    (path / "config.new").rename(path / "config")


def install(lab: LabState, node: NodeState) -> None:
    """The CNI plugin and its configuration, where a runtime looks for them."""
    interpreter = getattr(sys, "_base_executable", sys.executable)
    body = Path(cni_plugin.flannel.__file__).read_text().partition("\n")[2]
    write_file(node.holder, "/opt/cni/bin/flannel", f"#!{interpreter} -IS\n{body}", mode="755")
    plugins = [{"type": "flannel", "delegate": _DELEGATE}]
    conflist = {"name": "cbr0", "cniVersion": "1.0.0", "plugins": plugins}
    write_file(node.holder, str(CONFLIST), json.dumps(conflist, indent=2), mode="600")


def register(lab: LabState, node: NodeState) -> None:
    """Its subnet is set aside for its address."""
    _lease_file(lab, node).write_text(lease.value(Attributes(IPv4Interface(node.address).ip)))


def forget(lab: LabState, node: NodeState) -> None:
    """Its lease ends."""
    _lease_file(lab, node).unlink(missing_ok=True)


def switch(lab: LabState, backend: str, say: Callable[[str], None]) -> None:
    """Another backend: the configuration, then one daemon after the other. Raises BadWish, LabError."""
    check(backend, lab.environment["CALICO_IPV4POOL_CIDR"])
    configure(lab, backend)
    for node in lab.nodes:
        daemons.stop(lab, node, daemons.FLANNELD)
        daemons.start(lab, node, daemons.FLANNELD)
        say(f"{node.name} runs {backend}")


def _lease_file(lab: LabState, node: NodeState) -> Path:
    pool = IPv4Network(lab.environment["CALICO_IPV4POOL_CIDR"])
    subnet = IPv4Network((int(pool.network_address) + (node.number - 1) * 256, 24))
    return _leases(lab.name) / "subnets" / lease.key(Subnets(subnet))


def _leases(name: str) -> Path:
    return folder(name) / "leases"
