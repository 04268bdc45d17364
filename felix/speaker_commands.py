"""``calico-node -bgp-ctl``: words of a command line to a request for the speaker's control socket, and its answer back.

The answer is printed as JSON; what the speaker refuses ends with status 1 and the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bgp.control_client import SOCKET, Refused, Unanswered, ask

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
        sys.stdout.write(json.dumps(ask(asked, path), indent=2) + "\n")
    except (Unanswered, Refused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def request(words: Sequence[str]) -> Mapping[str, Any]:
    """Raises Usage."""
    if not words or words[0] not in _COMMANDS:
        raise Usage(f"no such command: {words[0]}" if words and words[0] != "help" else "")
    return {"do": words[0], **_COMMANDS[words[0]](words[1:])}


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
