"""Runs a coroutine without an event loop, for commands whose datastore never makes them wait.

asyncio takes 30 ms and more to import, longer than most commands run.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises. RuntimeError, our own mistake, if it waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits for something: it needs an event loop (asyncio.run)")
