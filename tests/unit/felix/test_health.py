"""A node is ready when all its parts are, and otherwise says which is not."""

import asyncio

from datastore.monitoring.http import path_of, rendered
from felix.health import Health, Part
from felix.health_server import Asked, answer


def ask(health: Health, request: bytes, *, speaker: str = "") -> bytes:
    asked = Asked(
        health, lambda address: f"{address} goes by 10.0.0.0/26\n", lambda: ["pod a is large"], lambda: speaker
    )
    return rendered(asyncio.run(answer(asked, path_of(request))))


def test_a_part_that_has_not_reported_is_not_ready() -> None:
    health = Health(Part.DATASTORE, Part.DATAPLANE)
    health.report(Part.DATASTORE, is_ready=True)
    assert not health.is_ready
    assert health.why_not() == "InternalDataplaneMainLoop: not started"


def test_a_report_is_news_once() -> None:
    health = Health(Part.CNI)
    assert health.report(Part.CNI, is_ready=True)
    assert not health.report(Part.CNI, is_ready=True)
    assert health.report(Part.CNI, is_ready=True, why="slow")


def test_the_table_has_a_line_a_part() -> None:
    health = Health(Part.DATASTORE, Part.DATAPLANE)
    health.report(Part.DATAPLANE, is_ready=True, why="3 routes pending")
    assert health.table() == (
        "+---------------------------+---------+----------------+---------------------+------------------+\n"
        "| COMPONENT                 | TIMEOUT | LIVENESS       | READINESS           | DETAIL           |\n"
        "+---------------------------+---------+----------------+---------------------+------------------+\n"
        "| Datastore                 | -       | reporting live | reporting non-ready | not started      |\n"
        "| InternalDataplaneMainLoop | -       | reporting live | reporting ready     | 3 routes pending |\n"
        "+---------------------------+---------+----------------+---------------------+------------------+"
    )


def test_probes_get_200_or_503() -> None:
    health = Health(Part.DATASTORE)
    assert ask(health, b"GET /liveness HTTP/1.1\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    assert ask(health, b"GET /readiness HTTP/1.1\r\n").startswith(b"HTTP/1.1 503 ")
    health.report(Part.DATASTORE, is_ready=True)
    assert ask(health, b"GET /readiness?x=1 HTTP/1.1\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    assert ask(health, b"GET /other HTTP/1.1\r\n").startswith(b"HTTP/1.1 404 ")
    assert ask(health, b"\r\n").startswith(b"HTTP/1.1 404 ")


def test_the_way_to_an_address_can_be_asked_for() -> None:
    assert ask(Health(), b"GET /why/10.0.0.7 HTTP/1.1\r\n").endswith(b"10.0.0.7 goes by 10.0.0.0/26\n")
    assert ask(Health(), b"GET /why/nonsense HTTP/1.1\r\n").startswith(b"HTTP/1.1 400 ")


def test_what_a_person_should_know_is_a_line_each() -> None:
    assert ask(Health(), b"GET /notes HTTP/1.1\r\n").endswith(b"\r\n\r\npod a is large\n")


def test_the_speaker_is_asked_for_whoever_wants_to_know() -> None:
    assert ask(Health(), b"GET /readiness/bird HTTP/1.1\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    refused = ask(Health(), b"GET /readiness/bird HTTP/1.1\r\n", speaker="BIRD is not ready: no peer")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert refused.endswith(b"\r\n\r\nBIRD is not ready: no peer\n")
