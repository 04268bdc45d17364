"""The speaker without datastore and without a cluster: one file says what it does, the main table gets what it learns.

    file ─read─▶ SpeakerConfig ─▶ Speaker ⇄ neighbours
    control ─────▶ Additions ─┘        └─best routes─▶ MainTable ─▶ reconciler ─▶ kernel

SIGHUP applies the file as it is then; one that cannot be read changes nothing and is said so. What is announced,
withdrawn and shut down by command holds until another command, over SIGHUPs too; a neighbour that was removed by
command is there again when the file is applied. SIGTERM leaves everything as it is: neighbours keep our routes, the
kernel the learned ones, and the next process sweeps what nobody announces any more.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from bgp import bird_socket, control, looking_glass, metrics, metrics_server
from bgp.bfd.watch import SOCKET_NAME as BFD_SOCKET_NAME
from bgp.bfd_link import BfdLink
from bgp.control import Commands, Request
from bgp.export import Announcement, Exports
from bgp.learned import Delta, Network
from bgp.neighbour import Mesh
from bgp.ownership import Ownership
from bgp.remembered import this_boot
from bgp.report import report
from bgp.section import BadConfig
from bgp.speaker import PastLife, Speaker, Wanted
from bgp.speaker_config import SpeakerConfig, originated, read
from bgp.status import SpeakerStatus
from bgp.transport import TcpNetwork
from felix.fib.journal import FileJournal
from felix.fib.mirror import Surroundings
from felix.fib.netlink import NetlinkKernel
from felix.fib.plan import InSync
from felix.fib.reconciler import Reconciler, Wish
from felix.fib.tunnel import VXLAN_DEVICES
from felix.main_table import MainTable

log = logging.getLogger(__name__)

_TUNNELS = frozenset({"tunl0", *VXLAN_DEVICES})


@dataclass(slots=True)
class Additions:
    """What commands have changed since the start. ``removed`` are neighbours by name."""

    announced: dict[Network, Announcement] = field(default_factory=dict)
    withdrawn: set[Network] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)

    def to(self, exports: Exports) -> Exports:
        kept = {dst: told for dst, told in exports.items() if dst not in self.withdrawn}
        return {**kept, **self.announced}


def load(path: Path) -> SpeakerConfig:
    """Raises BadConfig."""
    try:
        return read(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"the file: {error}") from None


class SpeakerAlone:
    def __init__(self, path: Path, config: SpeakerConfig) -> None:
        self._path = path
        self._config = config
        self._additions = Additions()
        self._table = MainTable()
        self._surroundings = Surroundings()
        self._reconciler: Reconciler | None = None
        self._started_wall = self._configured_wall = datetime.now()
        self.speaker = Speaker(
            TcpNetwork(),
            loop=asyncio.get_running_loop(),
            wall=datetime.now,
            on_routes=self._learn,
            on_in_sync=self._write,
            past=past_life(Path(config.state_folder)),
            recovery_time_s=config.restart_time_s,
            most_next_hops=config.merge_paths,
        )

        self._bfd = BfdLink(self.speaker.hear_bfd, Path(config.run_folder) / BFD_SOCKET_NAME)

    async def run(self) -> None:
        """Until cancelled. Raises OSError, KernelUnavailable and JournalUnavailable where it cannot begin."""
        run_folder = Path(self._config.run_folder)
        async with AsyncExitStack() as sockets:
            for version, name in ((4, "bird.ctl"), (6, "bird6.ctl")):
                status = partial(self._status, version)
                await sockets.enter_async_context(bird_socket.serving(run_folder / name, status))
            await sockets.enter_async_context(control.serving(run_folder / control.SOCKET_NAME, self.commands()))
            self._apply()
            async with asyncio.TaskGroup() as tasks:
                if self._config.writes_routes:
                    self._reconciler = await self._open_table()
                    tasks.create_task(self._reconciler.run(), name="main table")
                tasks.create_task(self.speaker.run(), name="speaker")
                tasks.create_task(self._bfd.run(), name="bfd")
                if self._config.metrics_port:
                    serving_metrics = metrics_server.serve(self._metrics, self._config.metrics_port)
                    tasks.create_task(serving_metrics, name="metrics")
                log.info("bgp.ready neighbours=%d file=%s", len(self._config.neighbours), self._path)

    def reload(self) -> None:
        """The file as it is now. One that cannot be read changes nothing. Raises BadConfig."""
        self._config = load(self._path)
        self._configured_wall = datetime.now()
        self._additions.removed.clear()
        self._apply()
        log.info("file.applied neighbours=%d", len(self._config.neighbours))

    def reload_or_say(self) -> None:
        try:
            self.reload()
        except BadConfig as error:
            log.error("file.rejected what is in force stays: %s", error)

    # What should be.

    def _apply(self) -> None:
        config = self._config
        exports = self._additions.to(config.originated)
        wanted = Wanted(
            router_id=config.router_id,
            neighbours=tuple(each for each in config.neighbours if each.name not in self._additions.removed),
            exports=exports,
            are_exports_known=True,
            is_settled=True,
            listen=config.listen,
            policy=config.policy,
        )
        self.speaker.judge_by(Ownership(own_addresses=self._own_addresses()))
        self.speaker.apply(wanted)
        self._bfd.watch(self.speaker.watches())
        self._write()

    def _own_addresses(self) -> frozenset[Any]:
        return frozenset(self._config.addresses) | {each.address for each in self._surroundings.addresses}

    # What was learned.

    async def _open_table(self) -> Reconciler:
        journal = FileJournal(Path(self._config.state_folder) / "speaker-routes")
        return Reconciler(await NetlinkKernel.open(), journal, on_surroundings=self._see)

    def _learn(self, delta: Delta) -> None:
        self._table.take(delta)
        self._write()

    def _see(self, surroundings: Surroundings) -> None:
        are_other_addresses = surroundings.addresses != self._surroundings.addresses
        self._surroundings = surroundings
        self._table.see(surroundings)
        if are_other_addresses:
            self.speaker.judge_by(Ownership(own_addresses=self._own_addresses()))
        self.speaker.reach_by(self._table.reaches, is_near=self._table.is_near)
        self._write()

    def _write(self) -> None:
        if self._reconciler is not None:
            self._reconciler.ask(self._wish)

    def _wish(self) -> Wish:
        """Tunnels of a cluster that this machine belonged to are none of the speaker's business."""
        has_tunnels = not _TUNNELS.isdisjoint(self._surroundings.links)
        in_sync = InSync(pods=True, blocks=True, remote=self.speaker.recovery.is_over, tunnels=not has_tunnels)
        return Wish(self._table.desired(self.speaker.exports), frozenset(), in_sync)

    # What can be asked and told.

    def commands(self) -> Commands:
        return {
            **looking_glass.commands(self.speaker, lambda: looking_glass.status(self.speaker)),
            "announce": self._announce,
            "withdraw": self._withdraw,
            "shutdown": self._shut_down,
            "enable": self._enable,
            "remove": self._remove,
            "reload": self._reload,
        }

    def _announce(self, asked: Request) -> int:
        routes = dict(originated(raw, f"prefixes[{at}]") for at, raw in enumerate(_prefixes(asked)))
        self._additions.announced |= routes
        self._additions.withdrawn -= routes.keys()
        self._apply()
        return len(routes)

    def _withdraw(self, asked: Request) -> int:
        dsts = {originated(raw, f"prefixes[{at}]")[0] for at, raw in enumerate(_prefixes(asked))}
        if unknown := dsts - self.speaker.exports.keys():
            raise ValueError(f"not announced: {', '.join(sorted(map(str, unknown)))}")
        self._additions.withdrawn |= dsts & self._config.originated.keys()
        for dst in dsts:
            self._additions.announced.pop(dst, None)
        self._apply()
        return len(dsts)

    def _shut_down(self, asked: Request) -> str:
        peering = looking_glass.find(self.speaker, str(asked.get("peer", "")))
        peering.shut(str(asked.get("text", "")))
        return peering.neighbour.name

    def _enable(self, asked: Request) -> str:
        peering = looking_glass.find(self.speaker, str(asked.get("peer", "")))
        peering.open_again()
        return peering.neighbour.name

    def _remove(self, asked: Request) -> str:
        name = looking_glass.find(self.speaker, str(asked.get("peer", ""))).neighbour.name
        self._additions.removed.add(name)
        self._apply()
        return name

    def _reload(self, _: Request) -> int:
        self.reload()
        return len(self._config.neighbours)

    def _metrics(self) -> str:
        return metrics.text(looking_glass.status(self.speaker))

    def _status(self, version: int) -> SpeakerStatus:
        return report(
            self.speaker,
            Mesh(self._config.neighbours),
            version=version,
            now_wall=datetime.now(),
            started_wall=self._started_wall,
            configured_wall=self._configured_wall,
            waiting="",
            recovery_time_s=self._config.restart_time_s,
        )


def _prefixes(asked: Mapping[str, Any]) -> list[Any]:
    found = asked.get("prefixes")
    if not isinstance(found, list) or not found:
        raise ValueError("prefixes: must be a list of them")
    return found


def past_life(state_folder: Path) -> PastLife:
    """Whether a speaker ran here before, and in this boot of the machine; from now on one did. Raises OSError."""
    note, boot = state_folder / "speaker-boot", this_boot()
    before = note.read_text() if note.exists() else ""
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(boot)
    return PastLife(has_restarted=bool(before), keeps_forwarding=before == boot)


async def run(path: Path, config: SpeakerConfig) -> None:
    """Until SIGTERM or SIGINT."""
    setproctitle("bird")
    loop = asyncio.get_running_loop()
    alone = SpeakerAlone(path, config)
    running = asyncio.ensure_future(alone.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGHUP, alone.reload_or_say)
    with suppress(asyncio.CancelledError):
        await running
