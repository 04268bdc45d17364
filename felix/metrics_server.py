"""``/metrics`` where the settings say: opened, moved and closed while felix runs.

A port that cannot be had, or a certificate that cannot be read, is told and tried again when the settings change or a
while later; nothing else stops for it. Without a certificate the text goes out in the clear, as upstream's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from datastore.monitoring.http import NOT_FOUND, Answer, serve
from felix.settings import ClientAuth, Settings

RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where to serve. ``host`` "" is every address; without ``certificate`` there is no TLS."""

    host: str
    port: int
    certificate: str = ""
    key: str = ""
    authority: str = ""
    client_auth: ClientAuth = ClientAuth.NONE


def place_of(settings: Settings) -> Place | None:
    """None where metrics are not wanted."""
    if not settings.prometheus_metrics_enabled or not settings.prometheus_metrics_port:
        return None
    return Place(
        settings.prometheus_metrics_host,
        settings.prometheus_metrics_port,
        settings.prometheus_metrics_cert_file,
        settings.prometheus_metrics_key_file,
        settings.prometheus_metrics_ca_file,
        settings.prometheus_metrics_client_auth,
    )


class MetricsServer:
    """``on_trouble`` hears why nothing is served although it should be, and "" when that is over."""

    def __init__(self, text: Callable[[], str], *, on_trouble: Callable[[str], None]) -> None:
        self._text, self._on_trouble = text, on_trouble
        self._place: Place | None = None
        self._moved = asyncio.Event()

    def want(self, place: Place | None) -> None:
        """From now on serve there, or nowhere."""
        if place != self._place:
            self._place = place
            self._moved.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._moved.clear()
            if self._place is None:
                await self._moved.wait()
                continue
            serving = asyncio.create_task(self._serve(self._place), name="metrics")
            moving = asyncio.create_task(self._moved.wait(), name="metrics moved")
            try:
                await asyncio.wait((serving, moving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (serving, moving):
                    task.cancel()
                await asyncio.gather(serving, moving, return_exceptions=True)

    async def _serve(self, place: Place) -> None:
        """Returns a while after it failed."""
        self._on_trouble("")
        try:
            await serve(self._answer, place.host, place.port, tls=tls_of(place))
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            self._on_trouble(f"metrics are not served on {place.host or '*'}:{place.port}: {error}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), RETRY_S)

    async def _answer(self, path: str) -> Answer:
        return Answer(HTTPStatus.OK, self._text()) if path == "/metrics" else NOT_FOUND


_MODES = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.IF_GIVEN: ssl.CERT_OPTIONAL,
    ClientAuth.ANY: ssl.CERT_REQUIRED,
    ClientAuth.VERIFIED: ssl.CERT_REQUIRED,
}
"""A certificate that nobody vouches for cannot be asked for here: ``RequireAnyClientCert`` is as strict as the next."""


def tls_of(place: Place) -> ssl.SSLContext | None:
    """Raises OSError where a file cannot be read or holds something else."""
    if not place.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=place.authority or None)
    context.load_cert_chain(place.certificate, place.key or None)
    context.verify_mode = _MODES[place.client_auth]
    return context
