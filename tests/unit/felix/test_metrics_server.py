"""Metrics are served where the settings say, from the moment they say it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from felix.metrics_server import MetricsServer, Place, place_of
from felix.settings import ClientAuth, Settings
from lab.ports import free_port

HERE = "127.0.0.1"


class Scraped:
    """A server, and what it said of its troubles."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._troubled = asyncio.Event()
        self.server = MetricsServer(lambda: "up 1\n", on_trouble=self._hear)

    def _hear(self, why: str) -> None:
        self.said.append(why)
        if why:
            self._troubled.set()

    async def trouble(self) -> str:
        """The first that it tells of."""
        async with asyncio.timeout(5):
            await self._troubled.wait()
        return self.said[-1]


@asynccontextmanager
async def running() -> AsyncIterator[Scraped]:
    scraped = Scraped()
    task = asyncio.create_task(scraped.server.run())
    try:
        yield scraped
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(port: int, path: str = "/metrics", *, tls: ssl.SSLContext | None = None) -> str:
    """The whole answer. Tries until somebody listens, for five seconds at most."""
    async with asyncio.timeout(5):
        while True:
            try:
                reader, writer = await asyncio.open_connection(HERE, port, ssl=tls)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        text = (await reader.read()).decode()
        writer.close()
        return text


async def refuses(port: int) -> bool:
    try:
        await asyncio.open_connection(HERE, port)
    except ConnectionRefusedError:
        return True
    return False


def test_nothing_is_served_unless_it_is_asked_for() -> None:
    assert place_of(Settings()) is None
    on = replace(Settings(), prometheus_metrics_enabled=True)
    assert place_of(on) == Place("", 9091)
    assert place_of(replace(on, prometheus_metrics_port=0)) is None


async def test_it_opens_moves_and_closes_while_felix_runs() -> None:
    one, other = free_port(), free_port()
    async with running() as scraped:
        scraped.server.want(Place(HERE, one))
        assert (await ask(one)).endswith("\r\n\r\nup 1\n")
        assert (await ask(one, "/other")).startswith("HTTP/1.1 404 ")
        scraped.server.want(Place(HERE, other))
        assert (await ask(other)).endswith("up 1\n")
        assert await refuses(one)
        scraped.server.want(None)
        await asyncio.sleep(0.1)  # real sockets: the task that closes them has to have its turns
        assert await refuses(other)


async def test_a_port_that_another_has_is_told_and_the_next_place_is_tried() -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, HERE, 0)
    port = taken.sockets[0].getsockname()[1]
    async with running() as scraped, taken:
        scraped.server.want(Place(HERE, port))
        assert (await scraped.trouble()).startswith(f"metrics are not served on {HERE}:{port}: ")
        elsewhere = free_port()
        scraped.server.want(Place(HERE, elsewhere))
        assert (await ask(elsewhere)).endswith("up 1\n")
        assert scraped.said[-1] == ""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path / "both.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=node1"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", path, "-out", tmp_path / "cert.pem"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.mark.server
async def test_with_a_certificate_it_is_served_by_tls_to_whom_may_ask(certificate: Path) -> None:
    port = free_port()
    trusting = ssl.create_default_context(cafile=certificate)
    trusting.check_hostname = False
    async with running() as scraped:
        place = Place(HERE, port, certificate=str(certificate), authority=str(certificate))
        scraped.server.want(place)
        assert (await ask(port, tls=trusting)).endswith("up 1\n")
        stricter = free_port()
        scraped.server.want(replace(place, port=stricter, client_auth=ClientAuth.VERIFIED))
        with suppress(ssl.SSLError, ConnectionResetError):
            assert await ask(stricter, tls=trusting) == ""
        trusting.load_cert_chain(certificate)
        assert (await ask(stricter, tls=trusting)).endswith("up 1\n")


async def test_a_certificate_that_cannot_be_read_is_told() -> None:
    async with running() as scraped:
        scraped.server.want(Place(HERE, free_port(), certificate="/nowhere.pem"))
        assert "No such file" in await scraped.trouble()
