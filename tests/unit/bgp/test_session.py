"""The state machine: the whole table, every (state, event), and the timers."""

from ipaddress import IPv4Address

import pytest

from bgp.session import (
    CONNECT_RETRY_S,
    DIAL_TIMEOUT_S,
    ERROR_WAIT_S,
    OPEN_HOLD_TIME_S,
    SHORTEST_SEND_HOLD_S,
    TABLE,
    Do,
    Event,
    Notify,
    Session,
    State,
    keeps_own_dial,
)


def step(state: State, event: Event) -> str:
    """``OpenConfirm: send keepalive``, or ``Idle: notify 5/1, close``."""
    found = TABLE[state, event]
    done = ", ".join(
        f"notify {action.code}/{action.subcode}"
        if isinstance(action, Notify)
        else action.name.lower().replace("_", " ")
        for action in found.actions
    )
    return f"{found.state.value}: {done}" if done else found.state.value


EXPECTED = """
                   Idle                 Connect              Active               OpenSent                          OpenConfirm                       Established
START              Connect: dial        Connect              Active               OpenSent                          OpenConfirm                       Established
START_PASSIVE      Active               Idle: close          Active               Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 5/3, down, close
STOP               Idle                 Idle: close          Idle: close          Idle: notify 0/0, close           Idle: notify 0/0, close           Idle: notify 0/0, down, close
RETRY_EXPIRED      Idle                 Active: close        Connect: dial        Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 5/3, down, close
HOLD_EXPIRED       Idle                 Idle: close          Idle: close          Idle: notify 4/0, close           Idle: notify 4/0, close           Idle: notify 4/0, down, close
KEEPALIVE_EXPIRED  Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           OpenConfirm: send keepalive       Established: send keepalive
CONNECTED          Idle                 OpenSent: send open  Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 5/3, down, close
ACCEPTED           Idle                 OpenSent: send open  OpenSent: send open  Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 5/3, down, close
TCP_FAILED         Idle                 Active: close        Idle: close          Active: close                     Active: close                     Active: lost, close
OPEN               Idle                 Idle: close          Idle: close          OpenConfirm: send keepalive       Idle: notify 5/2, close           Idle: notify 5/3, down, close
HEADER_ERROR       Idle                 Idle: close          Idle: close          Idle: notify 0/0, close           Idle: notify 0/0, close           Idle: notify 0/0, down, close
OPEN_ERROR         Idle                 Idle: close          Idle: close          Idle: notify 0/0, close           Idle: notify 0/0, close           Idle: notify 5/3, down, close
COLLISION          Idle                 Idle: close          Idle: close          Idle: notify 6/7, close           Idle: notify 6/7, close           Idle: notify 6/7, down, close
NOTIFICATION       Idle                 Idle: close          Idle: close          Idle: close                       Idle: close                       Idle: down, close
KEEPALIVE          Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Established: restart hold, up     Established: restart hold
UPDATE             Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Established: restart hold, deliver
UPDATE_ERROR       Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 0/0, down, close
SEND_HOLD_EXPIRED  Idle                 Idle: close          Idle: close          Idle: notify 8/0, close           Idle: notify 8/0, close           Idle: notify 8/0, down, close
REFRESH            Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Established: deliver
REFRESH_ERROR      Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Idle: notify 0/0, down, close
REPLACED           Idle                 Idle: close          Idle: close          Idle: notify 5/1, close           Idle: notify 5/2, close           Active: lost, close
"""  # noqa: E501


def expected() -> dict[tuple[State, Event], str]:
    header, *rows = EXPECTED.strip("\n").splitlines()
    starts = [header.index(state.value) for state in State]
    cells = {}
    for row in rows:
        event = Event[row[: starts[0]].strip()]
        for state, start, end in zip(State, starts, [*starts[1:], None], strict=True):
            cells[state, event] = row[start:end].strip()
    return cells


def test_the_table_has_every_state_and_every_event() -> None:
    assert set(TABLE) == {(state, event) for state in State for event in Event}
    assert set(expected()) == set(TABLE)


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_each_event_leads_where_the_table_says(state: State) -> None:
    found = {event.name: step(state, event) for event in Event}
    assert found == {event.name: cell for (where, event), cell in expected().items() if where is state}


def test_whatever_leaves_established_says_whether_its_routes_may_stay() -> None:
    for (state, _), found in TABLE.items():
        ends = state is State.ESTABLISHED and found.state is not State.ESTABLISHED
        assert ends == (Do.DOWN in found.actions or Do.LOST in found.actions)


def test_routes_are_never_kept_when_a_notification_went_or_came() -> None:
    for (_, event), found in TABLE.items():
        is_notified = event is Event.NOTIFICATION or any(isinstance(action, Notify) for action in found.actions)
        assert not (is_notified and Do.LOST in found.actions)


def test_a_connection_is_always_closed_after_the_notification() -> None:
    for found in TABLE.values():
        kinds = [isinstance(action, Notify) for action in found.actions]
        assert not any(kinds) or found.actions[-1] is Do.CLOSE


def brought_to(state: State, *, hold_time_s: float = 240.0, is_passive: bool = False) -> Session:
    """At time 0."""
    session = Session(is_passive=is_passive)
    way = (
        [Event.START_PASSIVE, Event.ACCEPTED, Event.OPEN, Event.KEEPALIVE]
        if is_passive
        else [Event.START, Event.CONNECTED, Event.OPEN, Event.KEEPALIVE]
    )
    for event in way:
        if session.state is state:
            return session
        if event is Event.OPEN:
            session.agree(hold_time_s)
        session.handle(event, 0.0)
    assert session.state is state
    return session


