"""``calicoctl ipam split``: one pool becomes several of equal size, and every address stays where it is.

The new pools exist before the old one goes, and the old one's blocks keep their owners, so that at any moment some pool
covers each address. Between the two the pools overlap, which is why the datastore must be locked. What was asked is
checked before anything is written; upstream disables the pool first. Doing it again after a crash goes on with it.

Source: Calico calicoctl/commands/ipam/split.go, and its output to the byte: two of its sentences have no end of line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from calicoctl import lock
from calicoctl.failure import Failure
from calicoctl.flags import Flag
from calicoctl.objects import document_of, get, list_of
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.addresses import Network, read_cidr
from datastore.admission import admitted
from datastore.codec import from_json
from datastore.resource import Key, Resource
from datastore.store import Exists, Store, StoreError
from datastore.validate.pool_change import completed

USAGE = Usage(
    "NUMBER",
    "Splits a pool into pools of equal size; NUMBER is a power of two. Addresses that are in use stay where they are,\n"
    "and with their nodes. The datastore must be locked.",
    "# Four pools instead of one.\ncalicoctl datastore migrate lock\ncalicoctl ipam split 4 --name my-pool\n"
    "calicoctl datastore migrate unlock",
    (CONFIG, Flag("cidr", "The pool that has this CIDR."), Flag("name", "The pool of this name.")),
    1,
    1,
)

LONGEST_NAME = 253
_KEPT_OF_NAME = 245
"""Of a name that would grow too long, so that any number fits behind it."""


def run(terminal: Terminal) -> None:
    words = terminal.words
    parts = _number(words.plain[0])
    name, cidr = words.text("name"), words.text("cidr")
    if not name and not cidr:
        raise Failure("no name or CIDR provided. Provide a name or CIDR to denote the IP pool to split")
    old, new = terminal.with_store(lambda store: _split(store, name, cidr, parts))
    terminal.write(f"IP Pool {old.name} was successfully split into {parts} smaller pools.")
    for pool in new:
        terminal.say(f"Created {pool.name} with CIDR {pool.spec['cidr']}.")
    terminal.write("Please refer to the documentation for final steps.")


def _number(text: str) -> int:
    if not text.removeprefix("-").removeprefix("+").isdecimal():
        why = f'strconv.Atoi: parsing "{text}": invalid syntax'
        raise Failure(f"error reading number to split IP pools into. {text} is not a valid number: {why}")
    return int(text)


async def _split(store: Store, name: str, cidr: str, parts: int) -> tuple[Resource, Sequence[Resource]]:
    await _demand_lock(store)
    old = await _pool(store, name, cidr)
    new = _new_pools(old, parts)
    if not old.spec.get("disabled"):
        try:
            old = await store.update(replace(old, spec={**old.spec, "disabled": True}))
        except StoreError:
            raise Failure(f"error disabling IP pool {cidr}") from None
    for pool in new:
        await _create(store, pool)
    try:
        await store.delete(old.key)
    except StoreError as error:
        raise Failure(f"error removing the IP pool that was split {old.name}: {error}") from None
    return old, new


async def _demand_lock(store: Store) -> None:
    try:
        is_locked = await lock.is_locked(store)
    except StoreError as error:
        why = f"error retrieving ClusterInformation: {error}"
        raise Failure(f"error while checking if datastore was locked: {why}") from None
    if not is_locked:
        how = "Run the `calicoctl datastore migrate lock` command in order split the IP pools"
        raise Failure(f"datastore is not locked. {how}")


async def _pool(store: Store, name: str, cidr: str) -> Resource:
    if name:
        try:
            return await get(store, Key("IPPool", name))
        except StoreError as error:
            raise Failure(f"unable to find IP pool with name {name}: {error}") from None
    pools = (await list_of(store, "IPPool")).items
    for pool in pools:
        if pool.spec["cidr"] == cidr:
            return pool
    raise Failure(f"unable to find IP pool {name} covering the specified CIDR {cidr}")


def _new_pools(old: Resource, parts: int) -> list[Resource]:
    """What takes the old pool's place. Raises Failure where the pool cannot be split like that."""
    document = document_of(old)
    new = []
    for number, network in enumerate(_networks(old.spec["cidr"], parts)):
        metadata = {"name": _name(old.name, number)}
        metadata |= {key: document["metadata"][key] for key in ("labels", "annotations") if key in document["metadata"]}
        spec = {**document["spec"], "cidr": str(network), "disabled": False}
        try:
            new.append(from_json(admitted(completed({**document, "metadata": metadata, "spec": spec}))))
        except StoreError as error:
            raise _not_made(str(network), error) from None
    return new


def _networks(cidr: str, parts: int) -> list[Network]:
    _, network = read_cidr(cidr)
    if parts < 2 or parts & (parts - 1):
        why = f"number to split CIDR into is not a valid power of 2: {parts}"
    elif network.prefixlen + (bits := parts.bit_length() - 1) > network.max_prefixlen:
        why = f"the CIDR {cidr} is not large enough to be split into {parts} parts"
    else:
        return list(network.subnets(prefixlen_diff=bits))
    raise Failure(f"error splitting the CIDR {cidr} into {parts} CIDRs: {why}")


def _name(old: str, number: int) -> str:
    name = f"split-{old}-{number}"
    return name if len(name) <= LONGEST_NAME else f"split-{old[:_KEPT_OF_NAME]}-{number}"


async def _create(store: Store, pool: Resource) -> None:
    try:
        await store.create(pool)
    except Exists as error:
        if (await store.get(pool.key)).spec != pool.spec:
            raise _not_made(pool.spec["cidr"], error) from None
    except StoreError as error:
        raise _not_made(pool.spec["cidr"], error) from None


def _not_made(cidr: str, error: StoreError) -> Failure:
    return Failure(f"error using unsafe create to make split pool with cidr {cidr}: {error}")
