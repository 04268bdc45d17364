"""Whole sessions with upstream's calicoctl, and the same with ours: every letter, blank and empty line.

Where ours differs on purpose, a remark above the command says why.
"""

from __future__ import annotations

from tests.unit.calicoctl.shell import GOLDEN, Shell, retold, steps_of


def check(shell: Shell, name: str) -> None:
    told, came = retold(shell, steps_of((GOLDEN / f"{name}.txt").read_text()))
    assert came == told


def test_every_kind_is_shown_as_upstream_shows_it() -> None:
    check(Shell(), "tables")


def test_errors_are_worded_as_upstreams_are() -> None:
    check(furnished(), "errors")


def furnished() -> Shell:
    """Three pools and three nodes."""
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    return shell
