"""Every command that is offered is there, explains itself, and is found wherever the global flags stand."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from calicoctl.tree import ROOT, Branch, Leaf, find
from tests.unit.calicoctl.shell import Shell


def leaves(branch: Branch, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Leaf]]:
    for name, command in branch.commands.items():
        if isinstance(command, Branch):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


LEAVES = dict(leaves(ROOT))
THERE = [name for name, leaf in LEAVES.items() if find_spec(f"calicoctl.{leaf.module}")]


@pytest.mark.parametrize("name", THERE)
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = Shell()(f"{name} --help")
    assert shown.status == 0
    assert f"\nUsage:\n  calicoctl {name}" in shown.out
    assert f"  calicoctl {name}" in shown.out.partition("Examples:\n")[2]
    assert f"help for {name.split()[-1]}\n" in shown.out


def test_the_programs_help_lists_its_commands() -> None:
    shown = Shell()("--help").out
    assert "Available Commands:\n  apply       Create resources, or update those that exist\n" in shown
    assert shown == Shell()("").out
    assert [line.split()[0] for line in shown.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()] == sorted(
        ROOT.commands
    )


@pytest.mark.parametrize(
    "line",
    [
        "ipam show --ip 1",
        "-l debug ipam show --ip 1",
        "ipam --context x show --ip 1",
        "--log-level=info ipam show --ip 1",
    ],
)
def test_global_flags_may_stand_anywhere(line: str) -> None:
    assert find(line.split()).path == ("calicoctl", "ipam", "show")


def test_a_flags_value_is_not_taken_for_a_command() -> None:
    found = find(["--context", "get", "version"])
    assert (found.path, found.rest) == (("calicoctl", "version"), ["--context", "get"])
