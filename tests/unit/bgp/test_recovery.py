"""When the wait after our own start is over."""

from bgp.recovery import RESTART_TIME_S, Recovery


def test_it_is_over_when_all_have_said_what_they_know() -> None:
    recovery = Recovery()
    recovery.expect(["a", "b"], 5.0)
    recovery.hear("a")
    assert (recovery.is_over, recovery.waits_for) == (False, ("b",))
    recovery.hear("b")
    assert (recovery.is_over, recovery.waits_for) == (True, ())


def test_without_neighbours_it_is_over_at_once() -> None:
    recovery = Recovery()
    recovery.expect([], 0.0)
    assert recovery.is_over


def test_it_does_not_end_before_the_neighbours_are_known() -> None:
    recovery = Recovery()
    recovery.hear("a")
    assert (recovery.is_over, recovery.deadline) == (False, None)
    recovery.expect(["a"], 5000.0)
    assert recovery.is_over


def test_its_time_begins_when_the_neighbours_are_known_and_not_again() -> None:
    recovery = Recovery()
    recovery.expect(["a"], 5.0)
    recovery.expect(["a", "b"], 50.0)
    assert recovery.deadline == 5.0 + RESTART_TIME_S
    recovery.expire()
    assert recovery.is_over


def test_a_neighbour_that_is_deleted_meanwhile_is_not_waited_for() -> None:
    recovery = Recovery()
    recovery.expect(["a", "b"], 0.0)
    recovery.hear("a")
    recovery.expect(["a"], 1.0)
    assert recovery.is_over


def test_what_is_passed_on_waits_for_those_alone_that_will_say_something() -> None:
    recovery = Recovery()
    recovery.expect(["a", "old"], 0.0)
    recovery.excuse("old")
    assert (recovery.may_select, recovery.is_over) == (False, False)
    recovery.hear("a")
    assert (recovery.may_select, recovery.is_over) == (True, False)
    recovery.expire()
    assert (recovery.may_select, recovery.is_over) == (True, True)


def test_once_over_it_stays_over() -> None:
    recovery = Recovery()
    recovery.expect([], 0.0)
    recovery.expect(["new"], 1.0)
    assert recovery.is_over
