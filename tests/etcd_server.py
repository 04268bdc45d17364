"""A real etcd for tests, on loopback, with its data in memory. It dies with the test process, however that ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from datastore.etcd_settings import Credentials, Endpoint, EtcdSettings
from lab.ports import free_port

PROGRAMS = ("etcd", "etcdctl")
BEGIN_PATIENCE_S = 20.0


def needs_etcd() -> None:
    for program in PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: etcd-server, etcd-client)")


def etcd_command(name: str, folder: Path, client: Endpoint, peer: Endpoint, *more: str) -> list[str]:
    return [
        "etcd",
        *("--name", name, "--data-dir", str(folder), "--log-level", "error"),
        *("--listen-client-urls", str(client), "--advertise-client-urls", str(client)),
        *("--listen-peer-urls", str(peer), "--initial-advertise-peer-urls", str(peer)),
        *more,
    ]


@dataclass
class EtcdServer:
    """One member. ``more`` goes to its command line, ``as_root`` to that of etcdctl; its data is below ``folder``."""

    name: str = "one"
    is_tls: bool = False
    more: Sequence[str] = ()
    as_root: Sequence[str] = ()
    cluster: str = ""
    credentials: Credentials = field(default_factory=Credentials)
    folder: Path | None = None
    endpoint: Endpoint = field(init=False)
    peer: Endpoint = field(init=False)

    def __post_init__(self) -> None:
        self.endpoint = Endpoint("127.0.0.1", free_port(), self.is_tls)
        self.peer = Endpoint("127.0.0.1", free_port())
        memory = Path("/dev/shm")
        where = self.folder or (memory if memory.is_dir() else None)
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-test-", dir=where))
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        cluster = ("--initial-cluster", self.cluster or f"{self.name}={self.peer}")
        command = etcd_command(self.name, self._folder, self.endpoint, self.peer, *cluster, *self.more)
        self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stderr=subprocess.DEVNULL)

    def start(self) -> EtcdServer:
        self.spawn()
        self.wait_until_it_answers()
        return self

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + BEGIN_PATIENCE_S
        while self._ctl("endpoint", "health").returncode:
            assert time.monotonic() < deadline, f"etcd {self.name} does not answer"
            time.sleep(0.1)  # it tells nobody when it is ready

    def stop(self) -> None:
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def freeze(self) -> None:
        """It takes connections, by the kernel's hand, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ctl(self, *words: str, given: str = "") -> str:
        done = self._ctl(*words, given=given)
        assert done.returncode == 0, f"etcdctl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def _ctl(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        command = ["etcdctl", "--endpoints", str(self.endpoint), *self.as_root, *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, env=_ENVIRONMENT, check=False)

    def put(self, key: str, value: str) -> None:
        self.ctl("put", key, given=value)

    def value(self, key: str) -> str:
        return self.ctl("get", key, "--print-value-only").removesuffix("\n")

    def keys(self) -> list[str]:
        return self.ctl("get", "/calico/", "--prefix", "--keys-only").split()

    def clear(self) -> None:
        self.ctl("del", "", "--from-key")

    def compact(self) -> None:
        """Forget all changes up to now."""
        self.ctl("put", "/elsewhere", given="x")
        revision = self.ctl("get", "/elsewhere", "-w", "fields").split('"Revision" : ')[1].split()[0]
        self.ctl("compaction", "--physical", revision)

    @property
    def settings(self) -> EtcdSettings:
        return EtcdSettings((self.endpoint,), credentials=self.credentials)


_ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@cache
def shared_server() -> EtcdServer:
    """One for all tests of this process that do not hurt it; who uses it clears it first."""
    needs_etcd()
    return EtcdServer().start()


def remove_shared_server() -> None:
    if shared_server.cache_info().currsize:
        shared_server().remove()
