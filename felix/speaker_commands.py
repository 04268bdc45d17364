"""``calico-node -bgp-ctl``: words of a command line to a request for the speaker's control socket, and its answer back.

The answer is printed as JSON; what the speaker refuses ends with status 1 and the reason.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

SOCKET = "/var/run/calico/bgp.ctl"
_PATIENCE_S = 10.0

USAGE = """usage: calico-node -bgp-ctl [-s SOCKET] COMMAND

  status                                  the speaker and its peers
  routes [PREFIX] [--received | --accepted | --advertised] [--peer PEER]
                                          best routes, or those, each with the reason
  announce PREFIX ...                     from now on, over SIGHUP too; as JSON with attributes:
                                          '{"prefix": "192.0.2.0/24", "med": 5, "communities": ["65000:1"]}'
  withdraw PREFIX ...
  shutdown PEER [TEXT ...]                end its session and tell it why; it stays down
  enable PEER                             up again
  remove PEER                             no longer a neighbour, until the file is applied again
  reload                                  apply the file, as SIGHUP does

PEER is an address or a name. SOCKET is bgp.ctl in runFolder, by default /var/run/calico/bgp.ctl.
"""


class Usage(ValueError):
    """The words are none of the above."""


def main(words: Sequence[str]) -> int:
    path = SOCKET
    if len(words) > 1 and words[0] == "-s":
        path, words = words[1], words[2:]
    try:
        asked = request(words)
    except Usage as error:
        sys.stderr.write(f"{error}\n\n{USAGE}" if str(error) else USAGE)
        return 0 if list(words) == ["help"] else 2
    try:
        answer = ask(path, asked)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the speaker does not answer at {path}: {error}\n")
        return 1
    if "error" in answer:
        sys.stderr.write(f"{answer['error']}\n")
        return 1
    sys.stdout.write(json.dumps(answer["ok"], indent=2) + "\n")
    return 0


def request(words: Sequence[str]) -> Mapping[str, Any]:
    """Raises Usage."""
    if not words or words[0] not in _COMMANDS:
        raise Usage(f"no such command: {words[0]}" if words and words[0] != "help" else "")
    return {"do": words[0], **_COMMANDS[words[0]](words[1:])}


def ask(path: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """The speaker's answer. Raises OSError, and ValueError for one that is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_PATIENCE_S)
        sock.connect(path)
        sock.sendall(json.dumps(asked).encode() + b"\n")
        with sock.makefile("rb") as answers:
            found = json.loads(answers.readline())
    if not isinstance(found, dict):
        raise ValueError(f"{found!r}")
    return found


def _nothing(words: Sequence[str]) -> Mapping[str, Any]:
    if words:
        raise Usage(f"too many words: {' '.join(words)}")
    return {}


def _prefixes(words: Sequence[str]) -> Mapping[str, Any]:
    if not words:
        raise Usage("which prefix?")
    try:
        return {"prefixes": [json.loads(word) if word.startswith("{") else word for word in words]}
    except ValueError as error:
        raise Usage(str(error)) from None


def _peer(words: Sequence[str]) -> Mapping[str, Any]:
    if not words:
        raise Usage("which peer?")
    return {"peer": words[0], "text": " ".join(words[1:])}


def _routes(words: Sequence[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("--received", "--accepted", "--advertised"):
            found["which"] = word[2:]
        elif word == "--peer" and left:
            found["peer"] = left.pop(0)
        elif not word.startswith("-") and "prefix" not in found:
            found["prefix"] = word
        else:
            raise Usage(f"what is {word}?")
    return found


_COMMANDS: Mapping[str, Callable[[Sequence[str]], Mapping[str, Any]]] = {
    "status": _nothing,
    "routes": _routes,
    "announce": _prefixes,
    "withdraw": _prefixes,
    "shutdown": _peer,
    "enable": _peer,
    "remove": _peer,
    "reload": _nothing,
}
