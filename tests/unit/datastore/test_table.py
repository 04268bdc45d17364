"""A table holds what is so, however it was told; a document that cannot be read changes nothing."""

from __future__ import annotations

from datastore.follow import Batch
from datastore.resource import Key, Resource
from datastore.resources import IPPool
from datastore.store import Rejected
from datastore.table import Table


def pool(name: str, cidr: str = "10.0.0.0/16", revision: str = "1") -> Resource:
    return Resource("IPPool", name, spec={"cidr": cidr}, revision=revision)


def key(name: str) -> Key:
    return Key("IPPool", name)


def snapshot(*puts: Resource) -> Batch:
    return Batch("IPPool", True, puts)


def delta(*puts: Resource, gones: tuple[str, ...] = ()) -> Batch:
    return Batch("IPPool", False, puts, tuple(key(name) for name in gones))


def shown(table: Table[IPPool]) -> list[str]:
    values = [f"{key.name} {value.cidr}" for key, value in sorted(table.values.items())]
    return values + [f"rejected {error}" for _, error in sorted(table.rejected.items())]


def names(changed: frozenset[Key]) -> list[str]:
    return sorted(key.name for key in changed)


def test_a_table_is_in_sync_from_its_first_snapshot_on() -> None:
    table = Table(IPPool)
    assert (table.in_sync, table.generation) == (False, 0)
    table.apply(delta(pool("a")))
    assert (table.in_sync, table.generation) == (False, 1)
    table.apply(snapshot())
    assert (table.in_sync, table.generation, shown(table)) == (True, 2, [])


def test_a_first_snapshot_of_nothing_is_news_all_the_same() -> None:
    table = Table(IPPool)
    assert (names(table.apply(snapshot())), table.in_sync, table.generation) == ([], True, 1)


def test_a_delta_changes_what_it_names_and_nothing_else() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("b"), pool("c")))
    changed = table.apply(delta(pool("b", "10.1.0.0/16"), pool("d"), gones=("c", "never there")))
    assert names(changed) == ["b", "c", "d"]
    assert shown(table) == ["a 10.0.0.0/16", "b 10.1.0.0/16", "d 10.0.0.0/16"]


def test_a_snapshot_removes_what_is_not_in_it_and_tells_only_the_difference() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("b"), pool("c")))
    changed = table.apply(snapshot(pool("a"), pool("b", "10.1.0.0/16", "2")))
    assert names(changed) == ["b", "c"]
    assert shown(table) == ["a 10.0.0.0/16", "b 10.1.0.0/16"]


def test_what_is_told_again_is_no_change() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("bad", "nonsense")))
    for again in (snapshot(pool("a"), pool("bad", "nonsense")), delta(pool("a")), delta(gones=("b",)), delta()):
        assert (names(table.apply(again)), table.generation) == ([], 1)


def test_a_value_that_did_not_change_is_the_same_object() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a")))
    before = table.values[key("a")]
    table.apply(snapshot(pool("a"), pool("b")))
    assert table.values[key("a")] is before


def test_a_document_that_cannot_be_read_is_shown_and_the_last_good_value_stays() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("b")))
    changed = table.apply(delta(pool("a", "nonsense", "2"), pool("new", "worse")))
    assert names(changed) == ["a", "new"]
    assert shown(table) == [
        "a 10.0.0.0/16",
        "b 10.0.0.0/16",
        "rejected error with field IPPool(a).spec.cidr ('nonsense' does not appear to be an IPv4 or IPv6 network)",
        "rejected error with field IPPool(new).spec.cidr ('worse' does not appear to be an IPv4 or IPv6 network)",
    ]


def test_one_bad_object_does_not_stop_the_others() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a", "nonsense"), pool("b")))
    assert shown(table)[0] == "b 10.0.0.0/16"


def test_a_document_that_is_good_again_is_no_longer_rejected() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a")))
    table.apply(delta(pool("a", "nonsense", "2")))
    assert names(table.apply(delta(pool("a")))) == ["a"]
    assert (shown(table), table.generation) == (["a 10.0.0.0/16"], 3)


def test_a_rejected_object_that_is_gone_is_gone() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("bad", "nonsense"), pool("worse", "nonsense")))
    assert names(table.apply(delta(gones=("bad",)))) == ["bad"]
    assert names(table.apply(snapshot(pool("a")))) == ["worse"]
    assert shown(table) == ["a 10.0.0.0/16"]


def test_what_the_driver_cannot_read_is_rejected_and_is_not_gone() -> None:
    table = Table(IPPool)
    table.apply(snapshot(pool("a"), pool("b")))
    why = Rejected("IPPool(a)", "cannot be read")
    for is_snapshot in (False, True):
        puts = (pool("b"),) if is_snapshot else ()
        table.apply(Batch("IPPool", is_snapshot, puts, unreadable={key("a"): why}))
        assert shown(table) == ["a 10.0.0.0/16", "b 10.0.0.0/16", f"rejected {why}"]
    assert names(table.apply(delta(pool("a", "10.9.0.0/16")))) == ["a"]
    assert shown(table) == ["a 10.9.0.0/16", "b 10.0.0.0/16"]


def test_what_could_never_be_read_is_rejected_until_it_is_gone() -> None:
    table = Table(IPPool)
    table.apply(Batch("IPPool", True, (), unreadable={key("a"): Rejected("IPPool(a)", "cannot be read")}))
    assert shown(table) == ["rejected error with field IPPool(a) (cannot be read)"]
    assert names(table.apply(snapshot())) == ["a"]
    assert shown(table) == []
