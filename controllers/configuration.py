"""KubeControllersConfiguration ``default``: made with upstream's defaults where there is none, and never changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from controllers.settings import UNTOUCHED
from datastore.store import Exists, Store, StoreError

log = logging.getLogger("controllers.configuration")

PAUSE_S = 10.0


async def keep(store: Store, *, random: Callable[[], float]) -> None:
    """Return once there is one. What the datastore says meanwhile is waited out."""
    while True:
        try:
            await store.create(UNTOUCHED)
            return
        except Exists:
            return
        except StoreError as error:
            log.warning("configuration.unwritten why=%r", str(error))
        await asyncio.sleep(PAUSE_S * (1 + random()) / 2)
