"""The Unix socket that the plugin connects to: one request a connection, mode 0600, root only.

It reads and answers; what a command does is handed in. The pod's namespace arrives as a file descriptor, because its
path may mean something else, or nothing, where felix runs.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from felix.cni import frame
from felix.cni.request import CniError, Code

SOCKET_PATH = Path("/var/run/calico/cni.sock")
MOST_CONNECTIONS = 1024
REQUEST_PATIENCE_S = 5.0
"""A plugin sends its request at once; whoever does not is not one."""

Handler = Callable[[Mapping[str, str], bytes, int], Awaitable[bytes]]
"""(CNI_ variables, standard input, descriptor of the pod's namespace or -1) → standard output. Raises CniError."""

log = logging.getLogger("felix.cni")


class CniServer:
    def __init__(self, handler: Handler, render_error: Callable[[CniError], bytes], path: Path = SOCKET_PATH) -> None:
        self._handler, self._render_error, self._path = handler, render_error, path
        self._busy = asyncio.Semaphore(MOST_CONNECTIONS)

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when the socket cannot be made."""
        listener = self._listen()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as connections:
                while True:
                    await self._busy.acquire()
                    connection, _ = await loop.sock_accept(listener)
                    connections.create_task(self._serve(connection), name="cni connection")
        finally:
            listener.close()

    def _listen(self) -> socket.socket:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(512)
        return listener

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        netns = -1
        try:
            async with asyncio.timeout(REQUEST_PATIENCE_S):
                variables, stdin, netns = await _receive(connection)
            await _send(connection, *await self._answer(variables, stdin, netns))
        except (frame.BadFrame, TimeoutError, OSError) as error:
            log.warning("cni.request.dropped why=%r", str(error))
        finally:
            if netns >= 0:
                os.close(netns)
            connection.close()
            self._busy.release()

    async def _answer(self, variables: Mapping[str, str], stdin: bytes, netns: int) -> tuple[int, bytes]:
        try:
            return 0, await self._handler(variables, stdin, netns)
        except CniError as error:
            return 1, self._render_error(error)
        except Exception as error:
            log.exception("cni.request.failed container=%s", variables.get("CNI_CONTAINERID", ""))
            return 1, self._render_error(CniError(Code.FAILED, f"felix failed: {error!r}; its log says where"))


async def _receive(connection: socket.socket) -> tuple[dict[str, str], bytes, int]:
    received, netns = await _receive_first(connection)
    try:
        while (parsed := frame.parse(received)) is None:
            some = await asyncio.get_running_loop().sock_recv(connection, 1 << 16)
            if not some:
                raise frame.BadFrame("the connection ended within the request")
            received += some
    except BaseException:
        if netns >= 0:
            os.close(netns)
        raise
    return *parsed, netns


async def _receive_first(connection: socket.socket) -> tuple[bytes, int]:
    """The first bytes, and the descriptor that came with them."""
    await _readable(connection)
    descriptors = array.array("i")
    received, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(8 * descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    for unwanted in descriptors[1:]:
        os.close(unwanted)
    return received, descriptors[0] if descriptors else -1


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


async def _send(connection: socket.socket, status: int, output: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, frame.answer(status, output))
