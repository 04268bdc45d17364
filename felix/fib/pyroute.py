"""The only door to pyroute2, and of pyroute2 only what is used here: links, addresses, ipsets.

The package's own first lines import all of it (databases, ethtool, wireguard, nftables): 5 MiB of felix's memory that
nothing calls. Its parts do not need them, so they are loaded while an empty package stands in its place. Whoever
imports pyroute2 itself after that gets all of it, as always.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


@contextmanager
def _by_parts(package: str) -> Iterator[None]:
    spec = find_spec(package)
    if spec is None or package in sys.modules:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


with _by_parts("pyroute2"):
    from pyroute2.iproute.linux import AsyncIPRoute, IPRoute
    from pyroute2.ipset import AsyncIPSet
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

__all__ = ["AsyncIPRoute", "AsyncIPSet", "IPRoute", "NetlinkError", "ifaddrmsg", "ifinfmsg"]
