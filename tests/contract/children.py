"""What other processes do to a datastore's file: ``python -m tests.contract.children NAME ARGS``."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from datastore.plain import run
from datastore.resource import Key, Resource
from datastore.sqlite import SqliteStore
from datastore.store import Conflict, Create, Put, Unavailable, Update
from tests.contract.words import PATIENCE_S

ROOT = Path(__file__).parents[2]
NOBODY = 65534
TRIPLE = ("a", "b", "c")


@contextmanager
def child(name: str, *args: object, under: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Started, and gone when the block ends. ``under``: words of a command that starts it."""
    command = [*under, sys.executable, "-m", "tests.contract.children", name, *map(str, args)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    """Its next line; "" if it has none for too long, and then it is gone."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline().rstrip("\n")
    finally:
        watchdog.cancel()


def _say(what: object) -> None:
    print(what, flush=True)


def make(path: str, number: str) -> None:
    """The file, if it is not there yet, and one object in it."""
    run(SqliteStore(path).create(Resource("IPPool", f"made{number}")))
    _say("made")


def count_up(path: str, name: str, times: str) -> None:
    """Adds one to a pool's value, ``times`` times, by compare-and-swap."""
    store = SqliteStore(path)
    for _ in range(int(times)):
        while True:
            seen = run(store.get(Key("IPPool", name)))
            try:
                run(store.update(replace(seen, spec={"value": seen.spec["value"] + 1})))
            except Conflict:
                continue
            break
    _say("done")


def storm(path: str) -> None:
    """Writes ever higher numbers to three objects in one call, and says each number that was acknowledged."""
    store = SqliteStore(path)
    seen = [run(store.get(Key("IPPool", name))) for name in TRIPLE]
    for number in range(1 + int(seen[0].spec["value"]), 1_000_000):
        written = run(store.write_many([Update(replace(each, spec={"value": number})) for each in seen]))
        seen = [each for each in written if isinstance(each, Resource)]
        _say(number)


def tell(path: str, times: str) -> None:
    """Updates a pool when told to by a line, and says when it was committed."""
    store = SqliteStore(path)
    last = run(store.create(Resource("IPPool", "told", spec={"value": 0})))
    for number in range(1, int(times) + 1):
        sys.stdin.readline()
        last = run(store.update(replace(last, spec={"value": number})))
        _say(time.monotonic())


def hold(path: str) -> None:
    """Locks the file against everybody, until its input ends."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    _say("held")
    sys.stdin.read()


def hold_a_read(path: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM object").fetchone()
    _say("held")
    sys.stdin.read()


def die_while_writing(path: str) -> None:
    """Changes every document, has half of that written into the file already, and is killed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = PERSIST")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE change SET document = 'half-written'")
    os.kill(os.getpid(), signal.SIGKILL)


def unprivileged(path: str) -> None:
    """As a user who is not root: says what a write and a read meet."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    _try_both(path)


def limited(path: str) -> None:
    """Writes until files may grow no more, and then once the limit is gone."""
    store = SqliteStore(path)
    run(store.create(Resource("IPPool", "before", spec={"value": 0})))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    large = [Create(Resource("IPPool", f"large{number}", spec={"value": "x" * 10_000})) for number in range(50)]
    try:
        run(store.write_many(large))
        _say("written")
    except Unavailable as error:
        _say(error)
    _say([item.name for item in run(store.list("IPPool")).items])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    _say(len([each for each in run(store.write_many(large)) if isinstance(each, Resource)]))


def on_a_small_disk(folder: str) -> None:
    """In a mount namespace of its own, which takes what is mounted with it: a full disk, and one that is read-only."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], check=True)
    path = f"{folder}/datastore.sqlite"
    store = SqliteStore(path)
    run(store.create(Resource("IPPool", "before")))
    large = [Create(Resource("IPPool", f"large{number}", spec={"value": "x" * 10_000})) for number in range(50)]
    try:
        run(store.write_many(large))
        _say("written")
    except Unavailable as error:
        _say(error)
    _say([item.name for item in run(store.list("IPPool")).items])
    subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
    _say(len([each for each in run(store.write_many(large)) if isinstance(each, Resource)]))
    run(store.close())
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    _try_both(path)


def watch(path: str) -> None:
    """Says each pool that is written."""
    asyncio.run(_watch(SqliteStore(path)))


async def _watch(store: SqliteStore) -> None:
    async for change in store.watch("IPPool", since=(await store.list("IPPool")).revision):
        _say(change.resource.name if isinstance(change, Put) else "stands")


def _try_both(path: str) -> None:
    store = SqliteStore(path)
    for name, attempt in (("write", store.create(Resource("IPPool", "new"))), ("read", store.list("IPPool"))):
        try:
            run(attempt)
            _say(f"{name}: done")
        except Unavailable as error:
            _say(f"{name}: {error}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
