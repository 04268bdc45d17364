"""What BIRD 1 says of its protocols, taken apart: the neighbours of ``show protocols``. No socket is opened here.

A neighbour's name tells its kind and address: ``Mesh_192_168_50_11``. Lines that are no neighbour's are skipped.
Source: Calico calicoctl/commands/node/status.go; BIRD 1.6 nest/cli.c for the codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

COMMAND = b"show protocols\n"
END = "0000"
_BANNER, _HEADER, _FIRST_ROW, _NEXT_ROW = "0001", "2002", "1002", " "
_HEADINGS = ["name", "proto", "table", "state", "since", "info"]
_NAME = re.compile("(Global|Mesh|Node)_(.+)")
_KINDS = {"Global": "global", "Mesh": "node-to-node mesh", "Node": "node specific"}
_SEPARATORS = {4: ".", 6: ":"}


class Unreadable(Exception):
    """It is not the text of BIRD 1."""


class Peer(NamedTuple):
    """One neighbour; every field as it is shown."""

    address: str
    kind: str
    state: str
    since: str
    info: str


def peers(reply: Iterable[str], version: int) -> list[Peer]:
    """The neighbours of a reply's lines, as BIRD orders them; ``version`` of IP. Raises Unreadable."""
    found = (_peer(row.split(), version) for row in _rows(reply))
    return [peer for peer in found if peer is not None]


def _rows(reply: Iterable[str]) -> Iterator[str]:
    for line in reply:
        if line.startswith(END):
            return
        if line.startswith(_HEADER) and line[5:].split() != _HEADINGS:
            raise Unreadable("unknown BIRD table output format")
        if line.startswith((_FIRST_ROW, _NEXT_ROW)):
            yield line.removeprefix(_FIRST_ROW)[1:]
        elif not line.startswith((_BANNER, _HEADER)):
            raise Unreadable("unexpected output line from BIRD")
    raise Unreadable("BIRD stopped in the middle of its answer")


def _peer(columns: list[str], version: int) -> Peer | None:
    if len(columns) < len(_HEADINGS) or columns[1] != "BGP":
        return None
    name = _NAME.fullmatch(columns[0])
    if name is None:
        return None
    address = name[2].replace("_", _SEPARATORS[version])
    return Peer(address, _KINDS[name[1]], columns[3], columns[4], " ".join(columns[5:]))
