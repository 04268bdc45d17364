"""Process 1 of a booted machine: makes its file tree, runs the command, says how it ended, turns the power off.

It runs with the standard library alone. The rule: once it runs, the machine is fine, and whatever fails from here on is
a failure, never a reason to skip (``ALIVE`` tells the host so). The host reads ``STATUS`` when the machine is off.

Files: this machine's whole tree through hostfs, read only in effect, below an overlay in memory. The command's two
streams go through one console each; a console that translates newlines would change them.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import termios
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.machine import modules
from lab.namespaces import MS_BIND, mount

ALIVE, STATUS, TASK = "alive", "status", "task.json"

MS_MOVE = 8192
POWER_OFF = 0x4321FEDC
OUT_CONSOLE, ERR_CONSOLE = "/dev/tty1", "/dev/tty2"
KERNEL_TREES = (
    ("/proc", "proc", ""),
    ("/sys", "sysfs", ""),
    ("/sys/fs/cgroup", "cgroup2", ""),
    ("/dev", "devtmpfs", ""),
    ("/dev/pts", "devpts", "ptmxmode=666"),
    ("/dev/shm", "tmpfs", "mode=1777"),
    ("/run", "tmpfs", "mode=755"),
)
DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))


@dataclass(frozen=True, slots=True)
class Task:
    """``writable``: directories where what the command writes stays on this machine. ``release``: the kernel's."""

    command: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    writable: tuple[str, ...]
    release: str


def main(scratch: str) -> None:
    """Never returns: the power is off then."""
    reports = os.open(scratch, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _report(reports, ALIVE, "")
        task = Task(**json.loads(Path(scratch, TASK).read_text()))
        _make_tree(task)
        _report(reports, STATUS, str(_run(task)))
    except BaseException:  # noqa: BLE001  # the host shows it: no status and this in the log
        traceback.print_exc()
    sys.stderr.flush()
    os.sync()
    ctypes.CDLL(None).reboot(POWER_OFF)


def _report(reports: int, name: str, text: str) -> None:
    """Whole or not at all: the machine may die at any moment."""
    with open(os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=reports), "w") as file:
        file.write(text)
    os.rename(f"{name}.new", name, src_dir_fd=reports, dst_dir_fd=reports)


def _make_tree(task: Task) -> None:
    tree = modules.folder(task.release)
    modules.insert(tree, modules.OVERLAY)
    _change_root(task.writable)
    for target, kind, options in KERNEL_TREES:
        Path(target).mkdir(exist_ok=True)
        mount(kind, target, kind, options)
    for name, target in DEVICE_LINKS:
        Path("/dev", name).symlink_to(target)
    modules.insert(tree, modules.NETWORK)
    socket.sethostname("uml")
    subprocess.run(["ip", "link", "set", "lo", "up"], env=dict(task.environment), check=True)


def _change_root(writable: tuple[str, ...]) -> None:
    mount("layers", "/run", "tmpfs")
    for name in ("upper", "work", "root"):
        Path("/run", name).mkdir()
    mount("root", "/run/root", "overlay", "lowerdir=/,upperdir=/run/upper,workdir=/run/work")
    for path in writable:
        mount(path, f"/run/root{path}", "", flags=MS_BIND)
    os.chdir("/run/root")
    mount(".", "/", "", flags=MS_MOVE)
    os.chroot(".")


def _run(task: Task) -> int:
    """The command's exit status, as a shell gives it: 127 when there is no such program, 128 + n after signal n."""
    out, err = _console(OUT_CONSOLE), _console(ERR_CONSOLE)
    try:
        child = subprocess.Popen(
            task.command,
            cwd=task.folder,
            env=dict(task.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        _write_all(err, f"{task.command[0]}: {error.strerror}\n".encode())
        status = 127
    else:
        assert child.stdout is not None
        assert child.stderr is not None
        _copy(child, {child.stdout.fileno(): out, child.stderr.fileno(): err})
        status = child.wait()
    for console in (out, err):
        termios.tcdrain(console)
    return status if status >= 0 else 128 - status


def _copy(child: subprocess.Popen[bytes], streams: dict[int, int]) -> None:
    """Until both streams end, or the command has ended and nothing is left: a daemon of its may hold them for ever."""
    while streams:
        has_ended = child.poll() is not None
        ready = select.select(list(streams), [], [], 0.0 if has_ended else 0.1)[0]
        if has_ended and not ready:
            return
        for source in ready:
            data = os.read(source, 1 << 16)
            _write_all(streams[source], data)
            if not data:
                del streams[source]


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def _console(path: str) -> int:
    """A console as a clean way for bytes: without it every newline becomes two characters."""
    console = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    attributes = termios.tcgetattr(console)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(console, termios.TCSANOW, attributes)
    return console
