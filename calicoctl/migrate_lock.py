"""``calicoctl datastore migrate lock``."""

from __future__ import annotations

import os

from calicoctl import lock
from calicoctl.failure import Failure
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.initial import initialise
from datastore.store import Store, StoreError

USAGE = Usage(
    "",
    "Locks the datastore: no pod gets or loses an address until it is unlocked. Resources can still be changed.",
    "calicoctl datastore migrate lock",
    (CONFIG,),
)


def run(terminal: Terminal) -> None:
    terminal.with_store(_lock)
    terminal.say("Datastore locked.")


async def _lock(store: Store) -> None:
    try:
        await initialise(store, new_guid=lambda: os.urandom(16).hex())
    except StoreError as error:
        why = "unable to initialize cluster information for the datastore migration"
        raise Failure(f"{why}: {error}") from None
    try:
        await lock.lock(store)
    except StoreError as error:
        raise Failure(f"error updating ClusterInformation for locking: {error}") from None
