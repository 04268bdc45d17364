"""The journal says after any end of the process what it said before."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from felix.fib.journal import Claims, FileJournal, JournalUnavailable
from felix.fib.model import RouteKey

EXTERNAL = Claims(
    routes=frozenset({RouteKey(ip_network("172.16.0.0/12")), RouteKey(ip_network("fd01::/64"), metric=1024)})
)
POOL = Claims(pools=frozenset({ip_network("10.244.0.0/16")}))


def test_what_is_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "calico" / "fib.journal"
    FileJournal(path).record(EXTERNAL)
    FileJournal(path).record(POOL)
    assert FileJournal(path).claims == EXTERNAL | POOL


def test_what_is_forgotten_is_gone_after_a_restart(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "fib.journal")
    journal.record(EXTERNAL | POOL)
    journal.forget(EXTERNAL)
    assert journal.claims == POOL
    assert FileJournal(tmp_path / "fib.journal").claims == POOL


def test_opening_makes_the_file_short_again(tmp_path: Path) -> None:
    path = tmp_path / "fib.journal"
    journal = FileJournal(path)
    for _ in range(100):
        journal.record(EXTERNAL)
        journal.forget(EXTERNAL)
    journal.record(POOL)
    FileJournal(path)
    assert path.read_text() == "pool 10.244.0.0/16;\n"


@pytest.mark.parametrize("kept", range(1, 60))
def test_a_torn_line_says_nothing_and_spoils_nothing(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "fib.journal"
    first = FileJournal(path)
    first.record(POOL)
    whole_bytes = path.stat().st_size
    first.record(EXTERNAL)
    os.truncate(path, whole_bytes + kept)
    journal = FileJournal(path)
    assert journal.claims.pools == POOL.pools
    assert journal.claims.routes <= EXTERNAL.routes
    journal.record(EXTERNAL)
    assert FileJournal(path).claims == EXTERNAL | POOL


def test_a_folder_that_cannot_be_made_is_the_worlds_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalUnavailable, match=r"fib\.journal: File exists"):
        FileJournal(tmp_path / "file" / "fib.journal")


def test_a_record_that_fails_is_not_kept(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "gone" / "fib.journal")
    (tmp_path / "gone" / "fib.journal").unlink()
    (tmp_path / "gone").rmdir()
    with pytest.raises(JournalUnavailable):
        journal.record(POOL)
    assert not journal.claims
