"""``calico-node``: one program, a mode by its first flag, as upstream's. A mode imports only what it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial

USAGE = """usage: calico-node MODE

  -felix         run the dataplane agent
  -bgp           run the BGP speaker; -bgp -config FILE runs it alone, with neither datastore nor cluster
  -bfd           watch BGP neighbours, so that a dead one is noticed within a second
  -bgp-ctl WORD  tell one that runs alone what to do: -bgp-ctl help
  -startup       write this node and the first pool into the datastore, and end
  -shutdown      prepare for the node's end, and end
  -install-cni   put the CNI plugin and its configuration onto the host, and end
  -uninstall     leave the node as it was before any of this, and end; felix must have ended
  -leave-flannel take away what a flannel that is gone has left on the node, and end
  -upgrade-ipam  take over the addresses that host-local gave to running pods, and end
  -felix-live    exit status 0 when felix works        -bird-live    the same for the speaker
  -felix-ready   exit status 0 when routes are in      -bird-ready   exit status 0 when a neighbour is up
  -bfd-live      exit status 0 when bfd answers
  -why ADDRESS   which route carries packets there from this node, and for what reason
  -v             print the version

Configured by the environment: NODENAME, DATASTORE_TYPE, DATASTORE_PATH, FELIX_*, IP, IP6, IP_AUTODETECTION_METHOD,
AS, CALICO_NETWORKING_BACKEND, CALICO_IPV4POOL_*, CALICO_IPV6POOL_*, NO_DEFAULT_POOLS, WAIT_FOR_DATASTORE,
CALICO_BFD_INTERVAL_MS, CALICO_BFD_MULTIPLIER, CALICO_NODE_HOLD_TIME_S.
"""


def main() -> int:
    if sys.argv[1:2] in (["-why"], ["--why"]):
        return _why(sys.argv[2:])
    if sys.argv[1:2] in (["-bgp-ctl"], ["--bgp-ctl"]):
        return _bgp_ctl(sys.argv[2:])
    if len(sys.argv) == 4 and [word.replace("--", "-", 1) for word in sys.argv[1:3]] == ["-bgp", "-config"]:
        return _bgp_alone(sys.argv[3])
    words = [word.replace("--", "-", 1) for word in sys.argv[1:]]
    modes = [word for word in words if word in _MODES]
    unknown = [word for word in words if word not in _MODES]
    if unknown or not modes:
        sys.stderr.write((f"calico-node: unknown flag {unknown[0]}\n\n" if unknown else "") + USAGE)
        return 0 if unknown in (["-h"], ["-help"]) else 2
    return next((status for status in (_MODES[mode]() for mode in modes) if status), 0)


def _felix() -> int:
    import asyncio

    from setproctitle import setproctitle

    from datastore.connect import connect
    from datastore.store import Rejected
    from felix import config, notify, process
    from felix.startup.environment import BadEnvironment

    try:
        wanted = config.read(os.environ)
        connect(os.environ)
    except (BadEnvironment, Rejected) as error:
        return _fail(str(error))
    _log_to_stdout(wanted.log_level)
    setproctitle("calico-felix")
    asyncio.run(process.run(wanted, lambda executor: connect(os.environ, executor=executor), on_ready=notify.ready))
    return 0


def _startup() -> int:
    import asyncio
    from pathlib import Path

    from datastore.connect import connect
    from datastore.store import StoreError
    from felix.fib.kernel import KernelUnavailable
    from felix.firewall.machine import listed
    from felix.first_seen import FirstSeen
    from felix.startup import distribution, hands_off, lifecycle, reading, takeover
    from felix.startup.environment import BadEnvironment
    from felix.startup.run import start_up

    async def run() -> list[str]:
        store = connect(os.environ)
        try:
            for line in takeover.check(await listed(), os.environ):
                sys.stdout.write(f"{line}\n")
            before = partial(lifecycle.remember, os.environ, FirstSeen())
            read_distribution = partial(distribution.read, os.environ)
            return await start_up(
                store, os.environ, read_machine=reading.read, before=before, read_distribution=read_distribution
            )
        finally:
            await store.close()

    for line in hands_off.tell(Path(os.environ.get("TORTIE_HOST_ROOT", "/"), "run")):
        sys.stdout.write(f"{line}\n")
    try:
        for line in asyncio.run(run()):
            sys.stdout.write(f"{line}\n")
    except (BadEnvironment, StoreError, KernelUnavailable) as error:
        return _fail(str(error))
    return 0


def _shutdown() -> int:
    """A kubelet that cannot say it to anybody still ends the pod."""
    import asyncio

    from datastore.store import StoreError
    from felix.startup import lifecycle

    try:
        asyncio.run(lifecycle.shut_down(os.environ))
    except StoreError as error:
        return _fail(str(error))
    return 0


def _install_cni() -> int:
    from cni_plugin import install

    return install.main()


def _uninstall() -> int:
    from felix import uninstall

    return uninstall.main(os.environ)


def _leave_flannel() -> int:
    from felix.startup import flannel

    return flannel.main(os.environ)


def _upgrade_ipam() -> int:
    from felix.startup import upgrade_ipam

    return upgrade_ipam.main(os.environ)


def _version() -> int:
    from importlib.metadata import version

    sys.stdout.write(f"v{version('tortie')}\n")
    return 0


def _probe(ask: Callable[[], str]) -> int:
    why = ask()
    if why:
        return _fail(f"calico/node is not ready: {why}")
    return 0


def _why(addresses: list[str]) -> int:
    from felix import probes

    if not addresses:
        return _fail("-why: give an address, like 10.244.104.7")
    try:
        for address in addresses:
            sys.stdout.write(probes.why(address))
    except OSError as error:
        return _fail(f"felix does not answer: {error}; see calico-node -felix-live")
    return 0


def _felix_live() -> int:
    from felix import probes

    return _probe(lambda: probes.felix("liveness"))


def _felix_ready() -> int:
    from felix import probes

    return _probe(lambda: probes.felix("readiness"))


def _bird_live() -> int:
    from felix import probes

    return _probe(probes.bird_live)


def _bfd_live() -> int:
    from felix import probes

    return _probe(probes.bfd_live)


def _bird_ready() -> int:
    from felix import probes

    return _probe(probes.bird_ready)


def _bgp() -> int:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from bgp import daemon
    from datastore.connect import beside, connect
    from datastore.store import Rejected
    from felix import notify
    from felix.startup.name import node_name

    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="datastore")
    try:
        config = daemon.read(os.environ, node=node_name(os.environ))
        store = connect(os.environ, executor=executor)
    except (daemon.BadEnvironment, Rejected) as error:
        return _fail(str(error))
    _log_to_stdout("INFO")
    asyncio.run(daemon.run(config, store, on_ready=notify.ready, beside=beside(store, os.environ)))
    return 0


def _bfd() -> int:
    from bgp.bfd import daemon, settings
    from felix import notify

    try:
        config = daemon.BfdConfig(settings.read(os.environ))
    except settings.BadEnvironment as error:
        return _fail(str(error))
    _log_to_stdout("INFO")
    try:
        daemon.run(config, on_ready=notify.ready)
    except OSError as error:
        return _fail(f"bfd: {error}")
    return 0


def _bgp_alone(path: str) -> int:
    import asyncio
    from pathlib import Path

    from bgp.section import BadConfig
    from felix import speaker_alone
    from felix.fib.journal import JournalUnavailable
    from felix.fib.kernel import KernelUnavailable

    try:
        config = speaker_alone.load(Path(path))
    except BadConfig as error:
        return _fail(f"{path}: {error}")
    _log_to_stdout("INFO")
    try:
        asyncio.run(speaker_alone.run(Path(path), config))
    except (OSError, KernelUnavailable, JournalUnavailable) as error:
        return _fail(str(error))
    return 0


def _bgp_ctl(words: list[str]) -> int:
    from felix import speaker_commands

    return speaker_commands.main(words)


_MODES: Mapping[str, Callable[[], int]] = {
    "-felix": _felix,
    "-bgp": _bgp,
    "-bfd": _bfd,
    "-startup": _startup,
    "-shutdown": _shutdown,
    "-install-cni": _install_cni,
    "-uninstall": _uninstall,
    "-leave-flannel": _leave_flannel,
    "-upgrade-ipam": _upgrade_ipam,
    "-felix-live": _felix_live,
    "-felix-ready": _felix_ready,
    "-bird-live": _bird_live,
    "-bird-ready": _bird_ready,
    "-bfd-live": _bfd_live,
    "-v": _version,
}


def _log_to_stdout(level: str) -> None:
    import logging

    logging.basicConfig(
        level=level, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1
