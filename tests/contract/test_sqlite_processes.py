"""The embedded datastore under many processes, and under processes that die."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, closing, contextmanager
from pathlib import Path
from random import Random

import pytest

from datastore.plain import run
from datastore.resource import Key
from datastore.sqlite import SqliteStore
from datastore.store import Compacted, Put, Unavailable
from tests.contract.children import TRIPLE, child, said_by
from tests.contract.words import PATIENCE_S, first_of, pool, pool_key, take


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "datastore.sqlite"


@pytest.fixture
def store(path: Path) -> SqliteStore:
    return SqliteStore(str(path))


def value(store: SqliteStore, name: str) -> object:
    return run(store.get(pool_key(name))).spec["value"]


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def test_every_increment_of_four_processes_arrives(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("counter", 0)))
    with ExitStack() as stack:
        children = [stack.enter_context(child("count_up", path, "counter", 25)) for _ in range(4)]
        assert [said_by(process) for process in children] == ["done"] * 4
    assert value(store, "counter") == 100


def test_four_processes_that_make_the_file_at_once_share_it(path: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child("make", path, number)) for number in range(4)]
        assert [said_by(process) for process in children] == ["made"] * 4
    names = [item.name for item in run(SqliteStore(str(path)).list("IPPool")).items]
    assert names == ["made0", "made1", "made2", "made3"]


def test_a_writer_killed_at_any_moment_leaves_nothing_half_written_and_stops_nobody(
    path: Path, store: SqliteStore
) -> None:
    """Invariant 10, for the datastore: ten storms, each killed after some milliseconds."""
    random = Random(7)
    for name in TRIPLE:
        run(store.create(pool(name, 0)))
    for _ in range(10):
        with child("storm", path) as process:
            assert said_by(process).isdigit()
            time.sleep(random.uniform(0, 0.02))  # where in the storm it dies is left to chance
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            acknowledged = [int(line) for line in process.stdout.read().splitlines()] or [0]
        found = [value(store, name) for name in TRIPLE]
        assert found == [found[0]] * 3
        assert isinstance(found[0], int) and found[0] >= acknowledged[-1]
    assert integrity(path) == "ok"


def test_what_a_killed_writer_had_written_half_is_rolled_back(path: Path, store: SqliteStore) -> None:
    for number in range(200):
        run(store.create(pool(f"p{number:03}", "x" * 1000)))
    before = run(store.list("IPPool"))
    run(store.close())
    with child("die_while_writing", path) as process:
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    assert b"half-written" in path.read_bytes()
    assert run(store.list("IPPool")) == before
    run(store.create(pool("after")))
    assert b"half-written" not in path.read_bytes()
    assert integrity(path) == "ok"


def test_a_writer_waits_for_a_lock_that_is_given_back(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    with child("hold", path) as process:
        assert said_by(process) == "held"
        threading.Timer(0.2, process.kill).start()
        run(store.create(pool("b")))
        assert [item.name for item in run(store.list("IPPool")).items] == ["a", "b"]


def test_a_writer_lets_those_go_first_who_wait_already(path: Path) -> None:
    """SQLite would let it in; whoever holds the queue would then have waited in vain."""
    store = SqliteStore(str(path), patience_s=0.1)
    run(store.create(pool("a")))
    with queue_of(path) as queue:
        fcntl.flock(queue, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="has been locked by another process for more than "):
            run(store.create(pool("b")))
        assert [item.name for item in run(store.list("IPPool")).items] == ["a"]
    run(store.create(pool("b")))


def test_a_writer_who_waits_holds_the_queue_until_it_is_let_in(path: Path, store: SqliteStore) -> None:
    run(store.create(pool("a")))
    with ThreadPoolExecutor(1) as executor, queue_of(path) as queue:
        with child("hold", path) as process:
            assert said_by(process) == "held"
            writing = executor.submit(lambda: run(store.create(pool("b"))))
            while not is_taken(queue):
                assert not writing.done()
        assert writing.result(PATIENCE_S).name == "b"
        assert not is_taken(queue)


@contextmanager
def queue_of(path: Path) -> Iterator[int]:
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_taken(queue: int) -> bool:
    try:
        fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(queue, fcntl.LOCK_UN)
    return False


async def test_the_event_loop_runs_on_while_the_file_is_locked(path: Path) -> None:
    with ThreadPoolExecutor(1, "datastore") as executor:
        store = SqliteStore(str(path), executor=executor, patience_s=0.3)
        await store.create(pool("a"))
        with child("hold", path) as process:
            assert said_by(process) == "held"
            ticks = 0
            writing = asyncio.ensure_future(store.create(pool("b")))
            while not writing.done():
                await asyncio.sleep(0.01)
                ticks += 1
            with pytest.raises(Unavailable, match="has been locked by process"):
                await writing
        await store.close()
    assert ticks >= 5


async def test_a_commit_wakes_the_watches_of_another_process_long_before_the_next_look(path: Path) -> None:
    store = SqliteStore(str(path))
    start = await store.list("IPPool")
    delays = []
    async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
        assert await first_of(watch) == "mark"
        with child("tell", path, 15) as process:
            assert process.stdin is not None
            for number in range(16):
                async with asyncio.timeout(PATIENCE_S):
                    while not isinstance(change := await anext(watch), Put):
                        pass
                if number:
                    heard = time.monotonic()
                    delays.append(heard - float(said_by(process)))
                assert change.resource.spec == {"value": number}
                if number < 15:
                    process.stdin.write("\n")
                    process.stdin.flush()
    await store.close()
    assert sorted(delays)[len(delays) // 2] < 0.1


async def test_a_change_that_nobody_rings_for_is_found_by_the_look_once_a_second(path: Path) -> None:
    """Waits for that real second: another program, or a writer killed between commit and ring."""
    store = SqliteStore(str(path))
    await store.create(pool("a", 1))
    async with aclosing(store.watch("IPPool", since=(await store.list("IPPool")).revision)) as watch:
        assert await first_of(watch) == "mark"
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(
                "INSERT INTO change SELECT revision + 1, kind, namespace, name, node, '', document FROM change"
            )
        async with asyncio.timeout(PATIENCE_S):
            while not isinstance(change := await anext(watch), Put):
                pass
    await store.close()
    assert change.resource.key == Key("IPPool", "a")


@pytest.mark.root
def test_without_inotify_a_watch_still_hears_of_every_change(path: Path, store: SqliteStore) -> None:
    """Waits for the look once a second. In a user namespace of its own, so that nobody else is without."""
    none_left = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    run(store.create(pool("a")))
    with child("watch", path, under=("unshare", "--user", "--map-root-user", "sh", "-c", none_left, "sh")) as process:
        assert said_by(process) == "stands"
        run(store.create(pool("b")))
        run(store.create(pool("c")))
        said = [said_by(process)]
        while said[-1] not in ("c", ""):
            said.append(said_by(process))
    assert [name for name in said if name != "stands"] == ["b", "c"]


async def test_a_watch_sees_what_two_processes_write_once_and_in_order(path: Path) -> None:
    store = SqliteStore(str(path))
    await store.create(pool("counter", 0))
    async with aclosing(store.watch("IPPool", since=(await store.list("IPPool")).revision)) as watch:
        with child("count_up", path, "counter", 100), child("count_up", path, "counter", 100):
            expected = [f"put IPPool(counter) {number}" for number in range(1, 201)]
            assert await take(watch, 200) == expected
    await store.close()


async def test_a_watch_says_when_the_file_is_lost_and_a_new_one_goes_on_where_it_was(path: Path) -> None:
    store = SqliteStore(str(path))
    await store.create(pool("a"))
    since = (await store.list("IPPool")).revision
    watches = [store.watch(kind, since=since) for kind in ("IPPool", "Node")]
    assert [await first_of(watch) for watch in watches] == ["mark", "mark"]
    away = move(path, path.with_suffix(".away"))
    for watch in watches:
        with pytest.raises(Unavailable, match="was removed while it was in use"):
            await take(watch, 1)
    move(away, path)
    await store.create(pool("b"))
    async with aclosing(store.watch("IPPool", since=since)) as again:
        assert await take(again, 1) == ["put IPPool(b) 1"]
    await store.close()


async def test_a_watch_says_when_an_older_backup_took_the_files_place(path: Path) -> None:
    store = SqliteStore(str(path))
    await store.create(pool("a"))
    backup = Path(shutil.copy(path, path.with_suffix(".backup")))
    await store.create(pool("b"))
    since = (await store.list("IPPool")).revision
    async with aclosing(store.watch("IPPool", since=since)) as watch:
        assert await first_of(watch) == "mark"
        move(backup, path)
        with pytest.raises(Compacted):
            await take(watch, 1)
    assert [item.name for item in (await store.list("IPPool")).items] == ["a"]
    await store.close()


def move(path: Path, to: Path) -> Path:
    return path.rename(to)


async def test_watches_that_share_a_client_share_one_inotify_instance(path: Path) -> None:
    """There are 128 of them for a user on all of a machine's nodes together."""

    def instances() -> int:
        targets = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sum("inotify" in str(target) for target in targets)

    store = SqliteStore(str(path))
    before = instances()
    watches = [store.watch(kind, since=(await store.list(kind)).revision) for kind in ("IPPool", "Node", "BGPPeer")]
    assert [await first_of(watch) for watch in watches] == ["mark"] * 3
    await asyncio.sleep(0)
    assert instances() == before + 1
    for watch in watches:
        await watch.aclose()
    await asyncio.sleep(0)
    assert instances() == before
    await store.close()
