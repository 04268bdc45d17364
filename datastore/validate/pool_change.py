"""What a pool may become: defaults, what never changes, and what other pools leave free.

Source: Calico libcalico-go/lib/clientv3/ippool.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from datastore.addresses import Network, read_cidr
from datastore.unset import pool_spec
from datastore.validate.flaw import Flaw, Invalid

Document = Mapping[str, Any]


def completed(pool: Document, *, before: Document | None = None, others: Iterable[Document] = ()) -> dict[str, Any]:
    """``pool`` with its defaults. ``before``: the stored one that it replaces; ``others``: all stored pools.

    Raises Invalid. The bounds that hold for any pool alone are in :mod:`datastore.validate.pools`.
    """
    spec, network = _with_defaults(pool["spec"])
    flaws = list(_changes(spec, before["spec"])) if before else list(_overlaps(pool, network, others))
    address, _ = read_cidr(pool["spec"]["cidr"])
    if address != network.network_address:
        flaws.append(Flaw("IPPool.Spec.CIDR", "IPPool CIDR is not strictly masked", spec["cidr"]))
    if flaws:
        raise Invalid(flaws)
    return {**pool, "spec": spec}


def _with_defaults(given: Document) -> tuple[dict[str, Any], Network]:
    if not given["cidr"]:
        raise Invalid([Flaw("IPPool.Spec.CIDR", "IPPool CIDR must be specified")])
    try:
        _, network = read_cidr(given["cidr"])
    except ValueError:
        raise Invalid([Flaw("IPPool.Spec.CIDR", "IPPool CIDR must be a valid subnet", given["cidr"])]) from None
    return {**pool_spec(given), "cidr": str(network)}, network


def _changes(spec: Document, old: Document) -> Iterable[Flaw]:
    old = pool_spec(old)
    if not _is_same_network(old["cidr"], spec["cidr"]):
        yield Flaw("IPPool.Spec.CIDR", "IPPool CIDR cannot be modified", spec["cidr"])
    if "LoadBalancer" in old["allowedUses"] and set(spec["allowedUses"]) != {"LoadBalancer"}:
        why = "IPPool allowed use cannot be changed from LoadBalacer to Workload or Tunnel"
        raise Invalid([Flaw("IPPool.Spec.AllowedUses", why, spec["allowedUses"])])
    if old["blockSize"] != spec["blockSize"]:
        yield Flaw("IPPool.Spec.BlockSize", "IPPool BlockSize cannot be modified", spec["blockSize"])


def _is_same_network(old: str, new: str) -> bool:
    """Another way of writing the same network is no change."""
    try:
        return read_cidr(old)[1] == read_cidr(new)[1]
    except ValueError:
        return False


def _overlaps(pool: Document, network: Network, others: Iterable[Document]) -> Iterable[Flaw]:
    name = pool["metadata"].get("name", "")
    for other in others:
        called, cidr = other["metadata"]["name"], other["spec"]["cidr"]
        if called != name and _overlap(network, cidr):
            why = f"IPPool({name}) CIDR overlaps with IPPool({called}) CIDR {cidr}"
            yield Flaw("IPPool.Spec.CIDR", why, str(network))


def _overlap(network: Network, cidr: str) -> bool:
    try:
        _, other = read_cidr(cidr)
    except ValueError:
        return False
    return other.version == network.version and network.overlaps(other)


def check_blocks(pool: Document, blocks: Iterable[Network]) -> None:
    """A pool made over blocks of another size could not use them. Raises Invalid."""
    _, network = read_cidr(pool["spec"]["cidr"])
    size = pool["spec"]["blockSize"]
    for block in blocks:
        if block.version == network.version and block.prefixlen != size and block.overlaps(network):
            why = "IPPool blocksSize conflicts with existing allocations that use a different blockSize"
            raise Invalid([Flaw("IPPool.Spec.BlockSize", why, size)])
