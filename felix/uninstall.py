"""``calico-node -uninstall``: leaves a node as it was before ours came to it.

An agent cannot tell its uninstallation from a restart, so this is a command of its own, run once felix has ended; it
refuses while felix answers. What it takes away is found as felix finds it after a restart: by reading the kernel and
judging what is ours (:mod:`felix.fib.owner`), so that nothing foreign goes. What it puts back is what the installer and
:mod:`felix.first_seen` kept. Pods that still run lose their network: theirs is the one that goes.

The order: first nobody makes another pod through us, then what carries packets, then what protected it, then the notes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from cni_plugin import install
from datastore.store import StoreError
from felix.cni.server import SOCKET_PATH
from felix.fib.journal import FileJournal, JournalUnavailable
from felix.fib.kernel import Kernel, KernelUnavailable
from felix.fib.model import Actual, Desired, Op, WriteSysctl
from felix.fib.netlink import NetlinkKernel
from felix.fib.owner import Ownership
from felix.fib.plan import ALL_IN_SYNC, plan
from felix.fib.tunnel import RemoveTunnel
from felix.firewall.machine import ThisMachine
from felix.firewall.model import FirewallUnavailable
from felix.first_seen import SYSCTLS, FirstSeen
from felix.startup import hands_off, lifecycle

STATE = Path("/var/lib/calico")
RUN = Path("/run/calico")
_WRITTEN = ("nodename", "mtu", "felix-routes", "bgp.json", "first-seen.json", "shutdownTS")
_LAST_PASSES = 3
"""A tunnel goes in the pass after the routes that use it."""


class StillRuns(Exception):
    """felix answers on this node."""


async def uninstall(environ: Mapping[str, str], *, state: Path = STATE, run: Path = RUN) -> AsyncIterator[str]:
    """Do it; yields lines that say what was done. Raises StillRuns, OSError, KernelUnavailable, FirewallUnavailable."""
    if _answers(run / SOCKET_PATH.name):
        raise StillRuns(
            f"felix still runs on this node ({run / SOCKET_PATH.name}): delete the DaemonSet calico-node first"
        )
    for line in install.uninstall(install.Places(kept=state / "before-install")):
        yield line
    first_seen = FirstSeen(state / "first-seen.json")
    kernel = await NetlinkKernel.open()
    try:
        for op in await _clear_kernel(kernel, ownership_of(state)):
            yield str(op)
        for op in await _put_back(kernel, first_seen):
            yield str(op)
    finally:
        await kernel.close()
    async for line in _clear_filters():
        yield line
    if lifecycle.is_told(environ):
        try:
            await lifecycle.forget(environ, first_seen)
            yield "the Node says nothing of Calico any more"
        except StoreError as error:
            yield f"the Node keeps its annotations: {error}"
    for line in hands_off.withdraw(run.parent):
        yield line
    for line in _remove_files(state, run):
        yield line


def ownership_of(state: Path) -> Ownership:
    """From felix's journal, which names each pool that there was. Raises OSError."""
    try:
        claims = FileJournal(state / "felix-routes").claims
    except JournalUnavailable as error:
        raise OSError(str(error)) from None
    return Ownership(claims.pools, claims.routes)


def ops(actual: Actual, ownership: Ownership) -> list[Op]:
    """What takes everything of ours out of ``actual``, as far as this can be done at once."""
    pods = [
        name for name, link in sorted(actual.links.items()) if ownership.is_pod_device(name) and link.kind == "veth"
    ]
    planned = plan(Desired(), actual, ownership=ownership, in_sync=ALL_IN_SYNC)
    return [*planned.ops, *map(RemoveTunnel, pods)]


async def _clear_kernel(kernel: Kernel, ownership: Ownership) -> list[Op]:
    done: list[Op] = []
    for _ in range(_LAST_PASSES):
        wanted = ops(await kernel.read(), ownership)
        refusals = await kernel.apply(wanted)
        done += [op for op, refusal in zip(wanted, refusals, strict=True) if refusal is None]
        if not wanted:
            break
    return done


async def _put_back(kernel: Kernel, first_seen: FirstSeen) -> list[Op]:
    before = first_seen.of(SYSCTLS)
    now = kernel.read_sysctls(before.keys())
    writes: list[Op] = [WriteSysctl(path, value) for path, value in before.items() if now.get(path, value) != value]
    await kernel.apply(writes)
    return writes


async def _clear_filters() -> AsyncIterator[str]:
    machine = ThisMachine()
    try:
        for name, writer in await machine.all():
            if count := await writer.remove():
                yield f"{name}: {count} changes, nothing of ours is left"
    finally:
        machine.close()


def _remove_files(state: Path, run: Path) -> Iterator[str]:
    """Those that the daemons write. A datastore that is a file there stays: its data is the user's."""
    for path in (*(state / name for name in _WRITTEN), *sorted((state / "cni-deleted").glob("*")), *run.glob("*")):
        with suppress(IsADirectoryError):
            path.unlink(missing_ok=True)
    for folder in (state / "cni-deleted", state, run):
        with suppress(OSError):  # not empty, not there, or a volume of the container
            folder.rmdir()
    yield f"{state} and {run} are cleared"


def _answers(path: Path) -> bool:
    with closing(socket(AF_UNIX, SOCK_STREAM)) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def main(environ: Mapping[str, str]) -> int:
    async def run() -> None:
        root = Path(environ.get("TORTIE_HOST_ROOT", "/"))
        async for line in uninstall(environ, state=root / STATE.relative_to("/"), run=root / RUN.relative_to("/")):
            sys.stdout.write(f"{line}\n")

    try:
        asyncio.run(run())
    except (StillRuns, KernelUnavailable, FirewallUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
