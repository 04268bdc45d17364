"""``calicoctl patch``: some fields of one resource change, the others stay.

What the datastore holds beyond what we know stays too; what the patch adds must be known.
"""

from __future__ import annotations

from calicoctl import objects
from calicoctl.failure import Failure
from calicoctl.flags import Flag
from calicoctl.objects import Document
from calicoctl.selection import placed, selected
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, NAMESPACE, Usage
from datastore.schema import table_of
from datastore.schema.reading import Unreadable, canonical, known, read
from datastore.store import Conflict, Store, StoreError

USAGE = Usage(
    "KIND NAME",
    "Changes the fields of one resource that the patch names: objects are merged, null removes a field, anything else\n"
    "replaces what was there.",
    "# Make a node a route reflector.\n"
    """calicoctl patch node node1 --patch '{"spec":{"bgp":{"routeReflectorClusterID":"244.0.0.1"}}}'""",
    (
        CONFIG,
        NAMESPACE,
        Flag("patch", "The fields to change, as JSON.", "p"),
        Flag("type", "Accepted for upstream's sake; every patch is merged.", "t", default="strategic"),
    ),
    least=2,
    most=2,
)


def run(terminal: Terminal) -> None:
    selection = selected(terminal)

    async def work(store: Store) -> None:
        try:
            await _patch(store, placed(selection.documents[0], terminal), terminal.words.text("patch"))
        except (StoreError, Failure) as error:
            raise Failure(f"hit error: {error}") from None

    terminal.with_store(work)
    terminal.say(f"Successfully patched 1 '{selection.kind}' resource")


async def _patch(store: Store, named: Document, patch: str) -> None:
    stored = await objects.get(store, objects.key_of(named))
    before = objects.document_of(stored)
    after = _patched(before, patch)
    try:
        if objects.key_of(after) != stored.key:
            raise Failure("a patch changes neither kind, nor name, nor namespace")
        if after["metadata"].get("resourceVersion") != stored.revision:
            raise Conflict(stored.key)
        await objects.write(store, after, stored)
    except (StoreError, Failure) as error:
        raise Failure(f"updating existing resource: {error}") from None


def _patched(before: Document, patch: str) -> Document:
    table = table_of(before["kind"])
    try:
        read(table, objects.patched(known(table, before), patch))
    except ValueError as error:
        raise Failure(f"performing strategic merge patch: {error}") from None
    except Unreadable as error:
        why = f"error unmarshaling JSON: while decoding JSON: {error}"
        raise Failure(f"creating resource from patched data: {why}") from None
    return canonical(table, objects.patched(before, patch))
