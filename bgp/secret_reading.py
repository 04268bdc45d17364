"""Which Secrets the speaker reads: those that a BGPPeer or a BGPConfiguration names, for as long as one does.

Until each has been read once, or is known to be out of reach, nothing is decided: a session that has a password must
not be taken for one whose password is missing, only because it has not come yet. A server that is away says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from datastore.follow import Batch, follow
from datastore.store import Store, StoreError, Unavailable

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class SecretReading:
    """``open_one`` gives what lists and watches the Secret of a name. ``on_change`` is called when one is another."""

    def __init__(
        self, open_one: Callable[[str], Store], *, random: Callable[[], float], on_change: Callable[[], None]
    ) -> None:
        self._open_one = open_one
        self._random = random
        self._on_change = on_change
        self._found: dict[str, Mapping[str, str] | None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def want(self, names: frozenset[str], spawn: Spawn) -> None:
        """From now on these are read, and no others."""
        for name in [name for name in self._tasks if name not in names]:
            self._tasks.pop(name).cancel()
            self._found.pop(name, None)
        for name in names - self._tasks.keys():
            self._found[name] = None
            self._tasks[name] = spawn(self._follow(name), f"secret {name}")

    @property
    def is_settled(self) -> bool:
        return all(data is not None for data in self._found.values())

    def values(self) -> Mapping[tuple[str, str], str]:
        """By name and key."""
        return {(name, key): text for name, data in self._found.items() for key, text in (data or {}).items()}

    async def _follow(self, name: str) -> None:
        def take(batch: Batch) -> None:
            data = {key: str(text) for each in batch.puts for key, text in each.spec.items()}
            if batch.puts or batch.gones or batch.is_snapshot:
                self._put(name, data)

        def note(_: str, error: StoreError | None) -> None:
            if error is not None and not isinstance(error, Unavailable) and self._found.get(name) is None:
                log.warning("secret.unreadable name=%s why=%s", name, error)
                self._put(name, {})

        await follow(self._open_one(name), "Secret", take, random=self._random, on_trouble=note)

    def _put(self, name: str, data: Mapping[str, str]) -> None:
        if name in self._found and self._found[name] != data:
            self._found[name] = data
            self._on_change()
