"""Objects and their changes as rows of one SQLite file: what :class:`datastore.sqlite.SqliteStore` does, synchronously.

``change`` is the log and holds each document once: a row for each write, its number is the revision. ``object`` says
which of them is the present state of each object. The log keeps the last CHANGES_KEPT changes; older rows stay only
while they are some object's present state. ``floor`` is the revision after which every change is still there.

Rows that a command's start pays for are NamedTuples: a frozen dataclass takes six times as long to define.

Revisions begin at the time the file was made, in microseconds: those of a file that was removed do not come again in
the one that took its place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from datastore.codec import from_json, to_json
from datastore.resource import Key, Resource, node_of
from datastore.sqlite_file import PATIENCE_S, Schema, SqliteFile
from datastore.sqlite_trouble import Damaged
from datastore.store import (
    Change,
    Compacted,
    Conflict,
    Create,
    Delete,
    Exists,
    Gone,
    Listing,
    Missing,
    Put,
    StoreError,
    Unavailable,
    Update,
    Write,
)
from datastore.uid import new_uid

CHANGES_KEPT = 10_000
FORGOTTEN_AT_ONCE = 100
LARGEST_PAGE = 500
"""Changes that are read at once."""

_APPLICATION_ID = 0x746F7274  # "tort"
_VERSION = 1
_TABLES = (
    "CREATE TABLE change (revision INTEGER PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL,"
    " name TEXT NOT NULL, node TEXT NOT NULL, came_from TEXT NOT NULL, document TEXT)",
    "CREATE TABLE object (kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL,"
    " revision INTEGER NOT NULL, uid TEXT NOT NULL, created TEXT NOT NULL,"
    " PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID",
    "CREATE TABLE floor (revision INTEGER NOT NULL)",
)
_BOUNDS = "SELECT revision, (SELECT max(revision) FROM change) FROM floor"
_GET = (
    "SELECT revision, document FROM change"
    " WHERE revision = (SELECT revision FROM object WHERE kind = ? AND namespace = ? AND name = ?)"
)
_LIST = (
    "SELECT change.revision, change.document FROM object CROSS JOIN change USING (revision) WHERE object.kind = :kind"
    " AND :namespace IN ('', object.namespace) AND :node IN ('', object.node)"
    " ORDER BY object.namespace, object.name"
)
_CHANGES = (
    "SELECT revision, namespace, name, node, document FROM change"
    " WHERE revision > :since AND kind = :kind AND :node IN ('', node, came_from) ORDER BY revision LIMIT :limit"
)
_STORED = "SELECT revision, uid, created, node FROM object WHERE kind = ? AND namespace = ? AND name = ?"
_LOG = "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?)"
_PUT = "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM object WHERE kind = ? AND namespace = ? AND name = ?"
_DOCUMENT = "SELECT document FROM change WHERE revision = ?"
_FORGET = "DELETE FROM change WHERE revision = ?"
_FORGET_BETWEEN = (
    "DELETE FROM change WHERE revision > ? AND revision <= ? AND revision IS NOT (SELECT revision FROM object"
    " WHERE object.kind = change.kind AND object.namespace = change.namespace AND object.name = change.name)"
)


_Logged = tuple[int, str, str, str, str | None]
"""A row of ``_CHANGES``."""


class Page(NamedTuple):
    """Changes, in order. ``upto`` is the revision to go on from; ``is_last``: there were no more."""

    changes: Sequence[Change]
    upto: str
    is_last: bool


class Question(NamedTuple):
    """What changed of ``kind`` (and of ``node``, if it is not empty) after revision ``since``?"""

    kind: str
    since: str
    node: str = ""


class _Stored(NamedTuple):
    """What a write needs to know of the object that it meets."""

    revision: int
    uid: str
    created: str
    node: str


class Ledger:
    """One client of the file. Raises Unavailable where the file cannot be used; then nothing was written."""

    def __init__(
        self,
        path: str,
        *,
        changes_kept: int = CHANGES_KEPT,
        patience_s: float = PATIENCE_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        begin: tuple[str, Sequence[int]] = ("INSERT INTO floor VALUES (?)", (int(wall_clock() * 1e6),))
        schema = Schema(_APPLICATION_ID, _VERSION, (*((table, ()) for table in _TABLES), begin))
        self._file = SqliteFile(path, schema, patience_s=patience_s)
        self._changes_kept = changes_kept
        self._wall_clock = wall_clock

    def get(self, key: Key) -> Resource:
        """Raises Missing."""
        with self._file.reading() as connection:
            row = connection.execute(_GET, (key.kind, key.namespace, key.name)).fetchone()
        if row is None:
            raise Missing(key)
        with self._file.explained():
            return _resource(*row)

    def listing(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        with self._file.reading() as connection:
            _, newest = _bounds(connection)
            rows = connection.execute(_LIST, {"kind": kind, "namespace": namespace, "node": node}).fetchall()
        with self._file.explained():  # documents are read after the lock is given back
            return Listing(tuple(_resource(*row) for row in rows), str(newest))

    def write(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        """All in one transaction; one that meets Exists, Missing or Conflict is left out of it."""
        if not writes:
            return []
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall_clock()))
        with self._file.writing() as connection:
            writer = _Writer(connection, now)
            results = [writer.result_of(write) for write in writes]
            writer.forget(self._changes_kept)
        return results

    def changes(self, questions: Sequence[Question]) -> Sequence[Page | StoreError]:
        """All of one moment. In the place of a page: Compacted, or Unavailable for documents that are damaged."""
        with self._file.reading() as connection:
            bounds = _bounds(connection)
            found = [_rows(connection, question, bounds) for question in questions]
        return [
            Compacted(question.kind, question.since) if rows is None else self._page(question, rows, bounds[1])
            for question, rows in zip(questions, found, strict=True)
        ]

    def _page(self, question: Question, rows: Sequence[_Logged], newest: int) -> Page | StoreError:
        """Documents are read after the lock is given back."""
        is_last = len(rows) < LARGEST_PAGE
        upto = newest if is_last else rows[-1][0]
        try:
            with self._file.explained():
                return Page([_change(question, row) for row in rows], str(upto), is_last)
        except Unavailable as error:
            return error

    def close(self) -> None:
        self._file.close()


class _Writer:
    """The writes of one transaction, one after the other."""

    def __init__(self, connection: Connection, now: str) -> None:
        self._connection = connection
        self._now = now
        self._floor, self._newest = _bounds(connection)

    def result_of(self, write: Write) -> Resource | StoreError:
        try:
            match write:
                case Create(resource):
                    return self._create(resource)
                case Update(resource):
                    return self._update(resource)
                case Delete(key, revision, uid):
                    return self._delete(key, revision, uid)
        except (Exists, Missing, Conflict) as error:
            return error

    def forget(self, changes_kept: int) -> None:
        """Shorten the log: by so much at a time that few commits pay for it, and none of them much."""
        if self._newest - self._floor < changes_kept + FORGOTTEN_AT_ONCE:
            return
        floor = self._newest - changes_kept
        self._connection.execute(_FORGET_BETWEEN, (self._floor, floor))
        self._connection.execute("UPDATE floor SET revision = ?", (floor,))

    def _create(self, resource: Resource) -> Resource:
        if self._stored(resource.key) is not None:
            raise Exists(resource.key)
        return self._put(resource.stamped(revision="", uid=new_uid(), created=self._now), None)

    def _update(self, resource: Resource) -> Resource:
        stored = self._expect(resource.key, resource.revision or "none", resource.uid)
        return self._put(resource.stamped(revision="", uid=stored.uid, created=stored.created), stored)

    def _delete(self, key: Key, revision: str, uid: str) -> Resource:
        stored = self._expect(key, revision, uid)
        (document,) = self._connection.execute(_DOCUMENT, (stored.revision,)).fetchone()
        self._log(key, None, "", stored)
        self._connection.execute(_REMOVE, (key.kind, key.namespace, key.name))
        return _resource(stored.revision, document)

    def _put(self, resource: Resource, stored: _Stored | None) -> Resource:
        key, node = resource.key, node_of(resource)
        self._log(key, json.dumps(to_json(resource), separators=(",", ":")), node, stored)
        row = (key.kind, key.namespace, key.name, node, self._newest, resource.uid, resource.created)
        self._connection.execute(_PUT, row)
        return resource.stamped(revision=str(self._newest), uid=resource.uid, created=resource.created)

    def _log(self, key: Key, document: str | None, node: str, before: _Stored | None) -> None:
        self._newest += 1
        came_from = before.node if before else ""
        row = (self._newest, key.kind, key.namespace, key.name, node, came_from, document)
        self._connection.execute(_LOG, row)
        if before and before.revision <= self._floor:
            # It outlived the log as the object's present state, which it no longer is.
            self._connection.execute(_FORGET, (before.revision,))

    def _stored(self, key: Key) -> _Stored | None:
        row = self._connection.execute(_STORED, (key.kind, key.namespace, key.name)).fetchone()
        return _Stored(*row) if row else None

    def _expect(self, key: Key, revision: str, uid: str) -> _Stored:
        """What is stored, if it is still what the writer saw; an empty ``revision`` or ``uid`` means any."""
        stored = self._stored(key)
        if stored is None:
            raise Missing(key)
        if revision not in ("", str(stored.revision)) or uid not in ("", stored.uid):
            raise Conflict(key)
        return stored


def _bounds(connection: Connection) -> tuple[int, int]:
    """The floor and the newest revision."""
    floor, newest = connection.execute(_BOUNDS).fetchone()
    return floor, max(floor, newest or 0)


def _rows(connection: Connection, question: Question, bounds: tuple[int, int]) -> Sequence[_Logged] | None:
    """None when the changes that are asked for are no longer kept."""
    kind, since, node = question
    floor, newest = bounds
    if not floor <= _number(since) <= newest:
        return None
    asked = {"kind": kind, "node": node, "since": _number(since), "limit": LARGEST_PAGE}
    return connection.execute(_CHANGES, asked).fetchall()


def _number(revision: str) -> int:
    """-1 for what cannot be a revision of ours."""
    return int(revision) if revision.isascii() and revision.isdigit() and len(revision) < 19 else -1


def _resource(revision: int, document: str) -> Resource:
    try:
        return from_json(json.loads(document), revision=str(revision))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Damaged(f"document of revision {revision}: {error}") from error


def _change(question: Question, row: _Logged) -> Change:
    """What a watcher of a node (of all, if "") is told: an object that went to another node is gone."""
    revision, namespace, name, node, document = row
    if document is not None and question.node in ("", node):
        return Put(_resource(revision, document))
    return Gone(Key(question.kind, name, namespace), str(revision))
