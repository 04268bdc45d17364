"""What a command has of the world: its words, its standard streams, its environment, the clock, a datastore.

Tests give a command a world of their own. A datastore whose calls never wait is driven without an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from calicoctl.flags import Words
from datastore.store import Store

T = TypeVar("T")

Environ = Mapping[str, str]


class Terminal(NamedTuple):
    """``connect`` opens the datastore that an environment names; ``drive`` runs a coroutine over it to its end."""

    words: Words
    environ: Environ
    write: Callable[[str], object]
    write_error: Callable[[str], object]
    read_input: Callable[[], str]
    connect: Callable[[Environ], Store]
    drive: Callable[[Environ, Coroutine[Any, Any, Any]], Any]
    wall_ns: Callable[[], int]
    sleep: Callable[[float], object]

    def say(self, line: str) -> None:
        self.write(f"{line}\n")

    def with_store(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` gives, done on the datastore that the configuration names. Raises Failure, StoreError."""
        environ = self.datastore()
        result: T = self.drive(environ, _closing(self.connect(environ), work))
        return result

    def datastore(self) -> Environ:
        """What names the datastore: the configuration's file, or else the environment. Raises Failure."""
        from calicoctl.config import environment_of

        environ = environment_of(self.words.text("config"), self.environ)
        if context := self.words.text("context"):
            environ = {**environ, "K8S_CURRENT_CONTEXT": context}
        return environ


async def _closing(store: Store, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    try:
        return await work(store)
    finally:
        await store.close()
