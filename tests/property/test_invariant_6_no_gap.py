"""Adds before removes, in place where the key is the same: what both states want is never without a route."""

from __future__ import annotations

from hypothesis import given, settings

from felix.fib.model import Actual
from felix.fib.plan import ALL_IN_SYNC, plan
from tests.small_world import ADDRESSES, OWNERSHIP, Case, all_routes, cases, read, way_of


def history(case: Case) -> list[Actual]:
    """What the kernel holds before the plan, and after each of its ops."""
    kernel = case.kernel()
    states = [read(kernel)]
    decided = plan(case.desired, states[0], ownership=OWNERSHIP, in_sync=ALL_IN_SYNC)
    for op in decided.ops:
        assert kernel.do(op) is None, op
        states.append(read(kernel))
    return states


@settings(max_examples=400)
@given(cases())
def test_an_address_that_is_reached_before_and_after_is_reached_after_every_op(case: Case) -> None:
    states = history(case)
    for address in ADDRESSES:
        if way_of(address, states[0]) and way_of(address, states[-1]):
            assert all(way_of(address, state) for state in states), address


@given(cases())
def test_a_destination_that_is_there_before_and_after_is_there_after_every_op(case: Case) -> None:
    destinations = [{route.dst for route in all_routes(state)} for state in history(case)]
    for kept in destinations[0] & destinations[-1]:
        assert all(kept in held for held in destinations), kept


@given(cases())
def test_what_is_wanted_has_a_route_when_all_is_done_unless_the_plan_says_why_not(case: Case) -> None:
    kernel = case.kernel()
    before = read(kernel)
    decided = plan(case.desired, before, ownership=OWNERSHIP, in_sync=ALL_IN_SYNC)
    for op in decided.ops:
        kernel.do(op)
    after = read(kernel)
    for key, (route, _) in case.desired.routes.items():
        excused = key in decided.pending or key in decided.conflicts
        assert excused or after.routes.get(key) == route


@given(cases())
def test_a_second_plan_has_nothing_to_do(case: Case) -> None:
    kernel = case.kernel()
    for op in plan(case.desired, read(kernel), ownership=OWNERSHIP, in_sync=ALL_IN_SYNC).ops:
        kernel.do(op)
    again = plan(case.desired, read(kernel), ownership=OWNERSHIP, in_sync=ALL_IN_SYNC)
    assert str(again) == ""
