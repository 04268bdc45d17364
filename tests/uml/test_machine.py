"""The machine that ``tests/uml/run`` boots: what comes out of it is the command's, and nothing stays behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.machine import amx, boot, kernel

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.skipif(shutil.which(boot.PROGRAM) is None, reason="user-mode-linux is not installed"),
    pytest.mark.skipif(kernel.is_booted_by_us(), reason="a machine boots no machine"),
]

RUN = str(Path(__file__).parent / "run")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *words], capture_output=True, text=True, timeout=120, check=False)


@dataclass
class Machine:
    """One that is up. ``scratch``: the folder whose name is in the command line of every process of it."""

    runner: subprocess.Popen[str]
    scratch: str

    def is_gone(self) -> bool:
        return not Path(self.scratch).exists() and not [pid for pid in _processes() if self.scratch in _words(pid)]


@pytest.fixture
def start() -> Iterator[list[Machine]]:
    """The machines of this test: those that are still there at its end are ended."""
    machines: list[Machine] = []
    yield machines
    for machine in machines:
        machine.runner.terminate()
        machine.runner.communicate(timeout=30)


def boot_up(machines: list[Machine], script: str, *options: str) -> Machine:
    """Returns when the script has begun."""
    argv = [RUN, *options, "sh", "-c", f"echo up; {script}"]
    runner = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    assert runner.stdout.readline() == "up\n"
    guard = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()[0]
    (scratch,) = [word for word in _words(guard).split("\0") if word.startswith("/run/tortie-machine-")][:1]
    machines.append(Machine(runner, scratch))
    assert not machines[-1].is_gone()
    return machines[-1]


def _processes() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _words(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def test_output_and_exit_status_are_the_commands() -> None:
    done = run("sh", "-c", "echo out; echo err >&2; pwd; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, f"out\n{Path.cwd()}\n", "err\n")


def test_a_program_that_is_not_there_and_one_that_is_killed_end_as_in_a_shell() -> None:
    missing, killed = run("no-such-program"), run("sh", "-c", "kill -KILL $$")
    assert (missing.returncode, missing.stderr) == (127, "no-such-program: No such file or directory\n")
    assert killed.returncode == 128 + signal.SIGKILL


def test_what_is_written_stays_in_the_machine_but_below_a_writable_directory(tmp_path: Path) -> None:
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    kept.mkdir()
    lost.mkdir()
    done = run("--writable", str(kept), "sh", "-c", f"echo a > {kept}/file; echo b > {lost}/file; cat {lost}/file")
    assert (done.returncode, done.stdout) == (0, "b\n")
    assert (kept / "file").read_text() == "a\n"
    assert not list(lost.iterdir())


def test_a_daemon_that_the_command_leaves_behind_does_not_hold_the_machine() -> None:
    began = time.monotonic()
    assert run("sh", "-c", "sleep 1000 & echo done").stdout == "done\n"
    assert time.monotonic() - began < 60


def test_a_kernel_panic_is_no_exit_status_of_the_command(start: list[Machine]) -> None:
    machine = boot_up(start, "echo c > /proc/sysrq-trigger")
    _, said = machine.runner.communicate(timeout=30)
    assert machine.runner.returncode == 125
    assert "machine: the machine died; the end of its log:" in said
    assert "Kernel panic - not syncing: sysrq triggered crash" in said
    assert machine.is_gone()


def test_a_command_that_takes_too_long_is_ended(start: list[Machine]) -> None:
    machine = boot_up(start, "sleep 1000", "--timeout", "20")
    _, said = machine.runner.communicate(timeout=30)
    assert (machine.runner.returncode, said) == (124, "machine: not done after 20 s: sh -c 'echo up; sleep 1000'\n")
    assert machine.is_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_runner_that_is_told_to_end_takes_everything_with_it(start: list[Machine], number: signal.Signals) -> None:
    machine = boot_up(start, "sleep 1000")
    machine.runner.send_signal(number)
    machine.runner.communicate(timeout=30)
    assert machine.runner.returncode == 128 + number
    assert machine.is_gone()


def test_a_runner_that_is_killed_leaves_nothing_either(start: list[Machine]) -> None:
    machine = boot_up(start, "sleep 1000")
    machine.runner.kill()
    machine.runner.wait()
    deadline = time.monotonic() + 10
    while not machine.is_gone():
        assert time.monotonic() < deadline, "something of the machine is still there"
        time.sleep(0.01)


def test_the_cure_for_amx_boots_a_machine_on_any_processor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if amx.compiler() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(amx, "is_here", lambda: True)
    assert boot.run(["sh", "-c", "exec echo sums: $((6 * 7))"], timeout_s=60) == 0
    assert capfd.readouterr().out == "sums: 42\n"


def test_without_user_mode_linux_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "lab.machine", "true"]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    sentence = "machine: linux.uml is not installed: Debian and Ubuntu have it in the package user-mode-linux\n"
    assert (done.returncode, done.stderr) == (126, sentence)


def test_a_kernel_that_does_not_come_up_is_no_machine(tmp_path: Path) -> None:
    done = run("--memory", "1", "true")
    assert done.returncode == 126
    assert done.stderr.startswith("machine: user-mode-linux does not start here; the end of its log:\n")
