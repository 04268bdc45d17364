"""Commands read and write the embedded datastore without an event loop, and without loading one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from datastore.plain import run
from datastore.resource import Key
from datastore.sqlite import SqliteStore
from datastore.store import Missing


async def _answer() -> int:
    return 42


def test_a_coroutine_that_does_not_wait_runs_to_its_end() -> None:
    assert run(_answer()) == 42


def test_an_error_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        run(SqliteStore(str(tmp_path / "datastore.sqlite")).get(Key("Node", "n")))


def test_a_coroutine_that_waits_is_refused_by_name() -> None:
    async def waits_for_the_world() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"waits_for_the_world .* waits for something: it needs an event loop"):
        run(waits_for_the_world())


def test_a_command_loads_no_event_loop(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from datastore.plain import run
        from datastore.resource import Resource
        from datastore.sqlite import SqliteStore
        store = SqliteStore(sys.argv[1])
        run(store.create(Resource("Node", "n")))
        assert len(run(store.list("Node")).items) == 1
        loaded = {"asyncio", "inotify_simple", "logging", "pathlib", "uuid", "concurrent.futures"} & set(sys.modules)
        assert not loaded, loaded
    """
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, tmp_path / "datastore.sqlite"], check=True, cwd=root)
