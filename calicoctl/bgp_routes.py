"""``calicoctl bgp routes``: what this node's speaker knows of routes, and why each was taken or refused.

Calico has no such command. The speaker is asked over its control socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bgp.control_client import SOCKET, Refused, Unanswered, ask
from calicoctl import json_out, table
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.terminal import Terminal
from calicoctl.usage import Usage

USAGE = Usage(
    "[PREFIX]",
    "Shows the routes that this node's BGP speaker uses, each with the reason. PREFIX is a range, for what lies in\n"
    "it, or an address, for what contains it.",
    "# Which routes are used.\ncalicoctl bgp routes\n\n# What a neighbour announces, and why it is refused.\n"
    "calicoctl bgp routes --received --peer 10.0.0.2\n\n# What neighbours are told of one address.\n"
    "calicoctl bgp routes 10.244.1.5 --advertised",
    (
        Flag("received", "All that neighbours announce, with the verdict on each.", takes=Takes.NOTHING),
        Flag("accepted", "All paths that were accepted, and what the best one has before them.", takes=Takes.NOTHING),
        Flag("advertised", "What neighbours are told.", takes=Takes.NOTHING),
        Flag("peer", "Only this neighbour, by its address or its name."),
        Flag("output", "json for programs.", short="o"),
        Flag("socket", f"The speaker's control socket, {SOCKET} where none is given."),
    ),
    most=1,
)

_WHICH = ("received", "accepted", "advertised")
_HEADINGS = ("PREFIX", "NEXT HOP", "PEER", "LOCALPREF", "AS PATH", "WHY")


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    words = terminal.words
    asked = [name for name in _WHICH if words.has(name)]
    if len(asked) > 1:
        raise Failure(f"--{asked[0]} and --{asked[1]} are two questions")
    if (form := words.text("output")) not in ("", "json"):
        raise Failure(f"unrecognized output format '{form}': json is one")
    request = {"do": "routes", "which": asked[0] if asked else "best", "peer": words.text("peer")}
    found = answered({**request, "prefix": words.plain[0] if words.plain else ""}, words.text("socket"))
    if form:
        terminal.say(json_out.text(found))
        return
    for line in table.lines(_HEADINGS, [_row(each) for each in found]):
        terminal.write(line)


def answered(request: Mapping[str, Any], path: str) -> Any:
    """Raises Failure."""
    try:
        return ask(request, path or SOCKET)
    except (Unanswered, Refused) as error:
        raise Failure(str(error)) from None


def _as_words(each: int | Sequence[int]) -> str:
    """A set of them in braces, as looking glasses print it."""
    return str(each) if isinstance(each, int) else f"{{{' '.join(map(str, each))}}}"


def _row(route: Mapping[str, Any]) -> Sequence[str]:
    path = " ".join(map(_as_words, route["asPath"])) or "-"
    stale = ", stale" if route.get("isStale") else ""
    return (
        route["prefix"],
        route["nextHop"] or "-",
        route["peer"],
        str(route["localPreference"]),
        path,
        route.get("why", "exported") + stale,
    )
