"""``/healthz`` and ``/readyz`` over HTTP, in the original's words. Ready: subnet.env is written."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from datastore.monitoring import http
from datastore.monitoring.http import Answer

_PLAIN = "text/plain; charset=utf-8"


async def serve(is_ready: Callable[[], bool], host: str, port: int) -> None:
    """Until cancelled. Raises OSError when the address cannot be had."""

    async def answer(path: str) -> Answer:
        status, text = _said(path, is_ready())
        return Answer(status, text, _PLAIN)

    await http.serve(answer, host, port)


def _said(path: str, is_ready: bool) -> tuple[HTTPStatus, str]:
    if path == "/healthz":
        return HTTPStatus.OK, "flanneld is running"
    if path == "/readyz" and is_ready:
        return HTTPStatus.OK, "flanneld is ready"
    if path == "/readyz":
        return HTTPStatus.SERVICE_UNAVAILABLE, "flanneld is not ready yet"
    return HTTPStatus.NOT_FOUND, "404 page not found\n"
