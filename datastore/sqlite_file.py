"""One SQLite file that many processes share: how it is opened, locked, and written whole or not at all.

Owns no table: :mod:`datastore.ledger` knows what is in the file, :mod:`datastore.sqlite_trouble` what errors mean.
Nothing else imports sqlite3.

Journal: a rollback journal that stays in place (PERSIST), synchronous FULL. What COMMIT has answered survives a power
cut; what a killed process leaves half-done is rolled back by the next one that opens the file. Not WAL: SQLite before
3.51.3 (Debian 12 has 3.40.1) can corrupt a WAL database when processes write and checkpoint at the same moment, which
the nodes of one machine would do all day (sqlite.org/wal.html, "The WAL-Reset Bug").

Locks: SQLite lets in whoever asks at the right moment, and who asks rarely may wait for ever. So a writer queues first
(a flock on the file's directory) and leaves the queue when SQLite has let him in: nobody can write again while another
waits. Readers queue only when they were turned away. The queue is for fairness; the data are safe by SQLite's locks.

News: after each commit the file's times are set. inotify tells that as IN_ATTRIB, which SQLite's own writes never are:
whoever hears it can read the commit. :mod:`datastore.bell` listens.

Descriptors: never open the file in any other way in a process that has it open here, nor take it through a fork. POSIX
drops a process's locks on a file, SQLite's among them, whenever the process closes any descriptor of it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from datastore.sqlite_trouble import explain, folder_of, foreign, is_locked, other_version
from datastore.store import Rejected, Unavailable

PATIENCE_S = 5.0
"""How long a lock is waited for."""

_SETTINGS = (
    "PRAGMA journal_mode = PERSIST",
    "PRAGMA journal_size_limit = 1048576",
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_spill = OFF",  # or a large transaction would lock readers out before its end
    "PRAGMA secure_delete = OFF",  # Debian's default writes zeros over what is deleted
)
_FIRST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.001

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Values]


class Schema(NamedTuple):
    """``application_id`` tells our files from others'. ``version`` grows when older programs could not go on."""

    application_id: int
    version: int
    statements: Sequence[Statement]


class _Opened(NamedTuple):
    connection: sqlite3.Connection
    queue: int
    identity: tuple[int, int]


class SqliteFile:
    """One process's door to the file, opened by the first transaction. Not for two threads at once."""

    def __init__(self, path: str, schema: Schema, *, patience_s: float = PATIENCE_S) -> None:
        self.path = path
        self._schema = schema
        self._patience_s = patience_s
        self._opened: _Opened | None = None
        self._was_there = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The content of one moment, whatever others write meanwhile. Raises Unavailable."""
        with self.explained():
            opened = self._open()
            opened.connection.execute("BEGIN")
            self._check_version(opened)  # the first statement that reads takes the lock for those that follow
            yield opened.connection
            opened.connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """What is done inside takes effect, and is on disk, when it ends well; otherwise nothing of it is.

        Raises Unavailable.
        """
        with self.explained():
            opened, deadline = self._open(), time.monotonic() + self._patience_s
            with self._queued(opened, deadline):
                _insist(lambda: opened.connection.execute("BEGIN IMMEDIATE"), deadline)
            self._check_version(opened)
            before = opened.connection.total_changes
            yield opened.connection
            if opened.connection.total_changes == before:
                opened.connection.execute("ROLLBACK")
                return
            _insist(lambda: opened.connection.execute("COMMIT"), deadline)  # those who read just now may finish
        with suppress(OSError):  # what was written stays written; who does not hear of it looks once a second
            os.utime(self.path)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever goes wrong inside undoes the transaction; the world's faults become Unavailable."""
        went_well = False
        try:
            yield
            went_well = True
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(explain(self.path, error, patience_s=self._patience_s)) from error
        except UnicodeEncodeError as error:
            raise Rejected("", f"{error.object!r} is not valid Unicode") from None
        finally:
            if not went_well:
                self.close()  # nothing is taken for granted of a connection that failed

    def close(self) -> None:
        """Rolls back what is under way."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.connection.close()
            os.close(opened.queue)

    def _open(self) -> _Opened:
        """The file that is at the path now; another one may have taken the place of the old (a restored backup)."""
        if self._opened is not None and self._opened.identity == _identity(self.path):
            return self._opened
        self.close()
        if not self._was_there:
            _make_private_file(self.path)
        identity = _identity(self.path)  # first, because SQLite would make a file that is not there
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        queue = os.open(folder_of(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._opened = opened = _Opened(connection, queue, identity)
        for setting in _SETTINGS:
            self._read(opened, setting)
        self._check_schema(opened)
        self._was_there = True
        return opened

    def _check_schema(self, opened: _Opened) -> None:
        application, version, tables = self._schema_found(opened)
        if (application, version, tables) == (0, 0, 0) and not self._was_there:
            self._make_schema(opened)
        elif application not in (0, self._schema.application_id) or (application == 0 and tables):
            raise Unavailable(foreign(self.path))
        self._check_version(opened)

    def _check_version(self, opened: _Opened) -> None:
        """Another process may have emptied or upgraded the file since it was opened."""
        (version,) = self._read(opened, "PRAGMA user_version").fetchone()
        if version != self._schema.version:
            raise Unavailable(other_version(self.path, found=version, known=self._schema.version))

    def _schema_found(self, opened: _Opened) -> tuple[int, int, int]:
        (application,) = self._read(opened, "PRAGMA application_id").fetchone()
        (version,) = self._read(opened, "PRAGMA user_version").fetchone()
        (tables,) = self._read(opened, "SELECT count(*) FROM sqlite_schema").fetchone()
        return application, version, tables

    def _make_schema(self, opened: _Opened) -> None:
        deadline = time.monotonic() + self._patience_s
        with self._queued(opened, deadline):
            _insist(lambda: opened.connection.execute("BEGIN IMMEDIATE"), deadline)
        if self._schema_found(opened) == (0, 0, 0):  # no other process was first
            for statement, values in self._schema.statements:
                opened.connection.execute(statement, values)
            opened.connection.execute(f"PRAGMA application_id = {self._schema.application_id}")
            opened.connection.execute(f"PRAGMA user_version = {self._schema.version}")
        _insist(lambda: opened.connection.execute("COMMIT"), deadline)

    def _read(self, opened: _Opened, statement: str) -> sqlite3.Cursor:
        """For a statement that takes the readers' lock: at once if it can be had, in the queue otherwise."""
        try:
            return opened.connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
        deadline = time.monotonic() + self._patience_s
        with self._queued(opened, deadline):
            return _insist(lambda: opened.connection.execute(statement), deadline)

    @contextmanager
    def _queued(self, opened: _Opened, deadline: float) -> Iterator[None]:
        """Nobody else can enter before who is inside has left. Raises what SQLite would say of a lock."""
        _insist(lambda: fcntl.flock(opened.queue, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline)
        try:
            yield
        finally:
            fcntl.flock(opened.queue, fcntl.LOCK_UN)


def _insist(attempt: Callable[[], T], deadline: float) -> T:
    """Neither lock can be waited for with a time limit, so it is asked for again and again, soon at first."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return attempt()
        except (sqlite3.OperationalError, BlockingIOError) as error:
            if not is_locked(error) or time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _make_private_file(path: str) -> None:
    """For its owner alone from the first moment on, and without a descriptor that would have to be closed."""
    try:
        os.mknod(path, stat.S_IFREG | 0o600)
    except FileExistsError:
        return
