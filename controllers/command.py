"""``calico-kube-controllers``: the controllers as a process. SIGTERM ends it, and lets another replica lead at once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controllers.collector import Collector
    from controllers.settings import Settings
    from datastore.store import Store

log = logging.getLogger("controllers")

USAGE = """usage: calico-kube-controllers [-version | -ready | -live]

Gives back what nodes and pods that are gone left behind: addresses, blocks, handles.

  -version   print the version
  -ready     exit status 0 when a running one follows the datastore
  -live      exit status 0 when a running one answers

Configured by the environment: ENABLED_CONTROLLERS, RECONCILER_PERIOD, LOG_LEVEL, PROMETHEUS_METRICS_PORT,
DATASTORE_TYPE and what goes with it; and by KubeControllersConfiguration(default).
"""


def main() -> int:
    words = [word.replace("--", "-", 1) for word in sys.argv[1:]]
    match words:
        case []:
            return _run()
        case ["-version" | "-v"]:
            from importlib.metadata import version

            sys.stdout.write(f"v{version('tortie')}\n")
            return 0
        case ["-ready"]:
            return _probe("readiness")
        case ["-live"]:
            return _probe("liveness")
        case _:
            sys.stderr.write(USAGE)
            return 0 if words in (["-h"], ["-help"]) else 2


def _run() -> int:
    from concurrent.futures import ThreadPoolExecutor

    from controllers import settings
    from datastore.connect import connect
    from datastore.store import Rejected

    try:
        wanted = settings.from_environment(os.environ)
        store = connect(os.environ, executor=ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore"))
    except (settings.BadEnvironment, Rejected) as error:
        return _fail(str(error))
    logging.basicConfig(
        level=wanted.log_level, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(_serve(store, wanted))
    return 0


async def _serve(store: Store, wanted: Settings) -> None:
    from controllers.collector import Collector
    from controllers.settings import IDLE

    for name in wanted.enabled:
        if name in IDLE:
            log.info("controller.idle %s: there is nothing for it to do in the datastores that there are", name)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    me = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{random.SystemRandom().getrandbits(64):016x}"
    collector = Collector(store, me, random=random.random, wall_ns=time.time_ns, period_s=wanted.period_s)
    running = asyncio.create_task(_parts(collector, store, wanted), name="controllers")
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await _leave(collector, store)


async def _parts(collector: Collector, store: Store, wanted: Settings) -> None:
    from controllers import http
    from controllers.configuration import keep

    async with asyncio.TaskGroup() as tasks:
        if "node" in wanted.enabled:
            tasks.create_task(collector.run(), name="node")
            tasks.create_task(keep(store, random=random.random), name="configuration")
        if wanted.metrics_port:
            serving = http.serve(wanted.metrics_port, metrics=collector.metrics, missing=collector.clerk.missing)
            tasks.create_task(serving, name="metrics")


async def _leave(collector: Collector, store: Store) -> None:
    from datastore.store import StoreError

    try:
        await collector.leader.resign()
        await store.close()
    except StoreError as error:
        log.info("lease.kept until it runs out: %s", error)


def _probe(what: str) -> int:
    from http.client import HTTPConnection, HTTPException

    from controllers import settings

    try:
        connection = HTTPConnection("localhost", settings.from_environment(os.environ).metrics_port, timeout=5)
        connection.request("GET", f"/{what}")
        answer = connection.getresponse()
        said = answer.read().decode()
    except (OSError, HTTPException, settings.BadEnvironment) as error:
        return _fail(f"calico-kube-controllers does not answer: {error}")
    return 0 if answer.status == 200 else _fail(f"calico-kube-controllers is not ready: {said.strip()}")


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1