@pytest.mark.parametrize(
    ("state", "deadline"),
    [
        (State.CONNECT, DIAL_TIMEOUT_S),
        (State.OPEN_SENT, OPEN_HOLD_TIME_S),
        (State.OPEN_CONFIRM, 30.0),
        (State.ESTABLISHED, 30.0),
    ],
)
def test_each_state_has_its_deadline(state: State, deadline: float) -> None:
    assert brought_to(state, hold_time_s=90).deadline() == deadline


def test_a_failed_dial_is_tried_again_after_the_same_time_however_often() -> None:
    session = brought_to(State.CONNECT)
    now = 0.0
    for _ in range(50):
        session.handle(Event.TCP_FAILED, now)
        assert session.deadline() == now + CONNECT_RETRY_S
        now += CONNECT_RETRY_S
        assert session.due(now) is Event.RETRY_EXPIRED
        assert Do.DIAL in session.handle(Event.RETRY_EXPIRED, now).actions


def test_a_dial_that_nobody_answers_is_given_up_and_repeated() -> None:
    session = brought_to(State.CONNECT)
    assert session.due(DIAL_TIMEOUT_S - 0.001) is None
    assert session.due(DIAL_TIMEOUT_S) is Event.RETRY_EXPIRED
    assert session.handle(Event.RETRY_EXPIRED, DIAL_TIMEOUT_S).state is State.ACTIVE
    assert session.deadline() == DIAL_TIMEOUT_S + CONNECT_RETRY_S


def test_after_a_notification_it_waits_and_then_starts_by_itself() -> None:
    session = brought_to(State.ESTABLISHED)
    session.handle(Event.NOTIFICATION, 100.0)
    assert session.deadline() == 100.0 + ERROR_WAIT_S
    assert session.due(100.0 + ERROR_WAIT_S) is Event.START


def test_a_passive_machine_never_dials() -> None:
    session = brought_to(State.ACTIVE, is_passive=True)
    assert session.deadline() is None
    session = brought_to(State.ESTABLISHED, is_passive=True)
    session.handle(Event.NOTIFICATION, 0.0)
    assert session.due(ERROR_WAIT_S) is Event.START_PASSIVE


def test_the_hold_timer_never_fires_early() -> None:
    session = brought_to(State.ESTABLISHED, hold_time_s=9)
    session.handle(Event.KEEPALIVE, 5.0)
    session.handle(Event.KEEPALIVE_EXPIRED, 13.9)
    assert session.due(13.999) is None
    assert session.due(14.0) is Event.HOLD_EXPIRED


def test_the_hold_timer_runs_in_open_confirm_too() -> None:
    session = brought_to(State.OPEN_CONFIRM, hold_time_s=9)
    session.handle(Event.KEEPALIVE_EXPIRED, 8.9)
    assert session.due(9.0) is Event.HOLD_EXPIRED
    assert session.handle(Event.HOLD_EXPIRED, 9.0).actions == (Notify(4), Do.CLOSE)


@pytest.mark.parametrize("event", [Event.KEEPALIVE, Event.UPDATE])
def test_keepalives_and_updates_restart_the_hold_timer(event: Event) -> None:
    session = brought_to(State.ESTABLISHED, hold_time_s=9)
    session.handle(event, 8.0)
    session.handle(Event.KEEPALIVE_EXPIRED, 16.0)
    assert session.due(16.9) is None
    assert session.due(17.0) is Event.HOLD_EXPIRED


def test_a_refresh_does_not_restart_the_hold_timer() -> None:
    session = brought_to(State.ESTABLISHED, hold_time_s=9)
    session.handle(Event.REFRESH, 8.0)
    session.handle(Event.KEEPALIVE_EXPIRED, 8.0)
    assert session.due(9.0) is Event.HOLD_EXPIRED


def test_keepalives_go_out_every_third_of_the_hold_time() -> None:
    session = brought_to(State.ESTABLISHED, hold_time_s=240)
    assert session.deadline() == 80.0
    session.handle(Event.KEEPALIVE_EXPIRED, 80.0)
    session.handle(Event.KEEPALIVE, 80.0)
    assert session.deadline() == 160.0


def test_becoming_established_does_not_put_off_the_next_keepalive() -> None:
    session = brought_to(State.OPEN_CONFIRM, hold_time_s=90)
    session.handle(Event.KEEPALIVE, 20.0)
    assert session.deadline() == 30.0


def test_a_hold_time_of_zero_means_no_timers() -> None:
    assert brought_to(State.OPEN_CONFIRM, hold_time_s=0).deadline() is None
    assert brought_to(State.ESTABLISHED, hold_time_s=0).deadline() is None


def test_a_peer_that_does_not_read_is_given_up_after_the_send_hold_time() -> None:
    session = brought_to(State.ESTABLISHED, hold_time_s=0)
    session.blocked(10.0)
    assert session.due(10.0 + SHORTEST_SEND_HOLD_S) is Event.SEND_HOLD_EXPIRED
    session.unblocked()
    assert session.deadline() is None


def test_the_greater_identifier_keeps_the_connection_that_it_dialled() -> None:
    low, high = IPv4Address("9.0.0.1"), IPv4Address("10.0.0.1")
    assert keeps_own_dial((high, 64512), (low, 64512))
    assert not keeps_own_dial((low, 64512), (high, 64512))
    assert keeps_own_dial((low, 65001), (low, 64512))
