"""What every test may use: an ``async def`` test runs in an event loop of its own."""

from __future__ import annotations

import asyncio
import inspect
import signal

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A run that is told to end still takes down what its tests made."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in wanted}))
    return True
