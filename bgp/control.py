"""The control socket in JSON: a request a line, its answer a line, on any number of connections.

A request is ``{"do": COMMAND, ...}``. An answer is ``{"ok": ...}`` with what was asked for, or ``{"error": WHY}``; what
cannot be read is answered too. It only carries: what there is to do is a table of functions that its owner gives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from bgp import unix_server

Request = Mapping[str, Any]
Commands = Mapping[str, Callable[[Request], Any]]
"""What each gives must be JSON. They raise ValueError with what is wrong."""

SOCKET_NAME = "bgp.ctl"
LONGEST_REQUEST_BYTES = 1 << 20


def serving(path: Path, commands: Commands) -> AbstractAsyncContextManager[None]:
    """Answer at ``path`` until the block ends. Raises OSError when it cannot be made."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(answer(line, commands), separators=(",", ":")).encode() + b"\n")
            await writer.drain()

    return unix_server.serving(path, talk, mode=0o600, longest_line_bytes=LONGEST_REQUEST_BYTES)


def answer(line: bytes, commands: Commands) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict) or request.get("do") not in commands:
            return {"error": f'must be {{"do": COMMAND}} with one of {", ".join(sorted(commands))}'}
        return {"ok": commands[request["do"]](request)}
    except (ValueError, TypeError) as error:
        return {"error": str(error)}
    except KeyError as error:
        return {"error": f"{error} is missing"}
