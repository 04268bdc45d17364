"""``calicoctl delete``: resources by kind and name, or those of a file."""

from __future__ import annotations

from calicoctl import changes, outcome
from calicoctl.deletion import delete
from calicoctl.flags import Flag, Takes
from calicoctl.objects import Document, key_of
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage
from datastore.store import Missing, Store

USAGE = Usage(
    "[KIND [NAME...]]",
    "Deletes resources by kind and name, or those of a file, a folder or standard input (-f -). Deleting a node takes\n"
    "its addresses, blocks, endpoints and own settings with it; addresses of a deleted pool that are in use stay.",
    "# Delete two pools.\ncalicoctl delete ippool pool1 pool2\n\n"
    "# Delete what a file names, as far as it is there.\ncalicoctl delete --skip-not-exists -f pools.yaml",
    (*FILES, Flag("skip-not-exists", "Leave out what does not exist.", "s", Takes.NOTHING)),
)


def run(terminal: Terminal) -> None:
    may_be_missing = terminal.words.has("skip-not-exists")

    async def step(store: Store, document: Document) -> None:
        revision = document["metadata"].get("resourceVersion", "")
        try:
            await delete(store, key_of(document), wall_ns=terminal.wall_ns, revision=revision)
        except Missing:
            if not may_be_missing:
                raise

    outcome.report_deleted(terminal, changes.delete(terminal, step))
