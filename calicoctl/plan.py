"""``calicoctl plan``: what an edit would do on each node, told before it is made. Nothing is written, nobody is asked.

The datastore is read once. The edit is made by the code of ``apply`` or ``delete`` in a :mod:`calicoctl.rehearsal`, the
nodes' own writes follow (:mod:`calicoctl.settling`), and :mod:`felix.forecast` is asked twice: without the edit and
with it. So what differs follows from the edit alone, also where the cluster has not settled yet.
"""

from __future__ import annotations

import json

from calicoctl import changes, foretold, foretold_text, outcome, rehearsal
from calicoctl.deletion import delete
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.foretold import Foretold
from calicoctl.objects import Document, apply, key_of
from calicoctl.outcome import Outcome
from calicoctl.rehearsal import Rehearsal
from calicoctl.settling import settle
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage
from datastore import plain
from datastore.initial import initialise
from datastore.resource import Key
from datastore.store import Store
from felix.forecast import HOST_MTU_BYTES, Outlook, Stored, forecast
from ipam.records import Contention

CHANGES = 2
"""The exit status when the edit would change something."""

USAGE = Usage(
    "[KIND [NAME...]]",
    "Tells what applying the resources of a file, a folder or standard input (-f -) would change on each node:\n"
    "routes, tunnels, BGP sessions, addresses, MTU. With --delete: what deleting them would. Nothing is written. Only\n"
    "the datastore is read, so a node's uplink and router may have no names, and what BGP neighbours outside the\n"
    "cluster announce is left out. Exit status: 0 if nothing would change, 2 if something would, 1 on an error.",
    "# What would this edit do?\ncalicoctl plan -f pool.yaml\n\n"
    "# What would be lost without this pool?\ncalicoctl plan --delete ippool default-ipv4-ippool",
    (
        *FILES,
        Flag("delete", "Tell what deleting would do.", takes=Takes.NOTHING),
        Flag("mtu", "MTU of the nodes' uplinks.", takes=Takes.NUMBER, default=str(HOST_MTU_BYTES)),
        Flag("output", "Output format: text or json.", "o", default="text"),
    ),
)


def run(terminal: Terminal) -> int:
    """The exit status."""
    words = terminal.words
    if words.text("output") not in ("text", "json"):
        raise Failure(f"unrecognized output format '{words.text('output')}'")
    if words.plain and not words.has("delete"):
        raise Failure("a kind and names say what to delete: give --delete, or a file with -f FILE")
    before = terminal.with_store(rehearsal.read)
    told = _foretell(terminal, before)
    if told is None:
        terminal.say(outcome.NOTHING)
        return 0
    _show(terminal, told)
    return CHANGES if told.is_any else 0


def _show(terminal: Terminal, told: Foretold) -> None:
    if terminal.words.text("output") == "json":
        terminal.say(json.dumps(foretold_text.to_json(told), indent=2))
        return
    for line in foretold_text.lines(told):
        terminal.say(line)


def _foretell(terminal: Terminal, before: Rehearsal) -> Foretold | None:
    """None where there are no documents."""
    now_ns = terminal.wall_ns()
    plain.run(_prepared(before, now_ns))
    after = before.copy()
    edited, keys = _edit(terminal, after)
    if not edited.total:
        return None
    objects = foretold.object_changes(keys, before.stored, after.stored)
    plain.run(_settled(after, now_ns))
    then, later = Stored(before.stored.values()), Stored(after.stored.values())
    mtu_bytes = terminal.words.number("mtu")
    nodes = foretold.node_changes(_outlooks(then, mtu_bytes), _outlooks(later, mtu_bytes))
    return Foretold(objects, nodes, foretold.lost_addresses(then, later))


def _outlooks(stored: Stored, mtu_bytes: int) -> dict[str, Outlook]:
    return forecast(stored, host_mtu_bytes=mtu_bytes)


async def _prepared(store: Store, now_ns: int) -> None:
    """What every first writer makes is no part of the edit."""
    await initialise(store, new_guid=lambda: "0" * 32)
    await _settled(store, now_ns)


async def _settled(store: Store, now_ns: int) -> None:
    try:
        await settle(store, wall_ns=lambda: now_ns)
    except Contention as error:
        raise Failure(f"the nodes' tunnel addresses cannot be foretold: {error}") from None


def _edit(terminal: Terminal, store: Rehearsal) -> tuple[Outcome, list[Key]]:
    """The edit as its own command makes it, and what it is about. Raises Failure where that would fail."""
    keys: list[Key] = []
    stage = terminal._replace(connect=lambda environ: store, drive=lambda environ, work: plain.run(work))

    async def step(store: Store, document: Document) -> None:
        keys.append(key_of(document))
        if terminal.words.has("delete"):
            revision = document["metadata"].get("resourceVersion", "")
            await delete(store, key_of(document), wall_ns=terminal.wall_ns, revision=revision)
        else:
            await apply(store, document)

    carry_out = changes.delete if terminal.words.has("delete") else changes.write
    done = carry_out(stage, step)
    if done.errors:
        what = f"'{done.kind}' resource" if done.kind else "resource"
        raise Failure("\n".join(f"failed to plan {what}: {error}" for error in done.errors))
    return done, keys
