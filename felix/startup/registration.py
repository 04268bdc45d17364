"""Writes this node's object as the environment and the machine say: created, updated, or left as it is.

Every write is a create or a compare-and-swap, decided again when somebody else was faster.
"""

from __future__ import annotations

from datastore.codec import V, decode, encode
from datastore.resource import Key
from datastore.resources import Node
from datastore.store import Conflict, Exists, Missing, Rejected, Store
from felix.startup.detect import Machine
from felix.startup.environment import BadEnvironment, Environ
from felix.startup.node import clash, decide

_TRIES = 10


async def register(
    store: Store, name: str, environ: Environ, machine: Machine, *, may_create: bool = True
) -> list[str]:
    """Returns lines that say what was done. Raises BadEnvironment, StoreError; Missing where it may not create."""
    key = Key("Node", name)
    for _ in range(_TRIES):
        known = await _read(store, key)
        if known is None and not may_create:
            raise Missing(key)
        decided = decide(known, name, environ, machine)
        await _check_is_free(store, known, decided.node, environ)
        where = f"at {decided.node.ipv4 or decided.node.ipv6}"
        try:
            if known is None:
                await store.create(encode(decided.node))
                return [*decided.said, f"node {name} created {where}"]
            wanted = encode(decided.node)
            if wanted == encode(known):
                return [*decided.said, f"node {name} is as it was, {where}"]
            await store.update(wanted)
            return [*decided.said, f"node {name} updated, {where}"]
        except (Conflict, Exists, Missing):
            continue
    raise Conflict(key)


async def _check_is_free(store: Store, known: Node | None, node: Node, environ: Environ) -> None:
    """Only where an address is new. Raises BadEnvironment."""
    is_new = known is None or (known.ipv4, known.ipv6) != (node.ipv4, node.ipv6)
    if not is_new or environ.get("DISABLE_NODE_IP_CHECK", "").lower() == "true":
        return
    why = clash(node, await readable(store, Node, "Node"))
    if why:
        raise BadEnvironment(f"IP={environ.get('IP', '')}: {why}")


async def _read(store: Store, key: Key) -> Node | None:
    try:
        return decode(Node, await store.get(key))
    except Missing:
        return None


async def readable(store: Store, kind: type[V], name: str) -> list[V]:
    """All of a kind; one that cannot be read does not stop the others."""
    found = []
    for item in (await store.list(name)).items:
        try:
            found.append(decode(kind, item))
        except Rejected:
            continue
    return found
