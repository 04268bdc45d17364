"""Says that network policies are stored and not enforced, for as long as there are any.

They are counted now and then, not followed: nothing here depends on what they say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from datastore import policies
from datastore.events import Event
from datastore.resource import Key
from datastore.store import Store, StoreError, Unavailable

log = logging.getLogger("felix.policies")

LOOK_EVERY_S = 600.0
RETRY_S = 30.0
_ABOUT = Key("ClusterInformation", "default")


async def watch(store: Store, report: Callable[[Sequence[Event]], None]) -> None:
    """Until cancelled. ``report`` hears what is to be told."""
    while True:
        try:
            report(await _told(store))
            await asyncio.sleep(LOOK_EVERY_S)
        except Unavailable:
            await asyncio.sleep(RETRY_S)


async def _told(store: Store) -> Sequence[Event]:
    """Raises Unavailable."""
    try:
        found = policies.in_words(await policies.count(store))
    except Unavailable:
        raise
    except StoreError as error:
        log.warning("policies.not_counted why=%r", str(error))
        return ()
    return [Event(_ABOUT, "PoliciesNotEnforced", f"{found}: stored, and NOT ENFORCED")] if found else ()
