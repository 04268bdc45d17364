"""``calicoctl node status``, letter for letter, on models of the machine and, for the socket, on a real one."""

import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from calicoctl import node_status
from calicoctl.failure import Failure
from calicoctl.flags import parse
from calicoctl.node_status import Machine, Unanswered
from calicoctl.terminal import Terminal

FELIX, SPEAKER = ["calico-felix"], ["bird"]

MESH = """0001 BIRD v1.6.8 ready.
2002-name     proto    table    state  since       info
1002-static1  Static   master   up     2020-09-28
 Mesh_192_168_50_11 BGP      master   up     2020-09-28    Established
 Mesh_192_168_50_12 BGP      master   up     2020-09-28    Established
0000
"""
ALL_KINDS = """0001 BIRD v1.6.8 ready.
2002-name     proto    table    state  since       info
1002-static1  Static   master   up     2026-11-22
 kernel1  Kernel   master   up     2026-11-22
 Mesh_172_30_0_2 BGP      master   up     06:06:55    Established
 Mesh_172_30_0_3 BGP      master   start  06:06:51    Active        Socket: Connection refused
 Global_172_30_0_9 BGP      master   start  06:06:51    Connect
 Node_172_30_0_10_port_1790 BGP      master   start  06:06:51    Idle          Received: Administrative shutdown
0000
"""
NO_PEERS = """0001 BIRD v1.6.8 ready.
2002-name     proto    table    state  since       info
1002-static1  Static   master   up     2020-09-28
0000
"""


def shown(
    answers: Mapping[int, str],
    *,
    commands: Sequence[Sequence[str]] = (FELIX, SPEAKER),
    is_root: bool = True,
    notes: Sequence[str] = (),
) -> str:
    """What the command writes; a speaker without an answer has no socket."""
    said: list[str] = []

    def ask(version: int) -> list[str]:
        if version not in answers:
            raise Unanswered(f"dial unix /var/run/bird/{node_status.SPEAKERS[version]}.ctl: connect: no such file")
        return answers[version].splitlines()

    try:
        node_status.show(a_terminal(said), Machine(is_root, commands, ask, lambda: notes))
    except Failure as failure:
        said.append(f"error: {failure}\n")
    return "".join(said)


def a_terminal(said: list[str]) -> Terminal:
    def not_here(*_: object) -> NoReturn:
        raise AssertionError("node status asks no datastore")

    return Terminal(parse([], ()), {}, said.append, said.append, not_here, not_here, not_here, not_here, not_here)


def test_a_node_of_a_mesh_shows_what_the_documents_show() -> None:
    assert shown({4: MESH, 6: NO_PEERS}) == (
        "Calico process is running.\n"
        "\n"
        "IPv4 BGP status\n"
        "+---------------+-------------------+-------+------------+-------------+\n"
        "| PEER ADDRESS  |     PEER TYPE     | STATE |   SINCE    |    INFO     |\n"
        "+---------------+-------------------+-------+------------+-------------+\n"
        "| 192.168.50.11 | node-to-node mesh | up    | 2020-09-28 | Established |\n"
        "| 192.168.50.12 | node-to-node mesh | up    | 2020-09-28 | Established |\n"
        "+---------------+-------------------+-------+------------+-------------+\n"
        "\n"
        "IPv6 BGP status\n"
        "No IPv6 peers found.\n"
        "\n"
    )


def test_every_kind_of_neighbour_has_its_name_and_its_trouble() -> None:
    assert shown({4: ALL_KINDS}) == (
        "Calico process is running.\n"
        "\n"
        "IPv4 BGP status\n"
        "+-----------------------+-------------------+-------+----------+----------------------------------------+\n"
        "|     PEER ADDRESS      |     PEER TYPE     | STATE |  SINCE   |                  INFO                  |\n"
        "+-----------------------+-------------------+-------+----------+----------------------------------------+\n"
        "| 172.30.0.2            | node-to-node mesh | up    | 06:06:55 | Established                            |\n"
        "| 172.30.0.3            | node-to-node mesh | start | 06:06:51 | Active Socket: Connection refused      |\n"
        "| 172.30.0.9            | global            | start | 06:06:51 | Connect                                |\n"
        "| 172.30.0.10.port.1790 | node specific     | start | 06:06:51 | Idle Received: Administrative shutdown |\n"
        "+-----------------------+-------------------+-------+----------+----------------------------------------+\n"
        "\n"
        "INFO: BIRDv6 process: 'bird6' is not running.\n"
        "\n"
    )


def test_an_ipv6_neighbours_name_gives_its_address() -> None:
    row = " Mesh_fd80_24e2_f998_72d7__2 BGP      master   up     06:06:55    Established"
    reply = NO_PEERS.replace("0000", f"{row}\n0000")
    assert "| fd80:24e2:f998:72d7::2 | node-to-node mesh | up    | 06:06:55 | Established |" in shown({6: reply})


def test_without_felix_nothing_else_is_told() -> None:
    assert shown({4: MESH}, commands=[SPEAKER]) == "error: Calico process is not running.\n"


@pytest.mark.parametrize("command", [["calico-felix"], ["calico-node", "-felix"], ["/usr/bin/calico-node", "-felix"]])
def test_felix_is_known_by_its_words(command: list[str]) -> None:
    assert shown({}, commands=[command]).startswith("Calico process is running.\n")


def test_a_node_without_bgp_says_so() -> None:
    assert shown({}, commands=[FELIX]) == (
        "Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n\n"
    )


def test_a_speaker_that_has_no_socket_is_named_with_the_reason() -> None:
    assert shown({}) == (
        "Calico process is running.\n"
        "\n"
        "IPv4 BGP status\n"
        "Error querying BIRD: unable to connect to BIRDv4 socket: "
        "dial unix /var/run/bird/bird.ctl: connect: no such file\n"
        "INFO: BIRDv6 process: 'bird6' is not running.\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (MESH.replace("name     proto", "Name     Proto"), "unknown BIRD table output format"),
        (MESH.replace("0000", "8001 Reply too long"), "unexpected output line from BIRD"),
        (MESH.replace("0000\n", ""), "BIRD stopped in the middle of its answer"),
    ],
)
def test_what_is_not_birds_text_is_an_error(reply: str, error: str) -> None:
    assert shown({4: reply}) == (
        f"Calico process is running.\n\nIPv4 BGP status\nerror: error executing command: {error}\n"
    )


def test_only_root_may_ask() -> None:
    assert shown({4: MESH}, is_root=False) == "error: Need super user privileges: Operation not permitted\n"


def test_the_second_socket_is_asked_when_the_first_is_not_there(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bird.ctl"))
        listener.listen()
        answering = threading.Thread(target=_answer_once, args=(listener, NO_PEERS))
        answering.start()
        reply = node_status.ask([tmp_path / "none.ctl", tmp_path / "bird.ctl"])
        answering.join()
    assert list(reply) == NO_PEERS.splitlines()


def test_no_socket_at_all_is_told_with_the_last_ones_reason(tmp_path: Path) -> None:
    with pytest.raises(Unanswered) as unanswered:
        node_status.ask([tmp_path / "a.ctl", tmp_path / "b.ctl"])
    assert str(unanswered.value) == f"dial unix {tmp_path}/b.ctl: connect: no such file or directory"


def _answer_once(listener: socket.socket, reply: str) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        connection.sendall(reply.encode())


def test_what_felix_has_for_a_person_to_know_comes_after_upstreams_output() -> None:
    plain = shown({4: MESH})
    assert shown({4: MESH}, notes=["pool a keeps ipipMode Never"]) == f"{plain}Note: pool a keeps ipipMode Never\n"
