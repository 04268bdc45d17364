"""Nothing of ours is deleted before in-sync, and nothing foreign ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felix.fib.model import DeleteRoute, RaiseLink
from felix.fib.owner import is_ours
from felix.fib.plan import ALL_IN_SYNC, NOTHING_IN_SYNC, InSync, plan
from tests.small_world import OWNERSHIP, Case, cases, foreign_routes, read

any_sync = st.builds(InSync, st.booleans(), st.booleans(), st.booleans())


@given(cases(), any_sync)
def test_foreign_routes_are_the_same_after_every_op(case: Case, in_sync: InSync) -> None:
    kernel = case.kernel()
    before = read(kernel)
    for op in plan(case.desired, before, ownership=OWNERSHIP, in_sync=in_sync).ops:
        kernel.do(op)
        assert foreign_routes(read(kernel)) == foreign_routes(before), op


@given(cases())
def test_nothing_is_deleted_before_anything_is_in_sync(case: Case) -> None:
    decided = plan(case.desired, read(case.kernel()), ownership=OWNERSHIP, in_sync=NOTHING_IN_SYNC)
    assert decided.removals == ()


@given(cases())
def test_everything_of_ours_that_nobody_wants_or_waits_for_is_gone_once_all_is_in_sync(case: Case) -> None:
    kernel = case.kernel()
    decided = plan(case.desired, read(kernel), ownership=OWNERSHIP, in_sync=ALL_IN_SYNC)
    for op in decided.ops:
        kernel.do(op)
    waiting = case.desired.pending.keys() | {key.dst for key in decided.pending}
    left = [route for key, route in read(kernel).routes.items() if key not in case.desired.routes]
    assert [str(route) for route in left if is_ours(route, OWNERSHIP) and route.dst not in waiting] == []


@given(cases(), any_sync)
def test_only_devices_of_pods_are_raised(case: Case, in_sync: InSync) -> None:
    decided = plan(case.desired, read(case.kernel()), ownership=OWNERSHIP, in_sync=in_sync)
    raised = {op.device for op in decided.ops if isinstance(op, RaiseLink)}
    assert raised <= case.down & {"cali1", "cali2"}
    assert not any(isinstance(op, DeleteRoute) for op in decided.makes)
