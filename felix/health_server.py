"""``/liveness`` and ``/readiness`` over HTTP, as upstream's probes ask for them: 200 or 503, with the table as text.

And ``/why/ADDRESS``: which route carries packets there and for what reason, for ``calico-node -why``; ``/notes``: what
a person should know, a line each, for ``calicoctl node status``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from felix.health import Health
from felix.http import NOT_FOUND, Answer, serve

Why = Callable[[IPv4Address | IPv6Address], str]
Notes = Callable[[], Sequence[str]]


async def run(health: Health, why: Why, notes: Notes, host: str, port: int) -> None:
    """Until cancelled. Raises OSError when the address cannot be had."""
    await serve(lambda path: answer(health, why, notes, path), host, port)


def answer(health: Health, why: Why, notes: Notes, path: str) -> Answer:
    match path:
        case "/liveness":
            return Answer(HTTPStatus.OK, health.table())
        case "/readiness":
            return Answer(HTTPStatus.OK if health.is_ready else HTTPStatus.SERVICE_UNAVAILABLE, health.table())
        case "/notes":
            return Answer(HTTPStatus.OK, "".join(f"{line}\n" for line in notes()))
        case _ if path.startswith("/why/"):
            return _why(why, path.removeprefix("/why/"))
        case _:
            return NOT_FOUND


def _why(why: Why, text: str) -> Answer:
    try:
        address = ip_address(text)
    except ValueError as error:
        return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
    return Answer(HTTPStatus.OK, why(address))
