"""``/healthz`` and ``/readyz`` over HTTP, in the original's words; beside them ``/metrics``, for Prometheus, and
``/notes``: what a person should know, a line each. Ready: subnet.env is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

from datastore.monitoring import exposition, http
from datastore.monitoring.http import NOT_FOUND, Answer
from felix import process_usage
from flannel import metrics
from flannel.metrics import Figures

_PLAIN = "text/plain; charset=utf-8"


class Daemon(Protocol):
    is_ready: bool

    def figures(self) -> Figures: ...

    def notes(self) -> Sequence[str]: ...


class Health:
    """``daemon`` is None until there is one: it answers already while the configuration is waited for."""

    def __init__(self) -> None:
        self.daemon: Daemon | None = None

    async def serve(self, host: str, port: int) -> None:
        """Until cancelled. Raises OSError when the address cannot be had."""
        await http.serve(self.answer, host, port)

    async def answer(self, path: str) -> Answer:
        match path:
            case "/healthz":
                return Answer(HTTPStatus.OK, "flanneld is running", _PLAIN)
            case "/readyz" if self.daemon is not None and self.daemon.is_ready:
                return Answer(HTTPStatus.OK, "flanneld is ready", _PLAIN)
            case "/readyz":
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "flanneld is not ready yet", _PLAIN)
            case "/metrics":
                figures = None if self.daemon is None else self.daemon.figures()
                return Answer(HTTPStatus.OK, exposition.text(metrics.families(figures, process_usage.read())))
            case "/notes":
                notes = () if self.daemon is None else self.daemon.notes()
                return Answer(HTTPStatus.OK, "".join(f"{line}\n" for line in notes), _PLAIN)
            case _:
                return NOT_FOUND
