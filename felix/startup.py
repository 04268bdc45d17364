"""``calico-node -startup``: the node's own object, and the cluster's first pool, from the environment.

Runs before the daemons and ends. What is there is kept: an address or AS number that the environment does not name
stays as it is, and no pool is made where one of its family exists.
Source: Calico node/pkg/lifecycle/startup.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network, ip_interface, ip_network
from pathlib import Path

from datastore.codec import decode, encode
from datastore.initial import initialise
from datastore.resource import Key, Resource
from datastore.resources import EncapMode, IPPool, Node
from datastore.store import Conflict, Exists, Missing, Store

NODENAME_FILE = Path("/var/lib/calico/nodename")
DEFAULT_POOL = "default-ipv4-ippool"
DEFAULT_CIDR = "192.168.0.0/16"

_TRIES = 10


class BadEnvironment(Exception):
    """A variable that cannot be meant; the message names it and says what may stand there."""


def node_name(environ: Mapping[str, str]) -> str:
    """$NODENAME, the file that an earlier start-up wrote, $HOSTNAME, or the host's own name."""
    if environ.get("NODENAME"):
        return environ["NODENAME"]
    if NODENAME_FILE.exists() and (name := NODENAME_FILE.read_text().strip()):
        return name
    return environ.get("HOSTNAME") or socket.gethostname().lower()


async def start_up(store: Store, environ: Mapping[str, str]) -> list[str]:
    """Do it all; returns lines that say what was done. Raises BadEnvironment, StoreError."""
    name = node_name(environ)
    wanted = node_from(name, environ)
    pool = pool_from(environ)
    await initialise(store, new_guid=lambda: secrets.token_hex(16), cluster_type=environ.get("CLUSTER_TYPE", ""))
    await _check_address_is_free(store, wanted)
    said = [await _write_node(store, wanted)]
    if pool is not None and not await _has_pool(store, pool.cidr.version):
        said.append(await _create_pool(store, pool))
    NODENAME_FILE.parent.mkdir(parents=True, exist_ok=True)
    NODENAME_FILE.write_text(name)
    return said


def node_from(name: str, environ: Mapping[str, str]) -> Node:
    """What the environment says of the node; an absent value is None or 0. Raises BadEnvironment."""
    return Node(
        resource=Resource("Node", name, status={}), ipv4=_address(environ.get("IP", "")), as_number=_as_number(environ)
    )


def _address(text: str) -> IPv4Interface | None:
    if text in ("", "none"):
        return None
    if text == "autodetect":
        raise BadEnvironment("IP=autodetect: detection is still to come; give the node's address, like 10.0.0.5/24")
    try:
        found = ip_interface(text)
    except ValueError as error:
        raise BadEnvironment(f"IP={text}: {error}") from None
    if not isinstance(found, IPv4Interface):
        raise BadEnvironment(f"IP={text}: must be an IPv4 address; an IPv6 address belongs into IP6")
    return found


def _as_number(environ: Mapping[str, str]) -> int:
    text = environ.get("AS", "")
    if text and not (text.isdigit() and 0 < int(text) < 1 << 32):
        raise BadEnvironment(f"AS={text}: must be a number from 1 to 4294967295")
    return int(text or 0)


def pool_from(environ: Mapping[str, str]) -> IPPool | None:
    """The first IPv4 pool, or None when none is wanted. Raises BadEnvironment."""
    if environ.get("NO_DEFAULT_POOLS", "").lower() == "true":
        return None
    ipip, vxlan = modes_from(environ)
    text = environ.get("CALICO_IPV4POOL_CIDR", "") or DEFAULT_CIDR
    try:
        cidr = ip_network(text)
    except ValueError as error:
        raise BadEnvironment(f"CALICO_IPV4POOL_CIDR={text}: {error}") from None
    if not isinstance(cidr, IPv4Network):
        raise BadEnvironment(f"CALICO_IPV4POOL_CIDR={text}: must be an IPv4 network")
    return IPPool(
        resource=Resource("IPPool", DEFAULT_POOL, spec=_POOL_AS_UPSTREAM_WRITES_IT),
        cidr=cidr,
        block_size_given=_block_size(environ, cidr),
        ipip_mode=ipip,
        vxlan_mode=vxlan,
        nat_outgoing=environ.get("CALICO_IPV4POOL_NAT_OUTGOING", "true").lower() != "false",
        node_selector=environ.get("CALICO_IPV4POOL_NODE_SELECTOR", "") or "all()",
    )


