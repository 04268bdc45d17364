"""Running a Python function inside a node or a pod: in a forked child that enters its namespaces first.

What the function returns comes back through a pipe as JSON. Nothing is installed there and nothing is executed, so a
probe costs a few milliseconds and works on a machine that has no ping and no tcpdump.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab import namespaces
from lab.namespaces import Holder

Ready = Callable[[], None]
LongWork = Callable[[Ready], Any]
"""Calls what it is given once it is ready for what it waits for, and returns after SIGTERM."""


class WorkFailed(Exception):
    """The function raised inside; the message is its traceback."""


class Running:
    """A function at work inside. ``stop`` asks it to end (SIGTERM); ``result`` waits for what it returns."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid, self._pipe = pid, pipe

    def wait_ready(self) -> Running:
        """Until the work says that it is ready. Raises WorkFailed when it ends instead."""
        if os.read(self._pipe, 1) != b"\n":
            self.result()
        return self

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)

    def result(self, *, patience_s: float = 60.0) -> Any:
        """Raises WorkFailed, also when it has not ended in time; then it is killed."""
        text = self._read(patience_s)
        os.close(self._pipe)
        os.waitpid(self._pid, 0)
        outcome = json.loads(text) if text else {"error": "it ended without a result"}
        if "error" in outcome:
            raise WorkFailed(outcome["error"])
        return outcome["result"]

    def _read(self, patience_s: float) -> bytes:
        text = b""
        while select.select([self._pipe], [], [], patience_s)[0]:
            some = os.read(self._pipe, 1 << 16)
            if not some:
                return text
            text += some
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        return json.dumps({"error": f"not done after {patience_s:.0f} s"}).encode()


def start(holder: Holder, work: LongWork, *, netns: Path | None = None) -> Running:
    """Begin ``work`` on a node, or in the pod whose namespace is at ``netns`` there; returns once it is ready."""
    return _start(partial(namespaces.enter, holder, netns=netns), work)


def start_in_network(path: Path, work: LongWork) -> Running:
    """As :func:`start`, where there is nothing but a network namespace."""
    return _start(partial(namespaces.enter_netns, path), work)


def _start(enter: Callable[[], None], work: LongWork) -> Running:
    return _fork(enter, lambda writer: work(lambda: _say_ready(writer))).wait_ready()


def call(holder: Holder, work: Callable[[], Any], *, netns: Path | None = None, patience_s: float = 60.0) -> Any:
    """What ``work`` returns inside. Raises WorkFailed."""
    return _fork(partial(namespaces.enter, holder, netns=netns), lambda _: work()).result(patience_s=patience_s)


def _say_ready(writer: int) -> None:
    os.write(writer, b"\n")


def _fork(enter: Callable[[], None], work: Callable[[int], Any]) -> Running:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(_outcome(enter, lambda: work(writer))).encode())
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    return Running(pid, reader)


def _outcome(enter: Callable[[], None], work: Callable[[], Any]) -> dict[str, Any]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        enter()
        return {"result": work()}
    except BaseException:  # noqa: BLE001  # it is told to who asked
        return {"error": traceback.format_exc()}
