"""Whatever is wrong with the embedded datastore's file: one sentence that says what to do, and nothing half-written."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from datastore.plain import run
from datastore.resource import Key
from datastore.sqlite import SqliteStore
from datastore.store import Conflict, Rejected, Unavailable
from tests.contract.children import NOBODY, child, said_by
from tests.contract.words import pool, pool_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "datastore.sqlite"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    return SqliteStore(str(path), patience_s=0.1)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others than its owner may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def names(store: SqliteStore) -> list[str]:
    return [item.name for item in run(store.list("IPPool")).items]


def said_of_a_read(store: SqliteStore) -> str:
    with pytest.raises(Unavailable) as caught:
        run(store.list("IPPool"))
    return str(caught.value)


def said_of_a_write(store: SqliteStore) -> str:
    with pytest.raises(Unavailable) as caught:
        run(store.create(pool("new")))
    return str(caught.value)


def raw(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_the_file_is_made_for_its_owner_alone(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["datastore.sqlite", "datastore.sqlite-journal"]
    assert [stat.filemode(file.stat().st_mode) for file in files] == ["-rw-------"] * 2


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "absent" / "datastore.sqlite"))
    assert said_of_a_read(store) == (
        f"the datastore {tmp_path}/absent/datastore.sqlite cannot be made, because the directory {tmp_path}/absent "
        "does not exist: create it, or set DATASTORE_PATH to another file"
    )
    (tmp_path / "absent").mkdir()
    assert names(store) == []


def test_a_path_through_a_file_or_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "because a part of its path is a file" in said_of_a_read(SqliteStore(str(tmp_path / "file" / "x")))
    assert "because that is a directory" in said_of_a_read(SqliteStore(str(tmp_path)))


def test_a_user_without_access_is_told_so(open_folder: Path) -> None:
    path = open_folder / "datastore.sqlite"
    run(SqliteStore(str(path)).create(pool("a")))
    path.chmod(0)
    user = os.geteuid() or NOBODY
    with child("unprivileged", path) as process:
        assert [said_by(process), said_by(process)] == [
            f"{attempt}: the datastore {path} cannot be opened by user {user}: "
            "give that user access to the file and its directory, or run as root"
            for attempt in ("write", "read")
        ]


def test_a_read_only_file_can_be_read_and_says_so_to_a_writer(open_folder: Path) -> None:
    path = open_folder / "datastore.sqlite"
    run(SqliteStore(str(path)).create(pool("a")))
    for file in open_folder.iterdir():
        file.chmod(0o444)
    with child("unprivileged", path) as process:
        assert [said_by(process), said_by(process)] == [
            f"write: the datastore {path} is read-only: make its file system, the file and its directory writable",
            "read: done",
        ]


def test_a_file_that_may_grow_no_more_keeps_what_it_had(path: Path) -> None:
    with child("limited", path) as process:
        assert said_by(process).startswith(f"the datastore {path} cannot be read or written (SQLITE_IOERR_WRITE): look")
        assert said_by(process) == "['before']"
        assert said_by(process) == "50"


def test_a_process_without_a_descriptor_left_is_told_so(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    with no_descriptor_left():
        assert said_of_a_read(store) == (
            f"the datastore {path} cannot be opened, though this user may: look for a limit of open files (ulimit -n)"
        )
    assert names(store) == ["a"]


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.root
def test_a_full_disk_keeps_what_it_had_and_a_read_only_one_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "datastore.sqlite"
    with child("on_a_small_disk", tmp_path, under=("unshare", "--mount")) as process:
        assert [said_by(process) for _ in range(5)] == [
            f"the datastore {path} has no room: free space on its file system",
            "['before']",
            "50",
            f"write: the datastore {path} is read-only: make its file system, the file and its directory writable",
            "read: done",
        ]


def test_a_locked_file_names_who_locked_it(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    with child("hold", path) as process:
        assert said_by(process) == "held"
        for said in (said_of_a_read(store), said_of_a_write(store)):
            assert said.startswith(f"the datastore {path} has been locked by process {process.pid} (python")
            assert said.endswith(" for more than 0.1 s: let that process finish, or end it, and try again")
    assert names(store) == ["a"]


def test_a_reader_who_never_ends_makes_a_write_fail_whole(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    with child("hold_a_read", path) as process:
        assert said_by(process) == "held"
        assert f"has been locked by process {process.pid}" in said_of_a_write(store)
        assert names(store) == ["a"]
    run(store.create(pool("b")))
    assert names(store) == ["a", "b"]


def test_a_file_that_is_no_database_is_left_alone(path: Path, store: SqliteStore) -> None:
    path.write_bytes(b"my diary " * 1000)
    expected = (
        f"the datastore {path} is not a datastore, or is damaged: put a backup of the file in its place, "
        "or set DATASTORE_PATH to another file"
    )
    assert said_of_a_read(store) == said_of_a_write(store) == expected
    assert path.read_bytes() == b"my diary " * 1000


def test_a_database_of_another_program_is_left_alone(path: Path, store: SqliteStore) -> None:
    raw(path, "CREATE TABLE theirs (x)")
    expected = (
        f"the datastore {path} is a database of another program: leave it alone, or set DATASTORE_PATH to another file"
    )
    assert said_of_a_read(store) == said_of_a_write(store) == expected


def test_a_file_of_a_newer_version_is_left_alone_even_in_the_middle_of_use(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    raw(path, "PRAGMA user_version = 2")
    expected = (
        f"the datastore {path} was written by a newer version (schema 2, this program knows 1): upgrade this program"
    )
    for client in (store, SqliteStore(str(path))):
        assert said_of_a_read(client) == said_of_a_write(client) == expected


def damaged(path: Path) -> str:
    return f"the datastore {path} is damaged: stop the programs that use it and put a backup of the file in its place"


def test_a_damaged_page_is_reported_and_a_backup_in_its_place_is_used(path: Path, store: SqliteStore) -> None:
    for number in range(100):
        run(store.create(pool(f"p{number}", "x" * 500)))
    backup = path.with_suffix(".backup")
    shutil.copy(path, backup)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    anew = SqliteStore(str(path))
    assert said_of_a_read(anew) == said_of_a_write(anew) == damaged(path)
    backup.rename(path)
    assert len(names(anew)) == len(names(store)) == 100


def test_a_document_that_cannot_be_read_is_damage_too(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    for document in ("{", "[]", "{}"):
        raw(path, f"UPDATE change SET document = '{document}'")
        assert said_of_a_read(store) == damaged(path)
        with pytest.raises(Unavailable):
            run(store.delete(pool_key("a")))


def test_a_file_that_was_emptied_in_use_is_not_taken_for_a_new_one(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    os.truncate(path, 0)
    assert said_of_a_read(store) == said_of_a_write(store) == said_of_a_read(store) == damaged(path)


def test_a_file_that_was_removed_in_use_is_not_taken_for_an_empty_one(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    away = path.rename(path.with_suffix(".away"))
    expected = (
        f"the datastore {path} was removed while it was in use: put it back, "
        "or restart this program to begin with an empty one"
    )
    assert said_of_a_read(store) == said_of_a_write(store) == said_of_a_read(store) == expected
    assert not path.exists()
    away.rename(path)
    assert names(store) == ["a"]


def test_revisions_of_a_file_that_was_removed_do_not_come_again(path: Path, store: SqliteStore) -> None:
    first_life = run(store.create(pool("a")))
    for file in path.parent.iterdir():
        file.unlink()
    anew = SqliteStore(str(path))
    run(anew.create(pool("a")))
    with pytest.raises(Conflict):
        run(anew.update(replace(first_life, uid="")))


def test_a_name_that_is_not_text_is_the_users_mistake(store: SqliteStore) -> None:
    run(store.create(pool("a")))
    for attempt in (store.get(Key("IPPool", "\udcff")), store.create(pool("\udcff"))):
        with pytest.raises(Rejected, match="is not valid Unicode"):
            run(attempt)
    assert names(store) == ["a"]
