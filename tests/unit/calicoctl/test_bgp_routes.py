"""``calicoctl bgp routes`` and ``node status -o json``: what they ask the speaker, and how its answers are shown."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from calicoctl import node_status
from calicoctl.failure import Failure
from calicoctl.node_status import Machine, Unanswered
from tests.unit.calicoctl.shell import Shell
from tests.unit.calicoctl.test_node_status import a_terminal

ROUTE = {
    "prefix": "192.0.2.0/24",
    "peer": "Global_10_0_0_8",
    "nextHop": "10.0.0.8",
    "localPreference": 100,
    "asPath": [65001, 65002],
    "why": "the shorter AS path",
}
STALE = {**ROUTE, "prefix": "2001:db8::/32", "asPath": [], "isStale": True, "why": "refused: loop"}


@contextmanager
def speaker(path: Path, *answers: Any) -> Iterator[list[Any]]:
    """One that gives these answers, one a connection, and notes what it was asked."""
    asked: list[Any] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                asked.append(json.loads(lines.readline()))
                connection.sendall(json.dumps(answer).encode() + b"\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        thread.join(5)
        server.close()


def test_routes_are_shown_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "bgp.ctl"
    with speaker(path, {"ok": [ROUTE, STALE]}) as asked:
        shown = Shell()(f"bgp routes --received --peer 10.0.0.8 2001:db8::/32 --socket {path}")
    assert asked == [{"do": "routes", "which": "received", "peer": "10.0.0.8", "prefix": "2001:db8::/32"}]
    assert [line.rstrip() for line in shown.out.splitlines()] == [
        "PREFIX          NEXT HOP   PEER              LOCALPREF   AS PATH       WHY",
        "192.0.2.0/24    10.0.0.8   Global_10_0_0_8   100         65001 65002   the shorter AS path",
        "2001:db8::/32   10.0.0.8   Global_10_0_0_8   100         -             refused: loop, stale",
    ]


def test_a_set_in_a_path_stands_in_braces(tmp_path: Path) -> None:
    path = tmp_path / "bgp.ctl"
    with speaker(path, {"ok": [{**ROUTE, "asPath": [65001, [65002, 65003]]}]}):
        shown = Shell()(f"bgp routes --socket {path}")
    assert " 65001 {65002 65003} " in shown.out


def test_routes_are_shown_as_json(tmp_path: Path) -> None:
    path = tmp_path / "bgp.ctl"
    with speaker(path, {"ok": [ROUTE]}) as asked:
        shown = Shell()(f"bgp routes -o json --socket {path}")
    assert asked == [{"do": "routes", "which": "best", "peer": "", "prefix": ""}]
    assert json.loads(shown.out) == [ROUTE]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--received --accepted", "--received and --accepted are two questions"),
        ("-o yaml", "unrecognized output format 'yaml'"),
        ("--socket /nowhere/bgp.ctl", "the speaker does not answer at /nowhere/bgp.ctl"),
    ],
)
def test_what_cannot_be_answered_is_said(words: str, why: str) -> None:
    shown = Shell()(f"bgp routes {words}")
    assert shown.status == 1
    assert why in shown.err


def test_what_the_speaker_refuses_is_said(tmp_path: Path) -> None:
    path = tmp_path / "bgp.ctl"
    with speaker(path, {"error": "there is no peer 'x'"}):
        shown = Shell()(f"bgp routes --peer x --socket {path}")
    assert (shown.status, shown.err) == (1, "there is no peer 'x'\n")


def all_of(answer: Any, *, is_root: bool = True) -> Any:
    def ask() -> Any:
        if answer is None:
            raise Unanswered("nobody")
        return answer

    said: list[str] = []
    machine = Machine(is_root, [["calico-felix"]], lambda _: ())
    node_status.show_all(a_terminal(said), machine, ask)
    return json.loads("".join(said))


def test_the_nodes_status_as_json() -> None:
    assert all_of({"peers": []}) == {"felixRuns": True, "notes": [], "bgp": {"peers": []}}
    assert all_of(None) == {"felixRuns": True, "notes": [], "bgp": None}
    with pytest.raises(Failure, match="super user"):
        all_of({}, is_root=False)
