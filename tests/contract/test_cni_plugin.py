"""What a container runtime meets, whichever of the two plugins it executes, on felix's own socket server."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cni_plugin.plugin import VERSIONS
from felix.cni import frame, result
from felix.cni.request import CniError, Code
from felix.cni.server import CniServer
from felix.cni.spool import Spool
from tests import plugins

CONF = b'{"cniVersion":"1.0.0","name":"k8s-pod-network","type":"calico"}'
ADD = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
DEL = {**ADD, "CNI_COMMAND": "DEL"}


@dataclass
class Felix:
    """The real server with an answer of the test's choice; it keeps what it was asked."""

    path: Path
    answer: bytes | CniError = b"{}"
    asked: list[tuple[dict[str, str], bytes, int]] = field(default_factory=list)

    async def handle(self, variables: Mapping[str, str], stdin: bytes, netns: int) -> bytes:
        inode = os.fstat(netns).st_ino if netns >= 0 else 0
        self.asked.append((dict(variables), stdin, inode))
        if isinstance(self.answer, CniError):
            raise self.answer
        return self.answer

    async def serve(self, stopped: asyncio.Event) -> None:
        serving = asyncio.create_task(CniServer(self.handle, result.of_error, self.path).run())
        await stopped.wait()
        serving.cancel()


@dataclass(frozen=True)
class Host:
    plugin: tuple[str, ...]
    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "cni.sock"

    @property
    def spool(self) -> Path:
        return self.folder / "lib" / "calico" / "cni-deleted"

    def call(self, variables: Mapping[str, str], stdin: bytes = CONF) -> tuple[int, str]:
        """Exit status and standard output; nothing may be said elsewhere."""
        ours = {"TORTIE_CNI_SOCKET": str(self.socket), "TORTIE_CNI_SPOOL": str(self.spool), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            self.plugin, input=stdin, env={**ours, **variables}, capture_output=True, timeout=30, check=False
        )
        assert done.stderr == b""
        return done.returncode, done.stdout.decode()

    def refusal(self, variables: Mapping[str, str]) -> tuple[int, str]:
        status, output = self.call(variables)
        assert status == 1
        said = json.loads(output)
        return said["code"], said["msg"]


@pytest.fixture(params=plugins.NAMES)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    return Host(tuple(plugins.plugin(request.param)), tmp_path)


@pytest.fixture
def felix(host: Host) -> Iterator[Felix]:
    made, loop, stopped = Felix(host.socket), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[made.serve(stopped)])
    thread.start()
    deadline = time.monotonic() + 10
    while not host.socket.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    yield made
    loop.call_soon_threadsafe(stopped.set)
    thread.join()
    loop.close()


def test_felix_hears_the_variables_and_the_configuration_and_nothing_else(host: Host, felix: Felix) -> None:
    assert host.call({**ADD, "HOME": "/root", "XCNI_A": "b"}) == (0, "{}")
    assert felix.asked == [(ADD, CONF, 0)]


def test_felix_is_handed_the_pods_namespace_itself(host: Host, felix: Felix) -> None:
    host.call({**ADD, "CNI_NETNS": "/proc/self/ns/uts"})
    assert felix.asked[0][2] == Path("/proc/self/ns/uts").stat().st_ino


def test_a_namespace_that_is_gone_is_felix_affair(host: Host, felix: Felix) -> None:
    assert host.call({**DEL, "CNI_NETNS": "/run/netns/gone"}) == (0, "{}")
    assert felix.asked[0][2] == 0


def test_what_felix_answers_is_printed_to_the_byte(host: Host, felix: Felix) -> None:
    felix.answer = bytes(range(32, 127)) * 2000 + "ü\n".encode()
    assert host.call(ADD) == (0, felix.answer.decode())


def test_a_refusal_of_felix_is_printed_and_the_status_is_1(host: Host, felix: Felix) -> None:
    felix.answer = CniError(Code.FAILED, 'no "pool" is left')
    assert host.refusal(ADD) == (999, 'no "pool" is left')


