"""Asks the speaker over its control socket in JSON, for commands: one request, one answer, no event loop."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

SOCKET = "/var/run/calico/bgp.ctl"
PATIENCE_S = 10.0


class Unanswered(Exception):
    """Nobody answers, or not in this language."""


class Refused(Exception):
    """The speaker says why."""


def ask(asked: Mapping[str, Any], path: str = SOCKET) -> Any:
    """Raises Unanswered, Refused."""
    try:
        answer = json.loads(_exchange(path, json.dumps(asked).encode() + b"\n"))
        if "error" in answer:
            raise Refused(str(answer["error"]))
        return answer["ok"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Unanswered(f"the speaker does not answer at {path}: {error}") from None


def _exchange(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(path)
        sock.sendall(request)
        with sock.makefile("rb") as answers:
            return answers.readline()
