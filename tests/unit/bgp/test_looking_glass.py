"""What the speaker says of itself as JSON: verdicts with their reasons, and the same in Prometheus' words."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgp import control, looking_glass, metrics, metrics_server
from bgp.control_client import Refused, Unanswered, ask
from bgp.neighbour import Unbuilt
from tests.speakers import Station, World, explicit_neighbour, raw_session
from tests.unit.bgp.bgp_bytes import LOCAL_PREF, NEXT_HOP, ORIGIN, attribute, nlri, path, update
from tests.virtual_time import virtually


async def three_neighbours() -> Station:
    """Two internal ones that say something, and one that is not there."""
    one = World().station(1, "10.244.1.0/26")
    one.neighbours = tuple(explicit_neighbour(one, f"10.0.0.{n}") for n in (7, 8, 9))
    one.neighbours = (*one.neighbours[:2], replace(one.neighbours[2], is_passive=True))
    await one.start()
    seven, eight = await raw_session(one, 7), await raw_session(one, 8)
    long = ORIGIN + path(65001, 65002) + NEXT_HOP + LOCAL_PREF
    short = ORIGIN + path(65001) + NEXT_HOP + LOCAL_PREF
    loop = ORIGIN + path(64512) + NEXT_HOP + LOCAL_PREF
    seven.say(update(long, nlri("192.0.2.0/24")) + update(loop, nlri("198.51.100.0/24")))
    eight.say(update(short, nlri("192.0.2.0/24", "203.0.113.0/24")))
    eight.say(update(short + attribute(8, bytes(3), flags=0xC0), nlri("203.0.114.0/24")))
    await asyncio.sleep(0.1)
    return one


def lines(found: list[dict[str, Any]]) -> list[str]:
    return [f"{each['prefix']} from {each['peer'][-1]}: {each.get('why', 'told')}" for each in found]


@virtually
async def test_each_route_has_its_verdict_and_each_choice_its_reason() -> None:
    one = await three_neighbours()
    show = looking_glass.routes
    assert lines(show(one.speaker)) == [
        "192.0.2.0/24 from 8: the shorter AS path",
        "203.0.113.0/24 from 8: the only path",
    ]
    assert lines(show(one.speaker, which="received", peer="10.0.0.7")) == [
        "192.0.2.0/24 from 7: accepted",
        "198.51.100.0/24 from 7: refused: loop",
    ]
    assert lines(show(one.speaker, which="accepted", prefix="192.0.2.9")) == [
        "192.0.2.0/24 from 8: the shorter AS path",
        "192.0.2.0/24 from 7: the best has the shorter AS path",
    ]
    assert lines(show(one.speaker, which="advertised", peer="Global_10_0_0_8")) == ["10.244.1.0/26 from 8: told"]
    assert json.dumps(show(one.speaker))


@virtually
async def test_what_is_asked_amiss_is_answered_with_the_reason() -> None:
    one = await three_neighbours()
    for wrong, why in (({"which": "x"}, "must be one of"), ({"peer": "x"}, "no peer 'x'"), ({"prefix": "x"}, "'x'")):
        with pytest.raises(ValueError, match=why):
            looking_glass.routes(one.speaker, **wrong)


@virtually
async def test_the_status_has_every_session_and_what_is_not_brought_up() -> None:
    one = await three_neighbours()
    found = looking_glass.status(one.speaker, [Unbuilt("Node_x", "no password")], "nothing")
    assert found["unbuilt"] == [{"name": "Node_x", "why": "no password"}]
    states = {
        each["peerIP"]: (each["state"], each["received"], each["accepted"], each["malformed"])
        for each in found["peers"]
    }
    assert states == {
        "10.0.0.7": ("Established", 2, 1, 0),
        "10.0.0.8": ("Established", 2, 2, 1),
        "10.0.0.9": ("Active", 0, 0, 0),
    }
    assert found["peers"][0]["families"] == ["ipv4"]


@virtually
async def test_monitoring_is_told_some_lines_a_neighbour() -> None:
    one = await three_neighbours()
    text = metrics.text(looking_glass.status(one.speaker))
    for line in (
        'bgp_peers{state="Established"} 2',
        'bgp_peers{state="Active"} 1',
        'bgp_peer_up{peer="10.0.0.7",as="64512"} 1',
        'bgp_peer_up{peer="10.0.0.9",as="64512"} 0',
        'bgp_peer_routes_received{peer="10.0.0.7",as="64512"} 2',
        'bgp_peer_routes_refused{peer="10.0.0.7",as="64512",reason="loop"} 1',
        'bgp_peer_malformed_total{peer="10.0.0.8",as="64512"} 1',
        "bgp_refused_connections_total 0",
    ):
        assert f"{line}\n" in text
    assert text.count("# TYPE") == text.count("# HELP") == 16


async def test_the_control_socket_answers_and_refuses(tmp_path: Path) -> None:
    def fail(_: control.Request) -> None:
        raise ValueError("no such thing")

    where = tmp_path / control.SOCKET_NAME
    async with control.serving(where, {"echo": lambda asked: asked["text"], "fail": fail}):
        assert await asyncio.to_thread(ask, {"do": "echo", "text": "hello"}, str(where)) == "hello"
        for request, why in (({"do": "fail"}, "no such thing"), ({"do": "dance"}, "one of echo, fail")):
            with pytest.raises(Refused, match=why):
                await asyncio.to_thread(ask, request, str(where))
        reader, writer = await asyncio.open_unix_connection(where)
        writer.write(b'[]\n{\n{"do": "echo"}\n')
        answers = [json.loads(await reader.readline()) for _ in range(3)]
        assert [list(each) for each in answers] == [["error"]] * 3
        assert answers[2]["error"] == "'text' is missing"
        writer.close()
    with pytest.raises(Unanswered):
        ask({"do": "echo"}, str(tmp_path / "none"))


async def test_prometheus_finds_its_metrics() -> None:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(metrics_server.serve(lambda: "up 1\n", 19111, "127.0.0.1"))
        await asyncio.sleep(0.05)
        for asked, expected in (("/metrics", "200 OK"), ("/metrics?x", "200 OK"), ("/", "404 Not Found")):
            reader, writer = await asyncio.open_connection("127.0.0.1", 19111)
            writer.write(f"GET {asked} HTTP/1.1\r\n\r\n".encode())
            answer = (await reader.read()).decode()
            assert answer.startswith(f"HTTP/1.1 {expected}")
            assert ("\r\n\r\nup 1\n" in answer) == (expected == "200 OK")
            writer.close()
        task.cancel()
