"""A block's rules, on values alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest

from datastore.resources import IPAMBlock
from ipam import block as blocks
from ipam.block import AlreadyTaken, Holder, Release, StaleRelease
from ipam.reserved import Reserved

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def fresh(cidr: str = "10.0.0.0/29") -> IPAMBlock:
    return blocks.fresh(ip_network(cidr), "node1", sequence=100, claimed_at="2026-01-01T00:00:00Z")


def taken(block: IPAMBlock, *handles: str) -> IPAMBlock:
    for handle in handles:
        result = blocks.take_next(block, Holder(handle, {"node": "node1"}))
        assert result is not None
        block = blocks.written(result[0])
    return block


def text(block: IPAMBlock) -> str:
    """``0:a@100 1:- ... | free 1 2 3``"""
    cells = []
    for ordinal, index in enumerate(block.slots):
        holder = "-" if index is None else block.attributes[index].handle or "cooling"
        cells.append(f"{ordinal}:{holder}" + (f"@{block.taken_at[ordinal]}" if ordinal in block.taken_at else ""))
    return " ".join(cells) + " | free " + " ".join(map(str, block.free))


def test_a_fresh_block_is_all_free_in_order() -> None:
    assert text(fresh()) == "0:- 1:- 2:- 3:- 4:- 5:- 6:- 7:- | free 0 1 2 3 4 5 6 7"


def test_addresses_are_taken_from_the_head_and_remember_the_sequence() -> None:
    assert text(taken(fresh(), "a", "b")) == "0:a@100 1:b@101 2:- 3:- 4:- 5:- 6:- 7:- | free 2 3 4 5 6 7"


def test_released_addresses_come_back_at_the_tail() -> None:
    released = blocks.release_handle(taken(fresh(), "a", "b", "c"), "b", now=NOW)
    assert text(released.block) == "0:a@100 1:- 2:c@102 3:- 4:- 5:- 6:- 7:- | free 3 4 5 6 7 1"
    assert released.by_handle == {"b": 1}


def test_holders_with_the_same_handle_and_owner_share_an_attribute() -> None:
    block = taken(fresh(), "a", "a", "b")
    assert [attribute.handle for attribute in block.attributes] == ["a", "b"]
    assert block.slots[:3] == (0, 0, 1)


def test_attributes_that_nobody_uses_go_and_the_others_are_renumbered() -> None:
    released = blocks.release_handle(taken(fresh(), "a", "b", "c"), "a", now=NOW)
    assert [attribute.handle for attribute in released.block.attributes] == ["b", "c"]
    assert released.block.slots[:3] == (None, 0, 1)


def test_reserved_addresses_are_skipped_and_keep_their_place() -> None:
    reserved = Reserved([ip_network("10.0.0.0/31")])
    result = blocks.take_next(fresh(), Holder("a"), reserved=reserved)
    assert result is not None
    block, address = result
    assert str(address) == "10.0.0.2"
    assert block.free == (0, 1, 3, 4, 5, 6, 7)
    assert blocks.count_free(block, reserved) == 5


def test_a_full_block_gives_nothing() -> None:
    assert blocks.take_next(taken(fresh("10.0.0.0/31"), "a", "b"), Holder("c")) is None


def test_an_address_asked_for_by_name_is_given_even_when_reserved() -> None:
    block = blocks.take(fresh(), ip_address("10.0.0.5"), Holder("a"))
    assert block.free == (0, 1, 2, 3, 4, 6, 7)
    with pytest.raises(AlreadyTaken):
        blocks.take(block, ip_address("10.0.0.5"), Holder("b"))


def test_an_address_of_another_block_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.1\.5 is not in block 10\.0\.0\.0/29"):
        blocks.take(fresh(), ip_address("10.0.1.5"), Holder("a"))


def test_a_release_with_another_sequence_releases_nothing() -> None:
    block = taken(fresh(), "a", "b")
    wishes = [Release(ip_address("10.0.0.0"), "a", 100), Release(ip_address("10.0.0.1"), "b", 100)]
    with pytest.raises(StaleRelease, match="given out at 101, not at 100"):
        blocks.release(block, wishes, now=NOW)


def test_a_release_with_another_handle_releases_nothing() -> None:
    with pytest.raises(StaleRelease, match="held by 'a', not by 'z'"):
        blocks.release(taken(fresh(), "a"), [Release(ip_address("10.0.0.0"), "z")], now=NOW)


def test_a_duplicate_in_a_release_counts_once_and_a_free_address_is_reported() -> None:
    wishes = [Release(ip_address(f"10.0.0.{last}")) for last in (0, 0, 7)]
    released = blocks.release(taken(fresh(), "a"), wishes, now=NOW)
    assert released.by_handle == {"a": 1}
    assert released.not_held == (ip_address("10.0.0.7"),)


def test_a_handle_with_a_carriage_return_is_the_one_before_it() -> None:
    block = taken(fresh(), "net.c1\r\neth0")
    assert blocks.held_by(block, "net.c1") == (ip_address("10.0.0.0"),)
    assert blocks.is_empty(blocks.release_handle(block, "net.c1", now=NOW).block)


def test_with_a_cooldown_an_address_is_held_by_nobody_until_it_has_rested() -> None:
    cooling = blocks.release_handle(taken(fresh(), "a"), "a", now=NOW, cooldown_s=30).block
    assert text(cooling).startswith("0:cooling@101 1:-")
    assert blocks.allocations(cooling) == []
    assert blocks.flaws(cooling) == []
    assert not blocks.is_empty(cooling)
    early = blocks.thaw(cooling, now=NOW + timedelta(seconds=29), cooldown_s=30)
    assert early is cooling
    rested = blocks.thaw(cooling, now=NOW + timedelta(seconds=30), cooldown_s=30)
    assert text(rested) == "0:- 1:- 2:- 3:- 4:- 5:- 6:- 7:- | free 1 2 3 4 5 6 7 0"
    assert rested.attributes == ()


def test_an_address_that_cools_down_is_not_released_again() -> None:
    cooling = blocks.release_handle(taken(fresh(), "a"), "a", now=NOW, cooldown_s=30).block
    again = blocks.release(cooling, [Release(ip_address("10.0.0.0"))], now=NOW, cooldown_s=30)
    assert again.not_held == (ip_address("10.0.0.0"),)
    assert again.block is cooling


def test_what_windows_keeps_for_itself_does_not_make_a_block_used() -> None:
    assert blocks.is_empty(taken(fresh(), "windows-reserved-ipam-handle"))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"slots": (3,) + (None,) * 7, "free": tuple(range(1, 8))}, "points at attribute 3, which does not exist"),
        ({"free": (0, 0, 1, 2, 3, 4, 5, 6)}, "an address is free twice"),
        ({"free": (0, 1, 2, 3, 4, 5, 6, 9)}, "a free address is outside the block"),
        ({"free": tuple(range(6))}, "do not add up to the block's size"),
        ({"slots": (None,) * 7}, "has 7 allocation slots, not 8"),
    ],
)
def test_a_flaw_in_a_blocks_structure_is_said_in_words(broken: dict[str, object], said: str) -> None:
    assert any(said in flaw for flaw in blocks.flaws(replace(fresh(), **broken)))  # type: ignore[arg-type]


def test_a_sound_block_has_no_flaws() -> None:
    assert blocks.flaws(taken(fresh(), "a", "b")) == []
