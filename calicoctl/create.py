"""``calicoctl create``: resources that are not there yet."""

from __future__ import annotations

from calicoctl import changes, objects, outcome
from calicoctl.flags import Flag, Takes
from calicoctl.objects import Document
from calicoctl.terminal import Terminal
from calicoctl.usage import FILES, Usage
from datastore.store import Exists, Store

USAGE = Usage(
    "-f FILE",
    "Creates the resources of a file, a folder or standard input (-f -), in YAML or JSON. It fails for those that\n"
    "exist already; apply updates them.",
    "# Create what a file says.\ncalicoctl create -f pools.yaml\n\n"
    "# The same from standard input, leaving alone what exists.\ncat pools.yaml | calicoctl create --skip-exists -f -",
    (*FILES, Flag("skip-exists", "Leave alone what exists already.", takes=Takes.NOTHING)),
)


def run(terminal: Terminal) -> None:
    may_exist = terminal.words.has("skip-exists")

    async def create(store: Store, document: Document) -> None:
        try:
            await objects.create(store, document)
        except Exists:
            if not may_exist:
                raise

    outcome.report(terminal, outcome.CREATE, changes.write(terminal, create))
