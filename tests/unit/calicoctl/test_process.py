"""calicoctl as a process: how it starts, what it loads, how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.calicoctl.shell import GOLDEN

ROOT = Path(__file__).parents[3]
MAIN = "import sys; from calicoctl.command import main; sys.exit(main())"
LOADED = (
    "import sys; from calicoctl.command import main; main(); sys.stdout.flush()\n"
    "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "datastore.sqlite")
    done = calicoctl(path, "apply", "-f", str(GOLDEN / "pools_and_nodes.yaml"))
    assert done.stdout == "Successfully applied 6 resource(s)\n"
    return path


def calicoctl(database: str, *words: str, program: str = MAIN) -> subprocess.CompletedProcess[str]:
    environ = {"DATASTORE_TYPE": "sqlite", "DATASTORE_PATH": database, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", program, *words], env=environ, capture_output=True, text=True)


SLOW = {"asyncio", "pyroute2", "exabgp", "socket", "subprocess", "tempfile", "pathlib", "logging", "inotify_simple"}
"""Each takes from 4 to 200 ms to import; a whole command takes 40 to 80."""


@pytest.mark.parametrize(
    ("words", "may_load"),
    [
        ("get nodes", set()),
        ("get ippools -o yaml", set()),
        ("get ippools -o json", set()),
        ("get ippool small", set()),
        ("delete ippool small", set()),
        ("label nodes node1 a=b", set()),
        ("ipam show", set()),
        ("ipam check", set()),
        ("plan --delete ippool small", set()),
        ("version", set()),
        ("--help", set()),
        (f"apply -f {GOLDEN / 'pools_and_nodes.yaml'}", {"yaml"}),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(database: str, words: str, may_load: set[str]) -> None:
    done = calicoctl(database, *words.split(), program=LOADED)
    loaded = set(done.stderr.split())
    assert "calicoctl" in loaded, done.stderr
    assert loaded & (SLOW | {"yaml"}) == may_load


def test_what_failed_is_on_standard_error_and_the_status_is_1(database: str) -> None:
    done = calicoctl(database, "get", "ippool", "small", "none")
    assert (done.returncode, done.stderr) == (1, "resource does not exist: IPPool(none) with error: <nil>\n")
    assert done.stdout.startswith("NAME    CIDR           SELECTOR   \nsmall   10.99.0.0/24   all()      \n\n")


def test_a_plan_that_changes_something_ends_with_status_2(database: str) -> None:
    assert calicoctl(database, "plan", "-f", str(GOLDEN / "pools_and_nodes.yaml")).returncode == 0
    assert calicoctl(database, "plan", "--delete", "ippool", "small").returncode == 2
    assert calicoctl(database, "plan", "--delete", "ippool", "none").returncode == 1


def test_errors_of_delete_end_with_an_empty_line_as_upstreams_do(database: str) -> None:
    done = calicoctl(database, "delete", "ippool", "none")
    assert done.stderr == (
        "Failed to delete 'IPPool' resource: resource does not exist: IPPool(none) with error: <nil>\n\n"
    )


def test_a_reader_that_has_seen_enough_is_no_error(database: str) -> None:
    program = [sys.executable, "-c", MAIN, "get", "ippools", "-o", "yaml"]
    environ = {"DATASTORE_PATH": database, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(program, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "datastore.sqlite"
    done = calicoctl(str(path), "get", "nodes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"the datastore {path} cannot be made, because the directory {path.parent} does not exist: create it, or set"
        " DATASTORE_PATH to another file\n"
    )


def test_a_datastore_that_does_not_exist_is_named_with_those_that_do(database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "get", "nodes"],
        env={"DATASTORE_TYPE": "consul", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "error with field DATASTORE_TYPE (consul is none of sqlite, etcdv3, kubernetes)\n"
