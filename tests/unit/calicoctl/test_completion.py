"""The tab key completes commands, flags, kinds and names, and says nothing where it cannot."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from datastore.store import Store, Unavailable
from tests.unit.calicoctl.shell import GOLDEN, Shell

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def shell() -> Shell:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    return shell


def offered(shell: Shell, line: str) -> list[str]:
    """What may stand in the place of the last word, and the directive. A blank at the end begins a new word."""
    words = [*shlex.split(line), ""] if line.endswith(" ") or not line else shlex.split(line)
    shown = shell(shlex.join(["__complete", *words]))
    assert (shown.err, shown.status) == ("", 0)
    return [each.partition("\t")[0] for each in shown.out.splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ge", ["get", ":4"]),
        ("ipam s", ["show", "split", ":4"]),
        ("--context x datastore migrate ", ["export", "import", "lock", "unlock", ":4"]),
        ("get ipp", ["ippool", ":4"]),
        ("get nodes ", ["node1", "node2", "node3", ":4"]),
        ("get nodes node1 ", ["node2", "node3", ":4"]),
        ("delete pool def", ["default-ipv4-ippool", ":4"]),
        ("label nodes node1 ", [":4"]),
        ("get nodes -o y", ["yaml", ":4"]),
        ("get nodes --output=j", ["--output=json", ":4"]),
        ("get --all", ["--all-namespaces", "--allow-version-mismatch", ":4"]),
        ("apply -f ", [":0"]),
        ("apply --filename ", [":0"]),
        ("ipam check -o ", [":0"]),
        ("-l w", [":4"]),
        ("completion ", ["bash", "fish", "powershell", "zsh", ":4"]),
        ("nonsense ", [":4"]),
        ("get nonsense ", [":4"]),
        ("get --nonsense nodes ", [":4"]),
    ],
)
def test_a_line_goes_on_as_it_may(shell: Shell, line: str, expected: list[str]) -> None:
    assert offered(shell, line) == expected


def test_commands_come_with_what_they_do(shell: Shell) -> None:
    assert "ipam\tAddresses: who has which, what is left, what is lost\n" in shell("__complete ''").out


def test_a_datastore_that_does_not_answer_is_silent() -> None:
    shell = Shell()

    def down(store: Store) -> Store:
        raise Unavailable("gone")

    shell.wrap = down
    assert offered(shell, "get nodes ") == [":4"]


@pytest.mark.parametrize("name", ["bash", "zsh", "fish", "powershell"])
def test_there_is_a_script_for_each_shell(name: str) -> None:
    shown = Shell()(f"completion {name}")
    assert shown.status == 0 and "calicoctl __complete" in shown.out


def test_a_shell_that_is_not_known_is_named() -> None:
    assert Shell()("completion csh").err == (
        'invalid argument "csh" for "calicoctl completion": it is none of bash, fish, powershell, zsh\n'
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["ipam", "sp"], ["split"]), (["get", "bgpf"], ["bgpfilter"]), (["get", "--all-n"], ["--all-namespaces"])],
)
def test_bash_completes_with_its_script(tmp_path: Path, words: list[str], expected: list[str]) -> None:
    program = tmp_path / "calicoctl"
    main = "from calicoctl.command import main; raise SystemExit(main())"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{main}' \"$@\"\n")
    program.chmod(0o755)
    script = Shell()("completion bash").out
    asked = f"COMP_WORDS=(calicoctl {shlex.join(words)}); COMP_CWORD={len(words)}; __calicoctl_complete"
    done = subprocess.run(
        ["bash", "-c", f'{script}\n{asked}\nprintf "%s\\n" "${{COMPREPLY[@]}}"'],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.stderr) == (expected, "")
