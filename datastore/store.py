"""The seam to every datastore: operations, their results and their errors. No driver's notion may leak in here.

Rules that the contract suite holds every driver to (tests/contract):

- Revisions are opaque. There is one order per kind and none across kinds.
- ``create`` fails with Exists, ``update`` and ``delete`` with Missing, or with Conflict when the revision (or the uid,
  where given) is no longer the stored one. An update without a revision is a Conflict. Nothing is ever half-written.
- The store gives ``revision`` always, ``uid`` and ``created`` on create; an update keeps the last two.
- A watch delivers every later change of its kind exactly once and in order, or raises. With a node filter, an object
  that moves to another node is Gone. It never ends silently, and never reports a deletion that did not happen.
  As soon as it stands it says so: with a change, or with a Mark where there is none yet.
- An object that stands there and cannot be read stops no other, and is never taken for a deleted one: a listing names
  it, a watch tells of it, with the reason. Whoever asks for it alone is told Rejected.
- ``write_many`` gives one result per write and is not atomic: a crash may leave any part of it, but nothing that comes
  after a write of another kind, or of the same object, that was not done.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from datastore.resource import Key, Resource


class StoreError(Exception):
    """Something that the store says about one operation. Which subclass says who caused it, and so what to do."""


@dataclass(eq=False)
class Missing(StoreError):
    """No such object. ``detail`` is the server's own word, where there is one."""

    key: Key
    detail: str = ""

    def __str__(self) -> str:
        return f"resource does not exist: {self.key} with error: {self.detail or '<nil>'}"


@dataclass(eq=False)
class Exists(StoreError):
    key: Key
    detail: str = ""

    def __str__(self) -> str:
        return f"resource already exists: {self.key} with error: {self.detail or '<nil>'}"


@dataclass(eq=False)
class Conflict(StoreError):
    """A rival wrote first. Read again and retry where the write is made, bounded."""

    key: Key

    def __str__(self) -> str:
        return f"update conflict: {self.key}"


@dataclass(eq=False)
class Unavailable(StoreError):
    """The world: the store cannot be reached, is locked, full or broken. Retry with backoff, health degraded."""

    what: str

    def __str__(self) -> str:
        return self.what


@dataclass(eq=False)
class Compacted(StoreError):
    """The changes since that revision are no longer kept. List again."""

    kind: str
    since: str

    def __str__(self) -> str:
        return f"changes of {self.kind} since revision {self.since} are no longer kept: list again"


@dataclass(eq=False)
class Rejected(StoreError):
    """The user's mistake: shown as it is, the old state kept. ``path`` names the field."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"error with field {self.path} ({self.why})" if self.path else self.why


@dataclass(eq=False)
class Forbidden(StoreError):
    what: str

    def __str__(self) -> str:
        return f"connection is unauthorized: {self.what}"


@dataclass(eq=False)
class NotSupported(StoreError):
    operation: str
    key: Key
    why: str = ""

    def __str__(self) -> str:
        said = f"operation {self.operation} is not supported on {self.key}"
        return f"{said}: {self.why}" if self.why else said


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind, sorted by (namespace, name), and the revision to watch from. ``unreadable``: those that
    are there too, and what is wrong with each.
    """

    items: tuple[Resource, ...]
    revision: str
    unreadable: Mapping[Key, Rejected] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Put:
    """Created or changed: this is what it is now."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Gone:
    """Deleted, or no longer of the node that is watched."""

    key: Key
    revision: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Nothing happened up to this revision: a later watch may start here."""

    revision: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Created or changed, and it cannot be read: what it was before is the last that is known of it."""

    key: Key
    why: Rejected
    revision: str


Change = Put | Gone | Unread | Mark


@dataclass(frozen=True, slots=True)
class Create:
    resource: Resource


@dataclass(frozen=True, slots=True)
class Update:
    """Compare-and-swap on ``resource.revision``, and on ``resource.uid`` unless that is empty."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class Delete:
    """Without ``revision`` and ``uid``: whatever is there."""

    key: Key
    revision: str = ""
    uid: str = ""


Write = Create | Update | Delete


@runtime_checkable
class ApiServer(Protocol):
    """What a store can do besides whose server checks objects itself, and keeps some kinds for Kubernetes."""

    @property
    def views(self) -> Collection[str]:
        """The kinds that are Kubernetes' own objects: read, and never made or deleted here."""
        ...

    async def judge(self, resource: Resource) -> None:
        """Raises what a write of it would raise, in the server's words; writes nothing."""
        ...


class Store(Protocol):
    async def get(self, key: Key) -> Resource:
        """Raises Missing, Unavailable."""
        ...

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        """All objects of ``kind``; an empty filter means all. Raises Unavailable."""
        ...

    async def create(self, resource: Resource) -> Resource:
        """Write a new object; what comes back carries revision, uid and created. Raises Exists, Unavailable."""
        ...

    async def update(self, resource: Resource) -> Resource:
        """Replace the object that has ``resource.revision``. Raises Missing, Conflict, Unavailable."""
        ...

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        """Remove it and return what it was. Raises Missing, Conflict, Unavailable."""
        ...

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        """Each write's result in its place. Raises Unavailable only when nothing was tried."""
        ...

    def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        """Every change after revision ``since``, which a listing or an earlier change of this kind gave.

        Who stops listening closes it (``contextlib.aclosing``). Raises Compacted (list again), and Unavailable (try
        again from the last revision seen).
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files. Watches that still stand raise Unavailable."""
        ...
