"""Boots a machine in user-mode-linux for one command, and leaves nothing behind, however that ends.

Three processes deep, each for one reason:

    we            copy the command's two streams, watch the time
    the guard     a shell that waits for the end of a pipe of ours, which an error, a signal and kill -9 of us close as
                  well as we do. Then it ends the machine and removes the scratch folder
    the machine   a pid and a mount namespace: killing its process 1 ends everything in it, and its memory, a file in a
                  tmpfs of that mount namespace, goes with it

The scratch folder is how the two sides meet: the task goes in, ``guest.ALIVE`` and ``guest.STATUS`` come out.
Source: user-mode-linux 6.1 as Debian 12 packs it.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lab.machine import amx, guest

PROGRAM = "linux.uml"
MEMORY_MB = 1024
TIMEOUT_S = 1800.0
LOG = "kernel.log"
LOG_TAIL = 3000
"""How much of the kernel's last words a user is shown, in characters."""

# unshare's process 1 is a shell and not user-mode-linux: that aborts in a panic, and a process 1 cannot.
# Its memory is a file in a tmpfs of our own: /dev/shm may be small (64 MB in a container) or forbid execution.
# ulimit -n: every file that was used inside stays open outside (hostfs); a few thousand, and all fails with EMFILE.
_GUARD = """
scratch=$1 size=$2; shift 2
ulimit -c 0
ulimit -n 1000000 2>&- || ulimit -n "$(ulimit -H -n)"
exec 7>&1 8>&2 >"$scratch/kernel.log" 2>&1
unshare --mount-proc --pid --fork --kill-child=KILL sh -c '
    mount -t tmpfs -o "size=$2,mode=700" memory "$1/memory" && shift 2 && "$@"; exit' sh "$scratch" "$size" "$@" &
exec 7>&- 8>&-
read -r _
kill -KILL $(cat /proc/$!/task/$!/children) 2>&- || kill -KILL $! 2>&-
wait
rm -rf "$scratch"
"""


class NoMachine(Exception):
    """This computer cannot boot one; the message says what is missing."""


class MachineDied(Exception):
    """It ended before the command did; the message has the kernel's last words."""


class OutOfTime(Exception):
    """The command was not done in time and was ended."""


def run(
    command: Sequence[str],
    *,
    timeout_s: float = TIMEOUT_S,
    memory_mb: int = MEMORY_MB,
    writable: Sequence[str] = (),
) -> int:
    """The exit status of ``command``, run as root in a new machine with our environment and working directory.

    Its output appears on ours while it runs; it has no terminal and no input.
    Raises NoMachine before anything ran, MachineDied, OutOfTime.
    """
    release = _kernel_release()
    scratch = Path(tempfile.mkdtemp(prefix="tortie-machine-", dir="/run"))
    guard = None
    try:
        _write_task(scratch, command, release, writable)
        guard = _start(scratch, memory_mb)
        if not _copy_streams(guard, until=time.monotonic() + timeout_s):
            raise OutOfTime(f"not done after {timeout_s:g} s: {shlex.join(command)}")
        return _outcome(scratch)
    finally:
        _end(guard, scratch)


def _kernel_release() -> str:
    """Raises NoMachine."""
    if os.geteuid() != 0:
        raise NoMachine("booting a machine needs root")
    if shutil.which(PROGRAM) is None:
        raise NoMachine(f"{PROGRAM} is not installed: Debian and Ubuntu have it in the package user-mode-linux")
    if amx.is_here() and amx.compiler() is None:
        raise NoMachine("this processor has AMX, where user-mode-linux needs a C compiler as well: install gcc")
    return subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]


def _write_task(scratch: Path, command: Sequence[str], release: str, writable: Sequence[str]) -> None:
    """The task, and what the kernel starts: our own Python, which knows nothing of the project but its folder."""
    folders = tuple(os.path.realpath(path) for path in writable)
    programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": programs, "PYTHONUNBUFFERED": "1"}
    task = guest.Task(tuple(command), str(Path.cwd()), environment, folders, release)
    (scratch / guest.TASK).write_text(json.dumps(asdict(task)))
    project = str(Path(__file__).resolve().parents[2])
    program = f"import sys; sys.path.append({project!r}); from lab.machine import guest; guest.main({str(scratch)!r})"
    init = scratch / "init"
    init.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-ISc', program])}\n")
    init.chmod(0o755)
    (scratch / "memory").mkdir()


def _start(scratch: Path, memory_mb: int) -> subprocess.Popen[bytes]:
    """The guard, with the machine below it. In a session of its own: Ctrl-C is for us, and we end it in order."""
    size = f"{memory_mb + 256}M"  # a sparse file: what is never touched takes no room
    argv = ["sh", "-c", _GUARD, "guard", str(scratch), size, *_kernel_command(scratch, memory_mb)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def _kernel_command(scratch: Path, memory_mb: int) -> list[str]:
    memory = scratch / "memory"
    environment = [f"TMPDIR={memory}"]
    cc = amx.compiler()
    if amx.is_here() and cc:
        amx.build(scratch / "amx.so", cc=cc)
        environment.append(f"LD_PRELOAD={scratch / 'amx.so'}")
    root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={scratch / 'init'}"]
    consoles = ["con=null", "con0=null,fd:1", "con1=null,fd:7", "con2=null,fd:8", "ssl=null"]
    end = ["panic=-1", "noreboot"]  # a panic ends it within a second
    return [
        "env",
        *environment,
        PROGRAM,
        f"mem={memory_mb}M",
        *root,
        *consoles,
        *end,
        f"uml_dir={memory}",
        "umid=machine",
    ]


def _copy_streams(guard: subprocess.Popen[bytes], *, until: float) -> bool:
    """To our own streams, until both end, which is when the last process of the machine is gone. False: out of time."""
    assert guard.stdout is not None
    assert guard.stderr is not None
    streams = {guard.stdout.fileno(): 1, guard.stderr.fileno(): 2}
    while streams:
        ready = select.select(list(streams), [], [], max(0.0, until - time.monotonic()))[0]
        if not ready:
            return False
        for source in ready:
            data = os.read(source, 1 << 16)
            _write_all(streams[source], data)
            if not data:
                del streams[source]
    return True


def _write_all(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]


def _outcome(scratch: Path) -> int:
    try:
        return int((scratch / guest.STATUS).read_text())
    except FileNotFoundError:
        log = (scratch / LOG).read_text(errors="replace")[-LOG_TAIL:].strip()
    if (scratch / guest.ALIVE).exists():
        raise MachineDied(f"the machine died; the end of its log:\n{log}")
    raise NoMachine(f"user-mode-linux does not start here; the end of its log:\n{log}")


def _end(guard: subprocess.Popen[bytes] | None, scratch: Path) -> None:
    """Until nothing of the machine is left: the ends of its streams are the ends of its processes."""
    if guard is not None:
        for stream in (guard.stdin, guard.stdout, guard.stderr):
            assert stream is not None
            if stream.readable():
                stream.read()
            stream.close()
        guard.wait()
    shutil.rmtree(scratch, ignore_errors=True)
