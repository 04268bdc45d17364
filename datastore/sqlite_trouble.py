"""What an error of SQLite or of the file system means for the datastore: one sentence, and what to do about it.

Source: sqlite.org/rescode.html; /proc/locks for who holds a lock.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Mapping

_READ_ONLY = "is read-only: make its file system, the file and its directory writable"
_FULL = "has no room: free space on its file system"
_DAMAGED = "is damaged: stop the programs that use it and put a backup of the file in its place"
_ELSEWHERE = "or set DATASTORE_PATH to another file"

_BY_CODE: Mapping[int, str] = {
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_ERROR: _DAMAGED,
    sqlite3.SQLITE_CONSTRAINT: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: f"is not a datastore, or is damaged: put a backup of the file in its place, {_ELSEWHERE}",
}
_BY_ERRNO: Mapping[int, str] = {
    errno.EROFS: _READ_ONLY,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENOTDIR: f"cannot be there, because a part of its path is a file: correct the path, {_ELSEWHERE}",
    errno.EISDIR: f"cannot be there, because that is a directory: correct the path, {_ELSEWHERE}",
}
FOREIGN = f"is a database of another program: leave it alone, {_ELSEWHERE}"


class Damaged(sqlite3.DatabaseError):
    """A row that SQLite read well does not hold what was written."""


def explain(path: str, error: sqlite3.Error | OSError, *, patience_s: float) -> str:
    return f"the datastore {path} {_predicate(path, error, patience_s)}"


def other_version(path: str, *, found: int, known: int) -> str:
    if found < known:
        return f"the datastore {path} {_DAMAGED}"
    return (
        f"the datastore {path} was written by a newer version (schema {found}, this program knows {known}): "
        "upgrade this program"
    )


def foreign(path: str) -> str:
    return f"the datastore {path} {FOREIGN}"


def folder_of(path: str) -> str:
    return os.path.dirname(path) or "."


def is_locked(error: Exception) -> bool:
    """By SQLite or by flock."""
    if isinstance(error, sqlite3.Error):
        return _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(error, BlockingIOError)


def _predicate(path: str, error: sqlite3.Error | OSError, patience_s: float) -> str:
    if is_locked(error):
        return (
            f"has been locked {_by_whom(path)} for more than {patience_s:g} s: "
            "let that process finish, or end it, and try again"
        )
    if isinstance(error, OSError):
        return _of_file_system(path, error)
    if isinstance(error, Damaged):
        return _DAMAGED
    code = _primary_code(error)
    if code == sqlite3.SQLITE_CANTOPEN:
        return _cannot_be_opened(path)
    return _BY_CODE.get(code) or (
        f"cannot be read or written ({error.sqlite_errorname}): look for disk errors in the kernel's log, "
        "and for a quota or limit of file size"
    )


def _of_file_system(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return _not_there(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return _cannot_be_opened(path)
    return _BY_ERRNO.get(error.errno or 0, f"cannot be used: {error.strerror}")


def _not_there(path: str) -> str:
    folder = folder_of(path)
    if os.path.isdir(folder):
        return "was removed while it was in use: put it back, or restart this program to begin with an empty one"
    return f"cannot be made, because the directory {folder} does not exist: create it, {_ELSEWHERE}"


def _cannot_be_opened(path: str) -> str:
    if os.path.isdir(path):
        return _BY_ERRNO[errno.EISDIR]
    if os.access(path, os.R_OK | os.W_OK) and os.access(folder_of(path), os.W_OK | os.X_OK):
        return "cannot be opened, though this user may: look for a limit of open files (ulimit -n)"
    return (
        f"cannot be opened by user {os.geteuid()}: give that user access to the file and its directory, or run as root"
    )


def _primary_code(error: sqlite3.Error) -> int:
    """Without the detail in the upper bits. Errors that the Python module itself raises have no code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL)) & 0xFF


def _by_whom(path: str) -> str:
    for pid in _lock_holders(path):
        try:
            with open(f"/proc/{pid}/comm") as comm:
                return f"by process {pid} ({comm.read().strip()})"
        except OSError:
            continue
    return "by another process"


def _lock_holders(path: str) -> list[int]:
    """Other processes, writers first. /proc/locks says ``1: POSIX ADVISORY WRITE 4711 fe:00:131075 0 EOF``."""
    try:
        with open("/proc/locks") as table:
            locks = [line.replace("-> ", "").split() for line in table]
        files = [_as_in_proc(path), _as_in_proc(folder_of(path))]
    except OSError:
        return []
    held = [(lock[3] != "WRITE", int(lock[4])) for lock in locks if lock[5] in files]
    return [pid for _, pid in sorted(held) if pid not in (0, os.getpid())]


def _as_in_proc(path: str) -> str:
    at = os.stat(path)
    return f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
