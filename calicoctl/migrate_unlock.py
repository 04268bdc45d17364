"""``calicoctl datastore migrate unlock``."""

from __future__ import annotations

from calicoctl import lock
from calicoctl.failure import Failure
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.store import Missing, Store, StoreError

USAGE = Usage(
    "",
    "Unlocks the datastore: pods get and lose addresses again.",
    "calicoctl datastore migrate unlock",
    (CONFIG,),
)


def run(terminal: Terminal) -> None:
    terminal.with_store(_unlock)
    terminal.say("Datastore unlocked.")


async def _unlock(store: Store) -> None:
    try:
        await lock.unlock(store)
    except Missing as error:
        raise Failure(f"error retrieving ClusterInformation for unlocking: {error}") from None
    except StoreError as error:
        raise Failure(f"error updating ClusterInformation for unlocking: {error}") from None
