"""Linux namespaces: making a set of them, held by one process, and running programs inside.

A set is held by a process that does nothing: process 1 of its own pid namespace. Killing it ends every process inside,
and with the last of them go the namespaces, their devices, routes and mounts. So a lab is taken down by ending one
process a node, whatever was done in it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(Exception):
    """The kernel refused; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a set. ``started`` tells it from a later process that got its number."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        return self.started != 0 and _start_of(self.pid) == self.started


def hold(hostname: str, prepare: Callable[[], None], record: Path) -> Holder:
    """A new set of net, mount, uts and pid namespaces; ``prepare`` runs inside first. Raises NamespaceError.

    ``record`` names the holder before anything else can go wrong, so that it is found whatever becomes of us.
    """
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(reader)
        _become_holder(writer, hostname, prepare, record)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(middle, 0)
    pid, _, problem = said.partition(" ")
    if problem or not pid:
        raise NamespaceError(problem or "the process that should hold the namespaces ended")
    return holder_of(int(pid))


def _become_holder(writer: int, hostname: str, prepare: Callable[[], None], record: Path) -> NoReturn:
    """In the forked process: unshare, fork process 1, report its number."""
    try:
        os.setsid()
        _check(_libc.unshare(CLONE_NEWPID), "make a pid namespace")
        holder = os.fork()
    except (NamespaceError, OSError) as error:
        os.write(writer, f" {error}".encode())
        os._exit(1)
    if holder:
        record.write_text(f"{holder} {_start_of(holder)}")
        os.write(writer, str(holder).encode())
        os._exit(0)
    try:  # mounts are unshared only here: the middle process still reads the machine's /proc for the record
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET), "make namespaces")
        _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
        mount("proc", "/proc", "proc")
        _check(_libc.sethostname(hostname.encode(), len(hostname.encode())), "set the host name")
        prepare()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited by exec: orphans are reaped by the kernel
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.set_inheritable(writer, False)  # its end, at exec, says that all is prepared
        os.execvp("sleep", ["sleep", "infinity"])
    except (NamespaceError, OSError) as error:
        os.write(writer, f" {error}".encode())
    os._exit(1)


def holder_of(pid: int) -> Holder:
    """A running process, as one that can be told from a later one of the same number."""
    return Holder(pid, _start_of(pid))


def recorded(record: Path) -> Holder:
    """The holder that a record names; one that is not alive for a record that was cut short."""
    pid, _, started = record.read_text().partition(" ")
    return Holder(int(pid or 0), int(started or 0))


def end(holder: Holder) -> None:
    """End everything inside, and wait until it is gone."""
    if not holder.is_alive:
        return
    descriptor = os.pidfd_open(holder.pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], 10)
    finally:
        os.close(descriptor)


def enter(holder: Holder, *, netns: Path | None = None) -> None:
    """Move this process (and, for the pid namespace, its children) inside; ``netns``: a network namespace in there.

    Raises NamespaceError. There is no way back: fork first.
    """
    kinds = [("pid", CLONE_NEWPID), ("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS), ("mnt", CLONE_NEWNS)]
    descriptors = []
    for name, flag in kinds:
        with _told(f"open the {name} namespace of process {holder.pid}"):
            descriptors.append((os.open(f"/proc/{holder.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag))
    for descriptor, flag in descriptors:
        _check(_libc.setns(descriptor, flag), "enter the node's namespaces")
        os.close(descriptor)
    if netns is not None:
        enter_netns(netns)


def enter_netns(path: Path) -> None:
    with _told(f"open {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _check(_libc.setns(descriptor, CLONE_NEWNET), f"enter {path}")
    os.close(descriptor)


def leave_inside(holder: Holder, argv: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Holder:
    """Start a program that outlives us. Raises NamespaceError.

    It is orphaned on purpose, and inside: process 1 there is its parent then, and its end is the program's.
    """
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        with suppress(NamespaceError, OSError):
            os.close(reader)
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            null = os.open(os.devnull, os.O_RDONLY)
            for descriptor, source in ((0, null), (1, output), (2, output)):
                os.dup2(source, descriptor)
            outside = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
            enter(holder)
            inside = os.fork()
            if inside == 0 and os.fork() == 0:
                os.write(writer, os.readlink("self", dir_fd=outside).encode())
                os.chdir("/")
                os.execvpe(argv[0], list(argv), environment)
            if inside:
                os.waitpid(inside, 0)
            os._exit(0)
        os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(middle, 0)
    if not said:
        raise NamespaceError(f"its process came to nothing; {log} may say why")
    return holder_of(int(said))


def run_inside(
    holder: Holder,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    netns: Path | None = None,
    stdin: bytes | None = None,
) -> tuple[int, bytes]:
    """Run a program inside and wait: its exit status and standard output; standard error goes where ours goes."""
    to_read, to_write = os.pipe()
    in_read, in_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(in_read, 0)
        os.dup2(to_write, 1)
        os.closerange(3, 1 << 16)  # also the pipes of other threads' calls, which would never end otherwise
        exec_inside(holder, argv, environment=environment, netns=netns)
    os.close(to_write)
    os.close(in_read)
    with os.fdopen(in_write, "wb") as pipe, suppress(BrokenPipeError):
        pipe.write(stdin or b"")
    with os.fdopen(to_read, "rb") as pipe:
        output = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def exec_inside(
    holder: Holder, argv: Sequence[str], *, environment: Mapping[str, str], netns: Path | None = None
) -> NoReturn:
    """Become a program inside, as far as a pid namespace allows: a child runs there, we pass on its end."""
    try:
        enter(holder, netns=netns)
        child = os.fork()
        if child == 0:
            os.execvpe(argv[0], list(argv), dict(environment))
        os._exit(_wait_for(child))
    except (NamespaceError, OSError) as error:
        sys.stderr.write(f"{argv[0]}: {error}\n")
        sys.stderr.flush()
        os._exit(127)


def _wait_for(child: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda signum, _frame: os.kill(child, signum))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def mount(source: str, target: str, kind: str, options: str = "", flags: int = 0) -> None:
    """Raises NamespaceError."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None),
        f"mount {kind or source} on {target}",
    )


def bind(source: str, target: str) -> None:
    mount(source, target, "", flags=MS_BIND)


def unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), 2), f"unmount {target}")


def unshare_net() -> None:
    """A new network namespace for this thread."""
    _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")


def _start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it is not there (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _check(result: int, what: str) -> None:
    if result:
        raise NamespaceError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


class _told:  # noqa: N801  # reads as a word in a with statement
    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise NamespaceError(f"cannot {self._what}: {error.strerror}") from None
