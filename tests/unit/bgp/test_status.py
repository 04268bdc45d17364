"""The replies of the control socket, letter for letter, and as upstream's readers take them apart."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from bgp.message import Attributes, Cause, Opened, Origin, Trouble
from bgp.rib import Tally
from bgp.session import State
from bgp.status import Address, PathStatus, PeerStatus, SpeakerStatus, answer, trouble_words

START = datetime(2026, 11, 22, 6, 6, 51)
UP = START + timedelta(seconds=4)
NOW = datetime(2026, 11, 22, 6, 7, 22)

ROWS = (
    PeerStatus("Global_172_30_0_9", START, State.CONNECT),
    PeerStatus(
        "Mesh_172_30_0_2",
        UP,
        State.ESTABLISHED,
        address=ip_address("172.30.0.2"),
        peer_as=64512,
        local_address=ip_address("172.30.0.1"),
        opened=Opened(IPv4Address("172.30.0.2"), 64512, 240, None, ("refresh", "restart-able", "AS4")),
        tally=Tally(received=3, accepted=1, refused={"own-block": 1, "not-owner": 1}, refusals={"own-block": 4}),
        counters={"updates": 7, "malformed": 1},
        exported=2,
    ),
    PeerStatus("Mesh_172_30_0_3", START, State.ACTIVE, trouble=Trouble(Cause.SOCKET, text="Connection refused")),
    PeerStatus("Mesh_172_30_0_4", START, State.ACTIVE, is_passive=True),
    PeerStatus("Node_172_30_0_10_port_1790", START, State.IDLE, trouble=Trouble(Cause.RECEIVED, 6, 2)),
    PeerStatus("Node_172_30_0_11", START, unbuilt="not built yet: password"),
)
STATUS = SpeakerStatus(
    now_wall=NOW, started_wall=START, configured_wall=START, router_id=IPv4Address("172.30.0.1"), peers=ROWS
)


def no_way(_: Address) -> None:
    return None


def ask(command: str, status: SpeakerStatus = STATUS) -> str:
    return answer(command, status, no_way)


def test_the_table_of_protocols_is_birds() -> None:
    assert ask("show protocols\n") == (
        "2002-name     proto    table    state  since       info\n"
        "1002-static1  Static   master   up     06:06:51    \n"
        " Global_172_30_0_9 BGP      master   start  06:06:51    Connect       \n"
        " Mesh_172_30_0_2 BGP      master   up     06:06:55    Established   \n"
        " Mesh_172_30_0_3 BGP      master   start  06:06:51    Active        Socket: Connection refused\n"
        " Mesh_172_30_0_4 BGP      master   start  06:06:51    Passive       \n"
        " Node_172_30_0_10_port_1790 BGP      master   start  06:06:51    Idle          "
        "Received: Administrative shutdown\n"
        " Node_172_30_0_11 BGP      master   down   06:06:51    Down          not built yet: password\n"
        "0000 \n"
    )


def as_calicoctl_reads(reply: str) -> list[str]:
    """Its parser: codes at the beginning of a line, six columns, the rest joined by one blank."""
    rows = []
    for line in reply.splitlines():
        if line.startswith(("0000", "0001")):
            continue
        if line.startswith("2002"):
            assert line[5:].split() == ["name", "proto", "table", "state", "since", "info"]
            continue
        assert line.startswith(("1002", " ")), f"unexpected output line from BIRD: {line}"
        columns = line[5 if line.startswith("1002") else 1 :].split()
        known = re.fullmatch(r"(Global|Node|Mesh)_(.+)", columns[0])
        if len(columns) >= 6 and columns[1] == "BGP" and known:
            rows.append(" | ".join([known[2].replace("_", "."), known[1], *columns[3:5], " ".join(columns[5:])]))
    return rows


def test_calicoctl_reads_the_table() -> None:
    assert as_calicoctl_reads(ask("show protocols")) == [
        "172.30.0.9 | Global | start | 06:06:51 | Connect",
        "172.30.0.2 | Mesh | up | 06:06:55 | Established",
        "172.30.0.3 | Mesh | start | 06:06:51 | Active Socket: Connection refused",
        "172.30.0.4 | Mesh | start | 06:06:51 | Passive",
        "172.30.0.10.port.1790 | Node | start | 06:06:51 | Idle Received: Administrative shutdown",
        "172.30.0.11 | Node | down | 06:06:51 | Down not built yet: password",
    ]


def test_since_is_a_time_at_first_and_a_date_later() -> None:
    (row,) = as_calicoctl_reads(
        ask("show protocols", replace(STATUS, peers=ROWS[1:2], now_wall=UP + timedelta(hours=20)))
    )
    assert "06:06:55" in row
    (row,) = as_calicoctl_reads(
        ask("show protocols", replace(STATUS, peers=ROWS[1:2], now_wall=UP + timedelta(hours=21)))
    )
    assert "| 2026-11-22 |" in row


def test_one_protocol_can_be_asked_for() -> None:
    assert ask("show protocols Mesh_172_30_0_2").splitlines()[1:] == [
        "1002-Mesh_172_30_0_2 BGP      master   up     06:06:55    Established   ",
        "0000 ",
    ]
    assert ask("show protocols nobody") == "8003 No protocols match\n"
    assert ask("show protocols all nobody") == "8003 No protocols match\n"


def test_the_details_of_a_protocol_have_what_node_status_looks_for() -> None:
    reply = ask("show protocols all Mesh_172_30_0_2")
    assert reply.splitlines()[1] == "1002-Mesh_172_30_0_2 BGP      master   up     06:06:55    Established   "
    assert "   BGP state:          Established\n     Neighbor address: 172.30.0.2\n" in reply
    assert "     Neighbor caps:    refresh restart-able AS4\n     Session:          internal AS4\n" in reply
    assert reply.endswith("0000 \n")


def test_refused_routes_and_malformed_updates_are_counted_and_shown() -> None:
    reply = ask("show protocols all Mesh_172_30_0_2")
    assert "   Routes:         1 imported, 2 exported, 1 preferred\n" in reply
    assert "   Routes refused: not-owner 1, own-block 1\n" in reply
    assert "   Refused so far: own-block 4\n" in reply
    assert "   Malformed:      1 of 7 updates\n" in reply


def test_all_protocols_can_be_asked_for_in_detail() -> None:
    assert ask("show protocols all").count("Neighbor address:") == len(ROWS)


def test_the_status_is_birds() -> None:
    assert ask("show status\n") == (
        "1000-BIRD v1.6.8+tortie\n"
        "1011-Router ID is 172.30.0.1\n"
        " Current server time is 2026-11-22 06:07:22\n"
        " Last reboot on 2026-11-22 06:06:51\n"
        " Last reconfiguration on 2026-11-22 06:06:51\n"
        "0013 Daemon is up and running\n"
    )


def test_a_recovery_is_shown_as_birds_graceful_restart() -> None:
    status = replace(STATUS, recovers=("Mesh_172_30_0_3",), recovery_left_s=100, recovery_time_s=120)
    assert ask("show status", status).splitlines()[-4:] == [
        "0024-Graceful restart recovery in progress",
        "   Waiting for 1 protocols to recover",
        "   Wait timer is 100/120",
        "0013 Daemon is up and running",
    ]


def test_a_speaker_that_cannot_speak_yet_says_why() -> None:
    waiting = SpeakerStatus(NOW, START, START, waiting="node node1 has no IPv4 address")
    assert " Waiting: node node1 has no IPv4 address\n" in ask("show status", waiting)
    assert as_calicoctl_reads(ask("show protocols", waiting)) == []


def test_refused_strangers_are_shown() -> None:
    assert " Connections refused from unknown addresses: 3\n" in ask("show status", replace(STATUS, strangers=3))


# Routes.

VIA_2 = PathStatus("Mesh_172_30_0_2", Attributes(ip_address("172.30.0.2")), ip_address("172.30.0.2"))
REFLECTED = PathStatus("Global_172_30_0_9", Attributes(ip_address("172.30.1.7")), ip_address("172.30.0.9"))
EXTERNAL = PathStatus(
    "Global_172_30_0_9",
    Attributes(ip_address("172.30.0.9"), as_path=(65000, 65001), origin=Origin.INCOMPLETE),
    ip_address("172.30.0.9"),
)
ROUTES = replace(
    STATUS,
    exports=(ip_network("10.244.166.128/26"),),
    paths=(
        (ip_network("10.244.135.0/26"), (REFLECTED,)),
        (ip_network("10.244.104.0/26"), (VIA_2, EXTERNAL)),
        (ip_network("0.0.0.0/0"), (EXTERNAL,)),
    ),
)


def way_out(address: Address) -> tuple[str, Address | None] | None:
    if address in ip_network("172.30.0.0/24"):
        return "eth0", None
    return ("eth0", ip_address("172.30.0.254")) if address in ip_network("172.30.1.0/24") else None


def test_routes_are_printed_as_bird_does() -> None:
    assert answer("show route\n", ROUTES, way_out) == (
        "1007-0.0.0.0/0          via 172.30.0.9 on eth0 [Global_172_30_0_9 06:06:51] * (100/0) [AS65001?]\n"
        " 10.244.104.0/26    via 172.30.0.2 on eth0 [Mesh_172_30_0_2 06:06:55] * (100/0) [i]\n"
        "                    via 172.30.0.9 on eth0 [Global_172_30_0_9 06:06:51] (100/0) [AS65001?]\n"
        " 10.244.135.0/26    via 172.30.0.254 on eth0 [Global_172_30_0_9 06:06:51 from 172.30.0.9] * (100/0) [i]\n"
        " 10.244.166.128/26  blackhole [static1 06:06:51] * (200)\n"
        "0000 \n"
    )


def test_a_next_hop_without_a_way_is_unreachable() -> None:
    assert " 10.244.104.0/26    unreachable [Mesh_172_30_0_2 06:06:55 from 172.30.0.2] * (100/-) [i]\n" in answer(
        "show route", ROUTES, no_way
    )


def test_node_status_reads_the_routes() -> None:
    """Its four patterns: via, dev, blackhole, unreachable; a line without a destination takes the one before."""
    via = re.compile(r"(?P<dest>\S*)\s*via\s(?P<gateway>\S*)\s*on\s(?P<iface>.*)\s\[(?P<from>\S*)\s.*\].*")
    blackhole = re.compile(r"(?P<dest>\S*)\s*blackhole\s\[(?P<from>\S*)\s.*\].*")
    found = []
    for line in answer("show route", ROUTES, way_out).splitlines()[:-1]:
        text = line[5:] if line.startswith("1007") else line[1:]
        match = via.match(text) or blackhole.match(text)
        assert match, text
        found.append((match["dest"], match["from"], "] *" in text))
    assert found == [
        ("0.0.0.0/0", "Global_172_30_0_9", True),
        ("10.244.104.0/26", "Mesh_172_30_0_2", True),
        ("", "Global_172_30_0_9", False),
        ("10.244.135.0/26", "Global_172_30_0_9", True),
        ("10.244.166.128/26", "static1", True),
    ]


@pytest.mark.parametrize("command", ["", "configure", "show", "show protocols all a b", "down", "\x00"])
def test_anything_else_is_a_syntax_error(command: str) -> None:
    assert ask(command) == "9001 syntax error\n"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (None, ""),
        (Trouble(Cause.SOCKET, text="Connection closed"), "Socket: Connection closed"),
        (Trouble(Cause.SENT, 4), "BGP Error: Hold timer expired"),
        (Trouble(Cause.RECEIVED, 6, 3), "Received: Peer de-configured"),
        (Trouble(Cause.RECEIVED, 2, 99), "Received: Invalid OPEN message"),
        (Trouble(Cause.RECEIVED, 77, 1), "Received: Unknown error 77.1"),
    ],
)
def test_why_a_session_ended_is_said_in_birds_words(trouble: Trouble | None, words: str) -> None:
    assert trouble_words(trouble) == words
