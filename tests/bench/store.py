"""What the embedded datastore costs: ``.venv/bin/python -m tests.bench.store`` prints one table, in half a minute.

Two processes where it says so, on the disk of the current directory's temporary files; other load shows in the p99.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

from datastore.plain import run
from datastore.resource import Resource
from datastore.sqlite import SqliteStore
from datastore.store import Conflict, Create, Put, Update

FORK = get_context("fork")
Row = tuple[str, str]


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        path = str(Path(folder) / "datastore.sqlite")
        for what, figure in rows(path):
            print(f"{what:<58} {figure}", flush=True)


def rows(path: str) -> Iterator[Row]:
    yield from _starting(path)
    yield "one fdatasync of 4 KiB (the floor)", _spread(_timed(_sync_writer(path + ".raw"), 300))
    yield from _one_process(path)
    yield from _rivals(path)
    for has_thread in (False, True):
        yield from _notification(path, has_thread=has_thread)
    yield from _idle(path)


def block(number: int) -> Resource:
    spec = {
        "cidr": f"10.{number >> 8}.{number & 255}.0/26",
        "affinity": f"host:node{number % 500}",
        "allocations": [None] * 64,
        "unallocated": list(range(64)),
        "attributes": [],
        "sequenceNumber": 1,
        "sequenceNumberForAllocation": {},
        "deleted": False,
    }
    return Resource("IPAMBlock", f"10-{number >> 8}-{number & 255}-0-26", spec=spec)


def _starting(path: str) -> Iterator[Row]:
    bare = _start("pass")
    yield "start of Python alone", f"{bare:.1f} ms"
    for module in ("dataclasses", "datastore.store", "datastore.sqlite"):
        yield f"  and import {module}", f"+{_start(f'import {module}') - bare:.1f} ms"
    run(SqliteStore(path).list("IPPool"))
    yield "open an existing file and list nothing", _spread(_timed(lambda: run(SqliteStore(path).list("IPPool")), 100))


def _start(code: str) -> float:
    return min(_timed(lambda: subprocess.run([sys.executable, "-c", code], check=True), 20)) * 1e3


def _one_process(path: str) -> Iterator[Row]:
    store = SqliteStore(path)
    blocks = iter([block(number) for number in range(3000)])
    yield "create", _spread(_timed(lambda: run(store.create(next(blocks))), 500))
    last = run(store.get(block(7).key))

    def update() -> None:
        nonlocal last
        last = run(store.update(last))

    yield "update (compare-and-swap)", _spread(_timed(update, 500))
    yield "update that meets a conflict", _spread(_timed(lambda: _lose(store, last), 500))
    for size in (2, 50):
        many = _timed(partial(_create_many, store, blocks, size), 30)
        yield f"write_many of {size}", f"{_spread(many)}, {size / _median(many):,.0f} writes/s"
    yield "get", _spread(_timed(lambda: run(store.get(last.key)), 5000))
    listed = len(run(store.list("IPAMBlock")).items)
    yield f"list {listed:,} blocks", _spread(_timed(lambda: run(store.list("IPAMBlock")), 10))
    yield "update, 20,000 times (with what shortening the log costs)", _spread(_timed(update, 20_000))


def _lose(store: SqliteStore, last: Resource) -> None:
    (result,) = run(store.write_many([Update(replace(last, revision="1"))]))
    assert isinstance(result, Conflict)


def _create_many(store: SqliteStore, blocks: Iterator[Resource], size: int) -> None:
    run(store.write_many([Create(next(blocks)) for _ in range(size)]))


def _rivals(path: str) -> Iterator[Row]:
    queue: Queue[list[float]] = FORK.Queue()
    processes = [FORK.Process(target=_rival, args=(path, number, queue)) for number in range(4)]
    for process in processes:
        process.start()
    waits = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    counts = sorted(len(each) for each in waits)
    together = [wait for each in waits for wait in each]
    yield "4 processes that write without a pause, 2 s", f"{_spread(together)}, {sum(counts) / 2:,.0f} writes/s"
    yield "  each of them", ", ".join(map(str, counts)) + " writes"


def _rival(path: str, number: int, queue: Queue[list[float]]) -> None:
    store = SqliteStore(path)
    last = run(store.create(Resource("IPPool", f"rival{number}", spec={"cidr": "10.0.0.0/16"})))
    waits, end = [], time.monotonic() + 2
    while (begin := time.monotonic()) < end:
        last = run(store.update(last))
        waits.append(time.monotonic() - begin)
    queue.put(waits)


def _notification(path: str, *, has_thread: bool) -> Iterator[Row]:
    heard: Queue[list[float]] = FORK.Queue()
    stands = FORK.Event()
    listener = FORK.Process(target=_listener, args=(path, has_thread, stands, heard))
    listener.start()
    stands.wait()
    store = SqliteStore(path)
    last = run(store.create(Resource("Node", f"teller{has_thread}")))
    told = []
    for _ in range(300):
        time.sleep(0.005)
        last = run(store.update(last))
        told.append(time.monotonic())
    at = heard.get()
    listener.join()
    delays = [max(0.0, there - here) for here, there in zip(told, at, strict=True)]
    how = "a thread for the file" if has_thread else "no thread"
    yield f"commit to event in another process, {how}", _spread(delays)


def _listener(path: str, has_thread: bool, stands: object, heard: Queue[list[float]]) -> None:
    async def listen(store: SqliteStore) -> None:
        at: list[float] = []
        since = (await store.list("Node")).revision
        async with aclosing(store.watch("Node", since=since)) as watch:
            async for change in watch:
                stands.set()  # type: ignore[attr-defined]
                if isinstance(change, Put):
                    at.append(time.monotonic())
                if len(at) > 300:
                    break
        heard.put(at[1:])
        await store.close()

    with ThreadPoolExecutor(1, "datastore") as executor:
        asyncio.run(listen(SqliteStore(path, executor=executor if has_thread else None)))


def _idle(path: str) -> Iterator[Row]:
    async def idle() -> float:
        with ThreadPoolExecutor(1, "datastore") as executor:
            store = SqliteStore(path, executor=executor)
            tasks = [asyncio.create_task(_follow(store, f"Kind{number}")) for number in range(10)]
            await asyncio.sleep(0.5)
            before, begin = time.process_time(), time.monotonic()
            await asyncio.sleep(5)
            used = (time.process_time() - before) / (time.monotonic() - begin)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await store.close()
        return used

    yield "ten watches that hear nothing", f"{asyncio.run(idle()) * 100:.3f} % of a core"


async def _follow(store: SqliteStore, kind: str) -> None:
    async with aclosing(store.watch(kind, since=(await store.list(kind)).revision)) as watch:
        async for _ in watch:
            pass


def _sync_writer(path: str) -> Callable[[], None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    page = os.urandom(4096)

    def write() -> None:
        os.pwrite(descriptor, page, 0)
        os.fdatasync(descriptor)

    return write


def _timed(work: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return taken


def _median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = [ordered[0], ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]
    low, middle, high, most = (f"{second * 1e3:.3f}" for second in at)
    return f"min {low} median {middle} p99 {high} max {most} ms"


if __name__ == "__main__":
    main()
