"""What a person should be told of an object, beside what it says of itself: an event, as ``kubectl describe`` shows it.

Only Kubernetes has a place for events. Elsewhere whoever has one to tell writes it to its log and to its status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from datastore.resource import Key
from datastore.store import Store


@dataclass(frozen=True, slots=True)
class Event:
    """``reason`` is one word in CamelCase, ``text`` a sentence; ``uid`` of the object, where it is known."""

    about: Key
    reason: str
    text: str
    uid: str = ""


@runtime_checkable
class Herald(Protocol):
    async def announce(self, event: Event, *, reporter: str, host: str) -> None:
        """Tell it; the same event again is counted. Raises StoreError."""
        ...


class Silence:
    """Where there is no place for events."""

    async def announce(self, event: Event, *, reporter: str, host: str) -> None:
        return


def herald_of(store: Store) -> Herald:
    return store if isinstance(store, Herald) else Silence()
