"""``/liveness`` and ``/readiness`` over HTTP, as upstream's probes ask for them: 200 or 503, with the table as text.

And ``/why/ADDRESS``: which route carries packets there and for what reason, for ``calico-node -why``; ``/notes``: what
a person should know, a line each, for ``calicoctl node status``; and ``/readiness/bird``, for a kubelet: a program that
is started for each question costs it more than the speaker itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from datastore.monitoring.http import NOT_FOUND, Answer, serve
from felix.health import Health

Why = Callable[[IPv4Address | IPv6Address], str]
Notes = Callable[[], Sequence[str]]
Speaker = Callable[[], str]
"""Asks the speaker and waits for it: why it is not ready, or ""."""


class Asked(NamedTuple):
    """Who answers what."""

    health: Health
    why: Why
    notes: Notes
    speaker: Speaker


async def run(asked: Asked, host: str, port: int) -> None:
    """Until cancelled. Raises OSError when the address cannot be had."""
    await serve(lambda path: answer(asked, path), host, port)


async def answer(asked: Asked, path: str) -> Answer:
    if path == "/readiness/bird":
        why = await asyncio.get_running_loop().run_in_executor(None, asked.speaker)
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n") if why else Answer(HTTPStatus.OK, "")
    return _at_once(asked, path)


def _at_once(asked: Asked, path: str) -> Answer:
    health = asked.health
    match path:
        case "/liveness":
            return Answer(HTTPStatus.OK, health.table())
        case "/readiness":
            return Answer(HTTPStatus.OK if health.is_ready else HTTPStatus.SERVICE_UNAVAILABLE, health.table())
        case "/notes":
            return Answer(HTTPStatus.OK, "".join(f"{line}\n" for line in asked.notes()))
        case _ if path.startswith("/why/"):
            return _why(asked.why, path.removeprefix("/why/"))
        case _:
            return NOT_FOUND


def _why(why: Why, text: str) -> Answer:
    try:
        address = ip_address(text)
    except ValueError as error:
        return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
    return Answer(HTTPStatus.OK, why(address))
