"""What stands in the embedded datastore's file, row by row."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from datastore.ledger import FORGOTTEN_AT_ONCE, Ledger, Page, Question
from datastore.resource import Key, Resource
from datastore.store import Compacted, Create, Delete, Put, Update

KEPT = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "datastore.sqlite"


@pytest.fixture
def ledger(path: Path) -> Ledger:
    return Ledger(str(path), changes_kept=KEPT, wall_clock=lambda: 1_600_000_000.0)


def write(ledger: Ledger, one: Create | Update | Delete) -> Resource:
    (result,) = ledger.write([one])
    assert isinstance(result, Resource)
    return result


def rows(path: Path) -> list[str]:
    """The log, as ``name document-or-gone``."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, document IS NOT NULL FROM change ORDER BY revision").fetchall()
    return [f"{name} {'put' if is_put else 'gone'}" for name, is_put in found]


def test_a_write_is_one_row_and_its_document_is_there_once(path: Path, ledger: Ledger) -> None:
    made = write(ledger, Create(Resource("Node", "n", spec={"marked": "needle"})))
    assert made.created == "2020-09-13T12:26:40Z"
    assert rows(path) == ["n put"]
    assert path.read_bytes().count(b"needle") == 1


def test_the_log_keeps_the_last_changes_and_what_is_still_so(path: Path, ledger: Ledger) -> None:
    write(ledger, Create(Resource("Node", "old")))
    write(ledger, Create(Resource("Node", "removed")))
    write(ledger, Delete(Key("Node", "removed")))
    last = write(ledger, Create(Resource("Node", "busy")))
    for _ in range(10 * FORGOTTEN_AT_ONCE):
        last = write(ledger, Update(last))
    kept = rows(path)
    assert KEPT < len(kept) <= KEPT + FORGOTTEN_AT_ONCE + 1
    assert kept == ["old put"] + ["busy put"] * (len(kept) - 1)


def test_an_object_older_than_the_log_leaves_no_row_behind_when_it_changes(path: Path, ledger: Ledger) -> None:
    old = [write(ledger, Create(Resource("Node", name))) for name in ("updated", "deleted")]
    last = write(ledger, Create(Resource("Node", "busy")))
    for _ in range(2 * FORGOTTEN_AT_ONCE):
        last = write(ledger, Update(last))
    write(ledger, Update(replace(old[0], spec={"new": True})))
    write(ledger, Delete(old[1].key))
    assert [row for row in rows(path) if not row.startswith("busy")] == ["updated put", "deleted gone"]


def test_the_file_does_not_grow_with_the_number_of_writes(path: Path, ledger: Ledger) -> None:
    last = write(ledger, Create(Resource("Node", "busy", spec={"text": "x" * 500})))
    for _ in range(2 * FORGOTTEN_AT_ONCE):
        last = write(ledger, Update(last))
    size = path.stat().st_size
    for _ in range(5 * FORGOTTEN_AT_ONCE):
        last = write(ledger, Update(last))
    assert path.stat().st_size == size


def test_changes_come_in_pages_and_each_says_where_the_next_begins(path: Path) -> None:
    ledger = Ledger(str(path))
    since = ledger.listing("Node").revision
    ledger.write([Create(Resource("Node", f"n{number:04}")) for number in range(1200)])
    sizes, names = [], []
    is_last = False
    while not is_last:
        (page,) = ledger.changes([Question("Node", since)])
        assert isinstance(page, Page)
        sizes.append(len(page.changes))
        names += [change.resource.name for change in page.changes if isinstance(change, Put)]
        since, is_last = page.upto, page.is_last
    assert sizes == [500, 500, 200]
    assert names == [f"n{number:04}" for number in range(1200)]


def test_several_questions_are_answered_of_one_moment(ledger: Ledger) -> None:
    since = ledger.listing("Node").revision
    write(ledger, Create(Resource("Node", "n")))
    write(ledger, Create(Resource("IPPool", "p")))
    answers = ledger.changes([Question("Node", since), Question("IPPool", since), Question("Tier", since)])
    assert [len(page.changes) for page in answers if isinstance(page, Page)] == [1, 1, 0]
    assert len({page.upto for page in answers if isinstance(page, Page)}) == 1


@pytest.mark.parametrize("since", ["", "x", "-1", "+1", "1_0", " 1", "²", "9" * 30])
def test_what_is_no_revision_is_compacted(ledger: Ledger, since: str) -> None:
    (answer,) = ledger.changes([Question("Node", since)])
    assert isinstance(answer, Compacted)
