"""``GET /metrics`` over HTTP, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from datastore.monitoring import http
from datastore.monitoring.http import NOT_FOUND, Answer


async def serve(metrics: Callable[[], str], port: int, host: str = "") -> None:
    """Until cancelled; on all addresses where ``host`` is "". Raises OSError when the port cannot be had."""

    async def answer(path: str) -> Answer:
        return Answer(HTTPStatus.OK, metrics()) if path == "/metrics" else NOT_FOUND

    await http.serve(answer, host, port)
