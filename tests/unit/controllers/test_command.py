"""The controllers as a process on the embedded datastore: what it answers, and that it leaves in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers import lease
from datastore.sqlite import SqliteStore

PROGRAM = (sys.executable, "-c", "import sys; from controllers.command import main; sys.exit(main())")
PATIENCE_S = 20.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    path = str(tmp_path / "datastore.sqlite")
    return {**os.environ, "DATASTORE_PATH": path, "PROMETHEUS_METRICS_PORT": str(port), "DATASTORE_TYPE": "sqlite"}


@pytest.fixture
def process(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(PROGRAM, env=environ, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*PROGRAM, *words), env=environ, capture_output=True, text=True, timeout=PATIENCE_S)


def test_it_leads_answers_its_probes_and_lets_go_when_told_to_end(
    environ: dict[str, str], process: subprocess.Popen[str]
) -> None:
    assert process.stdout is not None
    assert any("lease.taken" in line for line in process.stdout)
    assert run(environ, "-ready").returncode == 0
    assert run(environ, "-live").returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0

    async def read() -> str:
        return lease.holder_of(await SqliteStore(environ["DATASTORE_PATH"]).get(lease.KEY))

    assert asyncio.run(read()) == ""


def test_a_probe_of_one_that_does_not_run_fails_in_words(environ: dict[str, str]) -> None:
    asked = run(environ, "-ready")
    assert (asked.returncode, asked.stderr[:41]) == (1, "calico-kube-controllers does not answer: ")


def test_a_variable_that_cannot_be_meant_ends_it_at_once(environ: dict[str, str]) -> None:
    ended = run({**environ, "RECONCILER_PERIOD": "often"})
    assert (ended.returncode, ended.stderr) == (1, "RECONCILER_PERIOD=often: must be a duration like 5m or 30s\n")


@pytest.mark.parametrize("word", ["-version", "--version", "-v"])
def test_it_says_its_version(environ: dict[str, str], word: str) -> None:
    assert run(environ, word).stdout.startswith("v0.")
