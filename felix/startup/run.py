"""Does what start-up decides: reads the machine and the datastore, writes what is missing, and says why.

What is there is kept: an address or AS number that the environment does not name stays as it is, and so do settings.
Every write is a create or a compare-and-swap, decided again when another node was faster.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv6Network

from datastore.initial import initialise
from datastore.resource import Key, Resource
from datastore.resources import IPPool
from datastore.store import Conflict, Exists, Missing, Store, Unavailable
from felix.startup import address, defaults, detect, edits
from felix.startup.detect import Machine
from felix.startup.distribution import UNKNOWN, Distribution
from felix.startup.environment import Environ
from felix.startup.name import node_name, remember
from felix.startup.registration import readable, register

ReadMachine = Callable[[Iterable[tuple[int, str]]], Awaitable[Machine]]

_TRIES = 10
_PAUSE_S = 1.0


async def nothing() -> None: ...


async def unknown() -> Distribution:
    return UNKNOWN


async def start_up(
    store: Store,
    environ: Environ,
    *,
    read_machine: ReadMachine,
    before: Callable[[], Awaitable[None]] = nothing,
    read_distribution: Callable[[], Awaitable[Distribution]] = unknown,
) -> list[str]:
    """Do it all; returns lines that say what was done. Raises BadEnvironment, StoreError, KernelUnavailable.

    ``before`` is called once the datastore can be reached, before anything is written.
    """
    name = node_name(environ)
    machine = await read_machine(destinations(environ))
    _first_pools(environ, machine, UNKNOWN)  # what cannot be meant is refused before anything is waited for
    if environ.get("WAIT_FOR_DATASTORE", "").lower() == "true":
        await _reach(store)
    await before()
    distribution = await read_distribution()
    said = await register(store, name, environ, machine)
    cluster_type = _cluster_type(environ, distribution)
    await initialise(store, new_guid=lambda: secrets.token_hex(16), cluster_type=cluster_type)
    for wanted in _first_pools(environ, machine, distribution):
        said += await _write_pools(store, wanted)
    await _write_defaults(store, name, environ)
    remember(name)
    return said


def destinations(environ: Environ) -> list[tuple[int, str]]:
    """What the machine is asked about. Raises BadEnvironment."""
    found = []
    for version in address.VARIABLES:
        variable = address.method_variable(version)
        method = detect.method_of(variable, environ.get(variable, "").strip())
        found += [(version, destination) for destination in detect.destinations(method, version)]
    return found


def _ula() -> IPv6Network:
    """A random network of RFC 4193."""
    return IPv6Network((int.from_bytes(b"\xfd" + secrets.token_bytes(5), "big") << 80, 48))


def _first_pools(environ: Environ, machine: Machine, distribution: Distribution) -> Sequence[edits.Asked]:
    """Raises BadEnvironment."""
    hosts, networks = machine.addresses, distribution.networks
    return [edits.asked(environ, version, hosts=hosts, networks=networks, ula=_ula()) for version in (4, 6)]


def _cluster_type(environ: Environ, distribution: Distribution) -> str:
    driver = "kdd" if environ.get("DATASTORE_TYPE") == "kubernetes" else ""
    return ",".join(word for word in (driver, environ.get("CLUSTER_TYPE", ""), *distribution.words) if word)


async def _reach(store: Store) -> None:
    """Return when the datastore answers, however long that takes. Raises Forbidden."""
    while True:
        try:
            await store.get(Key("ClusterInformation", "default"))
            return
        except Missing:
            return
        except Unavailable:
            await asyncio.sleep(_PAUSE_S)  # nothing tells when it is back


# --- pools and settings -------------------------------------------------------------------------------------------


async def _write_pools(store: Store, asked: edits.Asked) -> list[str]:
    for _ in range(_TRIES):
        stored = await readable(store, IPPool, "IPPool")
        plan = edits.plan(asked, stored)
        try:
            for pool in plan.creates:
                await store.create(pool)
            for pool in plan.updates:
                await store.update(pool)
            return plan.lines
        except (Conflict, Exists, Missing):
            continue
    raise Conflict(Key("IPPool", asked.pool.name if asked.pool is not None else ""))


async def _write_defaults(store: Store, name: str, environ: Environ) -> None:
    wanted = defaults.of_cluster()
    if environ.get("DATASTORE_TYPE") != "kubernetes":
        wanted.append(defaults.of_node(name))
    for each in wanted:
        await _create_if_missing(store, each)


async def _create_if_missing(store: Store, resource: Resource) -> None:
    try:
        await store.create(resource)
    except Exists:
        return
