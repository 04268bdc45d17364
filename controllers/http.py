"""``/metrics``, ``/liveness`` and ``/readiness`` of the controllers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from datastore.monitoring import http
from datastore.monitoring.http import NOT_FOUND, Answer


async def serve(port: int, *, metrics: Callable[[], str], missing: Callable[[], str]) -> None:
    """Until cancelled. ``missing`` says why not ready, "" when ready. Raises OSError when the port cannot be had."""

    async def answer(path: str) -> Answer:
        return _answer(path, metrics, missing)

    await http.serve(answer, "", port)


def _answer(path: str, metrics: Callable[[], str], missing: Callable[[], str]) -> Answer:
    match path:
        case "/metrics":
            return Answer(HTTPStatus.OK, metrics())
        case "/liveness":
            return Answer(HTTPStatus.OK, "")
        case "/readiness":
            why = missing()
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n") if why else Answer(HTTPStatus.OK, "")
        case _:
            return NOT_FOUND
