"""The modules that a booted machine gets. Nothing loads one on demand there: what is not named here is not there.

Debian's kernel for user-mode-linux has no nftables for IPv4 and IPv6, so the legacy iptables matches are in the list.
Inserted with finit_module(2): a machine without the package kmod has no insmod.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path

OVERLAY = ("overlay",)
NETWORK = (
    *("ipv6", "ipip", "vxlan", "veth", "bridge", "br_netfilter", "dummy", "tun", "sch_netem", "sch_ingress"),
    *("iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw", "ip6table_filter", "ip6table_nat"),
    *("ip6table_mangle", "ip6table_raw", "ipt_REJECT", "ip6t_REJECT", "ipt_rpfilter", "ip6t_rpfilter"),
    *("xt_tcpudp", "xt_comment", "xt_mark", "xt_conntrack", "xt_addrtype", "xt_multiport", "xt_MASQUERADE", "xt_nat"),
    *("xt_set", "xt_statistic", "xt_limit", "xt_u32", "xt_TCPMSS", "xt_CT"),
    *("ip_set_hash_ip", "ip_set_hash_net", "ip_set_hash_ipport"),
)

_FINIT_MODULE = 313  # x86_64
_libc = ctypes.CDLL(None, use_errno=True)


def folder(release: str) -> Path:
    return Path("/usr/lib/uml/modules", release)


def insert(tree: Path, names: Iterable[str]) -> None:
    """Each with what it needs, unless it is in. Raises OSError with the module's path."""
    needs = _needs((tree / "modules.dep").read_text())
    for name in names:
        for path in needs[name]:
            _insert_one(tree / path)


def _needs(table: str) -> dict[str, list[str]]:
    """For each module its file, behind those that it needs. modules.dep names the nearest first."""
    found = {}
    for line in table.splitlines():
        path, _, others = line.partition(":")
        found[Path(path).stem.replace("-", "_")] = [*reversed(others.split()), path]
    return found


def _insert_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    failed = _libc.syscall(_FINIT_MODULE, descriptor, b"", 0)
    problem = ctypes.get_errno()
    os.close(descriptor)
    if failed and problem != errno.EEXIST:
        raise OSError(problem, os.strerror(problem), str(path))