def test_a_configuration_of_half_a_megabyte_arrives(host: Host, felix: Felix) -> None:
    large = CONF[:-1] + b',"x":"' + b"y" * 500_000 + b'"}'
    assert host.call(ADD, large) == (0, "{}")
    assert felix.asked[0][1] == large


def test_a_byte_that_is_no_utf_8_arrives_as_it_is(host: Host, felix: Felix) -> None:
    host.call({**ADD, "CNI_ARGS": os.fsdecode(b"K=\xff")})
    assert os.fsencode(felix.asked[0][0]["CNI_ARGS"]) == b"K=\xff"


def test_the_version_is_told_without_felix(host: Host) -> None:
    status, output = host.call({"CNI_COMMAND": "VERSION"}, b'{"cniVersion":"1.0.0"}')
    assert (status, json.loads(output)) == (0, {"cniVersion": "1.1.0", "supportedVersions": list(VERSIONS)})


def test_an_add_waits_for_a_felix_that_is_about_to_start(host: Host, request: pytest.FixtureRequest) -> None:
    answers: list[tuple[int, str]] = []
    calling = threading.Thread(target=lambda: answers.append(host.call(ADD)))
    calling.start()
    time.sleep(0.5)
    request.getfixturevalue("felix")
    calling.join()
    assert answers == [(0, "{}")]


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
def test_without_felix_the_runtime_is_told_within_5_s_to_try_again(host: Host, command: str, code: int) -> None:
    before = time.monotonic()
    assert host.refusal({**ADD, "CNI_COMMAND": command}) == (
        code,
        "calico-node's felix does not answer at /var/run/calico/cni.sock ([Errno 2] No such file or directory): "
        "check that it runs on this node",
    )
    assert time.monotonic() - before < 5
    assert not host.spool.exists()


def test_a_felix_that_died_leaves_a_socket_that_nobody_answers(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(host.socket))
    assert host.refusal(ADD)[0] == 11


def test_a_felix_that_dies_within_the_answer_is_one_that_does_not_answer(host: Host) -> None:
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(host.socket))
        dying.listen()

        def die() -> None:
            connection, _ = dying.accept()
            connection.recv(1 << 16)
            connection.sendall(frame.answer(0, b"{}")[:-1])
            connection.close()

        thread = threading.Thread(target=die)
        thread.start()
        assert host.refusal(ADD)[0] == 11
        thread.join()


def test_without_felix_a_deletion_is_kept_for_it(host: Host) -> None:
    variables = {**DEL, "CNI_CONTAINERID": "a/b", "CNI_NETNS": "/run/netns/x"}
    assert host.call(variables) == (0, "")
    assert [path.name for path in host.spool.iterdir()] == ["a_b:eth0"]
    assert frame.parse((host.spool / "a_b:eth0").read_bytes()) == (variables, CONF)
    assert host.spool.stat().st_mode & 0o777 == 0o700


def test_a_deletion_that_comes_twice_is_kept_once_and_felix_does_it(host: Host) -> None:
    for _ in range(2):
        host.call(DEL)
    done: list[str] = []

    async def delete(request: object) -> None:
        done.append(str(request))

    assert asyncio.run(Spool(host.spool).drain(delete)) == 1
    assert list(host.spool.iterdir()) == []


def test_a_deletion_that_cannot_be_kept_is_the_runtimes_again(host: Host) -> None:
    host.spool.parent.mkdir(parents=True)
    host.spool.write_text("a file")
    code, message = host.refusal(DEL)
    assert code == 11
    assert "and the deletion cannot be kept until it does: " in message


def test_the_helper_says_which_version_it_is() -> None:
    done = subprocess.run([*plugins.plugin("c"), "-v"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{plugins.VERSION}\n"


def test_the_helper_called_calico_ipam_says_who_gives_out_addresses(tmp_path: Path) -> None:
    program = tmp_path / "calico-ipam"
    program.symlink_to(plugins.plugin("c")[0])
    host = Host((str(program),), tmp_path)
    code, message = host.refusal(ADD)
    assert (code, message) == (4, "calico-ipam gives addresses to the plugin calico only; choose another ipam.type")
    assert host.call(DEL) == (0, "")
