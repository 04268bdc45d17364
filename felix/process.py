"""felix as a process: opens the machine's kernel, files and sockets, and runs the agent between them.

SIGTERM ends it and leaves the dataplane as it is. SIGUSR1, which upstream's ``calicoctl node diags`` sends, writes what
monitoring would be told into the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from datastore.events import herald_of
from datastore.monitoring import exposition
from datastore.store import Store
from felix import conflicts, health_server, metrics, probes, process_usage
from felix.agent import Agent, World
from felix.bgp_client import UnixLine
from felix.cni import result
from felix.cni.server import CniServer
from felix.cni.spool import Spool
from felix.config import FelixConfig
from felix.fib.journal import FileJournal
from felix.fib.netlink import NetlinkKernel
from felix.fib.veth import Veths
from felix.firewall.machine import ThisMachine
from felix.first_seen import FILE, FirstSeen, RememberingKernel
from felix.flows import Flows
from felix.metrics_server import MetricsServer, place_of
from felix.mtu_file import MtuFile
from felix.startup import lifecycle, reading

log = logging.getLogger("felix")

Connect = Callable[[ThreadPoolExecutor], Store]


async def run(config: FelixConfig, connect: Connect, *, on_ready: Callable[[], None]) -> None:
    """Until SIGTERM. ``on_ready`` is called once, when the node can take pods and its own routes are in the kernel."""
    stopped, ready = asyncio.Event(), asyncio.Event()

    def announce() -> None:
        on_ready()
        ready.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    world = await _open(config, connect)
    scrapes = MetricsServer(lambda: _metrics(agent), on_trouble=lambda why: agent.metrics_trouble(why))
    agent = Agent(
        config.node,
        world,
        refresh_s=config.refresh_s,
        address_poll_s=config.address_poll_s,
        on_ready=announce,
        on_settings=lambda settings: scrapes.want(place_of(settings)),
    )
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, lambda: log.info("felix.metrics\n%s", _metrics(agent))
    )
    running = asyncio.create_task(_run(agent, scrapes, config, ready), name="felix")
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    log.info("felix.stopped routes are left as they are")


async def _open(config: FelixConfig, connect: Connect) -> World:
    store = connect(ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore"))
    return World(
        store=store,
        herald=herald_of(store),
        kernel=RememberingKernel(await NetlinkKernel.open(), FirstSeen(config.state_folder / FILE.name)),
        filters=ThisMachine(),
        journal=FileJournal(config.state_folder / "felix-routes"),
        veths=Veths(),
        flows=Flows(),
        spool=Spool(),
        speaker=UnixLine(),
        offer_mtu=MtuFile(config.state_folder / "mtu").offer,
        read_machine=reading.read,
        environ=os.environ,
        wall_ns=time.time_ns,
        random=random.Random(),
    )


def _metrics(agent: Agent) -> str:
    return exposition.text(metrics.families(agent.figures(process_usage.read())))


async def _run(agent: Agent, scrapes: MetricsServer, config: FelixConfig, ready: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        tell = partial(agent.notes.report, "conflicts")
        tasks.create_task(conflicts.watch(config.node, tell), name="conflicts")
        tasks.create_task(lifecycle.tell_when(ready, os.environ), name="condition")
        tasks.create_task(agent.run(), name="agent")
        tasks.create_task(_serve_cni(agent), name="cni")
        tasks.create_task(scrapes.run(), name="scrapes")
        if config.health_port:
            asked = health_server.Asked(agent.health, agent.why, agent.notes.lines, probes.bird_ready)
            serving = health_server.run(asked, config.health_host, config.health_port)
            tasks.create_task(serving, name="health")


async def _serve_cni(agent: Agent) -> None:
    await agent.can_take_pods()
    await CniServer(agent.commands.handle, result.of_error).run()