_MODES = {
    "": EncapMode.NEVER,
    "off": EncapMode.NEVER,
    "never": EncapMode.NEVER,
    "always": EncapMode.ALWAYS,
    "crosssubnet": EncapMode.CROSS_SUBNET,
    "cross-subnet": EncapMode.CROSS_SUBNET,
}


def modes_from(environ: Mapping[str, str]) -> tuple[EncapMode, EncapMode]:
    """ipipMode and vxlanMode of the first IPv4 pool. Raises BadEnvironment."""
    ipip, vxlan = (_mode(environ, f"CALICO_IPV4POOL_{kind}") for kind in ("IPIP", "VXLAN"))
    if EncapMode.NEVER not in (ipip, vxlan):
        raise BadEnvironment("CALICO_IPV4POOL_IPIP and CALICO_IPV4POOL_VXLAN: one of them must be Never")
    return ipip, vxlan


def _mode(environ: Mapping[str, str], variable: str) -> EncapMode:
    """Upper and lower case are the same."""
    text = environ.get(variable, "")
    mode = _MODES.get(text.lower())
    if mode is None:
        raise BadEnvironment(f"{variable}={text}: must be Never (or Off), Always or CrossSubnet")
    return mode


_POOL_AS_UPSTREAM_WRITES_IT = {
    "vxlanMode": "Never",
    "ipipMode": "Never",
    "nodeSelector": "all()",
    "allowedUses": ["Workload", "Tunnel"],
    "assignmentMode": "Automatic",
}
"""Upstream stores these defaults; codec leaves what is equal as it stands."""


def _block_size(environ: Mapping[str, str], cidr: IPv4Network) -> int:
    text = environ.get("CALICO_IPV4POOL_BLOCK_SIZE", "") or "26"
    if not (text.isdigit() and 20 <= int(text) <= 32):
        raise BadEnvironment(f"CALICO_IPV4POOL_BLOCK_SIZE={text}: must be a number from 20 to 32")
    if cidr.prefixlen > int(text):
        raise BadEnvironment(f"CALICO_IPV4POOL_CIDR={cidr}: is smaller than a block (/{text})")
    return int(text)


async def _check_address_is_free(store: Store, wanted: Node) -> None:
    for other in (await store.list("Node")).items:
        node = decode(Node, other)
        has_it = wanted.ipv4 is not None and node.ipv4 is not None and node.ipv4.ip == wanted.ipv4.ip
        if has_it and node.name != wanted.name:
            raise BadEnvironment(f"IP={wanted.ipv4}: node {node.name} has this address already")


async def _write_node(store: Store, wanted: Node) -> str:
    for _ in range(_TRIES):
        try:
            known = decode(Node, await store.get(Key("Node", wanted.name)))
        except Missing:
            known = None
        try:
            if known is None:
                await store.create(encode(wanted))
                return f"node {wanted.name} created at {wanted.ipv4}"
            merged = replace(known, ipv4=wanted.ipv4 or known.ipv4, as_number=wanted.as_number or known.as_number)
            if merged == known:
                return f"node {wanted.name} is as it was, at {known.ipv4}"
            await store.update(encode(merged))
            return f"node {wanted.name} updated, at {merged.ipv4}"
        except (Conflict, Exists, Missing):
            continue
    raise Conflict(Key("Node", wanted.name))


async def _has_pool(store: Store, version: int) -> bool:
    return any(decode(IPPool, each).cidr.version == version for each in (await store.list("IPPool")).items)


async def _create_pool(store: Store, pool: IPPool) -> str:
    try:
        await store.create(encode(pool))
    except Exists:
        return f"pool {pool.name} was made by another node"
    return f"pool {pool.name} created: {pool.cidr}, blocks /{pool.block_size}"
