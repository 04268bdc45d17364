"""What holds for every test: ``async def`` runs in an event loop of its own, one marked ``uml`` only with ipip, and one
that makes a cluster of the machine is marked ``alone``.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
from pathlib import Path

import pytest

from lab.machine import kernel
from tests.etcd_server import remove_shared_server


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end still takes down what its tests made."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


ALONE = ("lab", "uml", "cluster")
"""Folders whose tests count what the machine has, or how long it takes for something."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.path.relative_to(Path(__file__).parent).parts[0] in ALONE:
        item.add_marker("alone")


@functools.cache
def _has_ipip() -> bool:
    return kernel.has_ipip()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture of the test is made."""
    if item.get_closest_marker("uml") and not _has_ipip():
        pytest.skip("this kernel has no ipip, or we are not root: tests/uml/run pytest -m uml boots one that has")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True


def pytest_sessionfinish() -> None:
    """In every process that ran tests."""
    remove_shared_server()
