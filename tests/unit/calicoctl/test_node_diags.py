"""node diags packs what programs say, and tells what could not be had."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from calicoctl import node_diags
from tests.unit.calicoctl.shell import Shell


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs; the temporary files are beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def diags(line: str = "") -> tuple[str, Mapping[str, str]]:
    """What was said, with the temporary folder's name settled, and the files of the archive."""
    shown = Shell()(f"node diags {line}")
    assert shown.status == 0
    archive = re.findall(r"Diags saved to (\S+)\n", shown.out)[0]
    with tarfile.open(archive) as tar:
        read = {each.name: tar.extractfile(each) for each in tar if each.isfile()}
        files = {name.removeprefix("diagnostics/"): file.read().decode() for name, file in read.items() if file}
    return shown.out.replace(str(Path(archive).parent), "TMP"), files


def test_what_programs_say_is_packed(programs: Path, tmp_path: Path) -> None:
    for name in {step.command.split()[0] for step in node_diags.STEPS} | {"ss"}:
        install(programs, name, f'echo "{name} $*"')
    (tmp_path / "log" / "cni").mkdir(parents=True)
    (tmp_path / "log" / "cni" / "cni.log").write_text("a line\n")
    said, files = diags(f"--log-dir {tmp_path / 'log'}")
    assert said.startswith("Collecting diagnostics\nUsing temp dir: TMP\nSkipping container ipset dump")
    assert "\nDumping routes (IPv4)\nDumping routes (IPv6)\n" in said
    assert re.search(
        r"\nDumping ss\nCopying Calico logs\nCould not collect .*\n\nDiags saved to TMP/diags-\d{8}_\d{6}\.tar\.gz\n"
        r"If required, you can upload the diagnostics bundle to a file sharing service.\n$",
        said,
    ), said
    assert files["ipv4_route"] == "ip -4 route\n"
    assert files["ss"] == "ss -a -n\n"
    assert files["logs/cni/cni.log"] == "a line\n"
    assert {step.name for step in node_diags.STEPS} < set(files)
    assert [each.suffix for each in (tmp_path / "tmp").glob("calico*/*")] == [".gz"], "only the archive is left"


def test_what_fails_is_told_and_the_rest_is_collected(programs: Path) -> None:
    install(programs, "hostname", "echo node1")
    install(programs, "date", "echo no clock >&2; exit 3")
    said, files = diags("--log-dir /nowhere")
    assert files == {"hostname": "node1\n"}
    assert "Failed to run command: date\nError: no clock\n" in said
    assert "Dumping ipsets\nFailed to run command: ipset list\nError: ipset is not installed\n" in said
    assert "Error copying log files: stat /nowhere: no such file or directory\n" in said
    assert (
        "Skipping container ipset dump: no supported container runtime found in PATH (tried docker, nerdctl, crictl)\n"
        in said
    )


def test_the_logs_of_calicos_containers_are_asked_of_the_runtime(programs: Path) -> None:
    listing = "echo calico-node:2026; echo k8s_POD_calico:2026; echo gone:2026"
    install(
        programs, "docker", f'case "$1 $2" in "ps -a") {listing};; "logs calico-node") echo hello;; *) exit 1;; esac'
    )
    said, files = diags()
    assert files["logs/calico-node.log"] == "hello\n"
    assert files["logs/container_creation_time"] == "calico-node:2026\ngone:2026\n"
    assert "Copying logs from Calico containers (docker)\nCould not pull log for container gone: \n" in said


def test_it_needs_root(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert str(Shell()("node diags")) == "Need super user privileges: Operation not permitted\n[rc 1]"
