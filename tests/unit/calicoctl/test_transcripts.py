"""Whole sessions with upstream's calicoctl, and the same with ours: every letter, blank and empty line.

Where ours differs on purpose, a remark above the command says why.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell, retold, steps_of


def check(shell: Shell, name: str) -> None:
    told, came = retold(shell, steps_of((GOLDEN / f"{name}.txt").read_text()))
    assert came == told


def test_every_kind_is_shown_as_upstream_shows_it() -> None:
    check(Shell(), "tables")


def test_errors_are_worded_as_upstreams_are() -> None:
    check(furnished(Shell()), "errors")


def test_an_empty_datastore_has_no_addresses() -> None:
    check(Shell(), "ipam_nothing")


def test_addresses_and_settings_are_shown_as_upstream_shows_them() -> None:
    check(with_three_pods(Shell()), "ipam_three_pods")


def test_lost_addresses_are_found_and_released_as_upstream_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell = with_three_pods(Shell())
    add_pod(shell, "node1", "cida1", "10.244.166.134")
    add_pod(shell, "node1", "cida2", "10.244.166.135")
    check(shell, "ipam_leak")


def furnished(shell: Shell) -> Shell:
    """Three pools and three nodes."""
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    return shell


def with_three_pods(shell: Shell) -> Shell:
    furnished(shell)
    assert shell("apply -f -", (GOLDEN / "reservation.yaml").read_text()).status == 0
    add_pod(shell, "node1", "cid0001", "10.244.166.128", since="2026-11-22 06:00:52.458351585 +0000 UTC")
    add_pod(shell, "node2", "cid0002", "10.244.104.0", since="2026-11-22 06:00:52.577203557 +0000 UTC")
    add_pod(shell, "node3", "cid0003", "10.244.135.0", since="2026-11-22 06:00:52.698348022 +0000 UTC")
    return shell
