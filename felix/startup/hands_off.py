"""Tells NetworkManager and systemd-networkd to leave the network of pods alone.

Either takes a new device for its own, asks DHCP on it, takes addresses and routes away, and networkd removes, when it
starts, every route that it did not write. They are told by files under /run, which are gone after a boot like the
devices, and asked to read them; where a pod does not see the machine's /run, nothing is done.

The devices are named by patterns: pods' and tunnels', Calico's and flannel's.
Source: NetworkManager.conf(5), systemd.network(5), networkd.conf(5); Calico's documents on NetworkManager.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from felix.startup import bus
from felix.startup.bus import BusError, Call, Nobody

RUN = Path("/run")
DEVICES = ("cali*", "tunl*", "vxlan.calico", "vxlan-v6.calico", "flannel*")
_NAME = "calico"

_HEAD = "# Written by calico-node -startup: the network of pods is its own.\n"
_KEYFILE = f"{_HEAD}[keyfile]\nunmanaged-devices={';'.join(f'interface-name:{device}' for device in DEVICES)}\n"
_NETWORK = f"{_HEAD}[Match]\nName={' '.join(DEVICES)}\n\n[Link]\nUnmanaged=yes\n"
_NETWORKD = f"{_HEAD}[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"


@dataclass(frozen=True, slots=True)
class Manager:
    """``lives_in`` is there while it runs; all paths are below /run."""

    name: str
    lives_in: str
    files: Mapping[str, str]
    reload: Call


MANAGERS = (
    Manager(
        "NetworkManager",
        "NetworkManager",
        {f"NetworkManager/conf.d/{_NAME}.conf": _KEYFILE},
        Call(
            "org.freedesktop.NetworkManager",
            "/org/freedesktop/NetworkManager",
            "org.freedesktop.NetworkManager",
            "Reload",
            number=1,  # its configuration alone: connections stay up
        ),
    ),
    Manager(
        "systemd-networkd",
        "systemd/netif",
        {
            f"systemd/network/10-{_NAME}.network": _NETWORK,
            f"systemd/networkd.conf.d/{_NAME}.conf": _NETWORKD,
        },
        Call(
            "org.freedesktop.network1",
            "/org/freedesktop/network1",
            "org.freedesktop.network1.Manager",
            "Reload",
        ),
    ),
)

Ask = Callable[[Call], None]


def tell(run: Path = RUN, ask: Ask | None = None) -> Iterator[str]:
    """Tell those that run; yields lines that say what was done, or why not. Twice does nothing.

    ``run`` is the machine's /run as this process sees it; ``ask`` asks on the message bus there, where none is given.
    """
    ask = ask or _on_bus_of(run)
    for manager in MANAGERS:
        if (run / manager.lives_in).is_dir():
            yield from _told(manager, run, ask)


def withdraw(run: Path = RUN, ask: Ask | None = None) -> Iterator[str]:
    """Take it back; files of other content are other people's."""
    ask = ask or _on_bus_of(run)
    for manager in MANAGERS:
        ours = [run / path for path, text in manager.files.items() if _says(run / path, text)]
        for path in ours:
            path.unlink()
        if ours:
            yield from _reloaded(manager, ask, f"{manager.name} may manage devices of pods again")


def _on_bus_of(run: Path) -> Ask:
    return lambda call: bus.ask(call, bus=run / bus.SYSTEM_BUS.relative_to(RUN))


def _told(manager: Manager, run: Path, ask: Ask) -> Iterator[str]:
    missing = {run / path: text for path, text in manager.files.items() if not _says(run / path, text)}
    if not missing:
        return
    try:
        for path, text in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except OSError as error:
        yield f"{manager.name} cannot be told to leave pods' devices alone: {error}"
        return
    yield from _reloaded(manager, ask, f"{manager.name} leaves {', '.join(DEVICES)} alone")


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def _reloaded(manager: Manager, ask: Ask, done: str) -> Iterator[str]:
    """Who does not run now reads the files when it starts."""
    try:
        ask(manager.reload)
    except Nobody:
        yield f"{done}, once it runs"
    except (BusError, OSError) as error:
        yield f"{done}, once it is restarted: it could not be asked to read its files again: {error}"
    else:
        yield done
