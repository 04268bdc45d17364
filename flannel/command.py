"""``flanneld``: flags, signals and the exit status.

SIGTERM and SIGINT end it with 0 and leave everything as it is. What the user must mend ends it with 1 and one line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version

from flannel import flags as flags_of
from flannel import klog
from flannel.flags import BadFlags, Flags, HelpAsked

log = logging.getLogger("flannel")


def main() -> int:
    try:
        read = flags_of.read(sys.argv[1:], os.environ)
    except HelpAsked:
        sys.stderr.write(flags_of.usage())
        return 0
    except BadFlags as error:
        sys.stderr.write(f"{error}\n{flags_of.usage()}")
        return 2
    if read.flags.version:
        sys.stderr.write(f"v{version('tortie')}\n")
        return 0
    klog.log_to_stderr(logging.DEBUG if read.flags.v not in ("", "0") else logging.INFO)
    for trouble in read.troubles:
        log.error(trouble)
    return asyncio.run(_run(read.flags))


async def _run(flags: Flags) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    running = asyncio.create_task(_serve(flags), name="flanneld")
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not running.done():
        log.info("shutdownHandler sent cancel signal...")
        running.cancel()
    with suppress(asyncio.CancelledError):
        return await running
    log.info("Exiting cleanly...")
    return 0


async def _serve(flags: Flags) -> int:
    """1 when it cannot start, or its lease was revoked."""
    from datastore.store import StoreError
    from felix.fib.journal import JournalUnavailable
    from felix.fib.kernel import KernelUnavailable
    from flannel.backends.backend import Refused
    from flannel.go_json import BadDocument
    from flannel.source import NoLease, Revoked

    told = (Refused, NoLease, BadDocument, StoreError, KernelUnavailable, JournalUnavailable, OSError)
    try:
        await _flanneld(flags)
    except* Revoked:
        log.error("Lease has been revoked. Shutting down daemon.")
    except* told as group:
        for error in leaves(group):
            log.error("%s", error)
    return 1


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def _flanneld(flags: Flags) -> None:
    from felix import notify
    from flannel import start
    from flannel.health import Health

    source, health = await start.source_of(flags, os.environ), Health()
    try:
        async with asyncio.TaskGroup() as tasks:
            if flags.healthz_port:
                tasks.create_task(health.serve(flags.healthz_ip, flags.healthz_port), name="health")
            health.daemon = agent = await start.agent_of(flags, source, on_ready=notify.ready)
            tasks.create_task(agent.run(), name="agent")
    finally:
        await source.close()
