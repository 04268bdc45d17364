"""``calicoctl node status --all``: the BGP sessions of every node, from wherever the datastore can be reached.

Each node is asked by a CalicoNodeStatus of its own, which its agent answers at once (ours and Calico's alike) and which
is deleted again, whatever becomes of the command; nobody has to log in anywhere, and a node that does not answer is as
good as down. What a command that was killed has left behind is deleted by the next one.

Source: Calico api v3 nodestatus.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calicoctl import box, json_out
from calicoctl.failure import Failure
from calicoctl.terminal import Terminal
from datastore.resource import Key, Resource
from datastore.store import Create, Delete, Store, StoreError

KIND = "CalicoNodeStatus"
ANSWERS_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.2
_LEFT_BEHIND_S = 300
_PREFIX = "asked-by-calicoctl-"
_LONGEST_NAME = 253
_HEADINGS = ("NODE", "PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO")
_TYPES = {"NodeMesh": "node-to-node mesh", "NodePeer": "node specific", "GlobalPeer": "global"}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """``questions``: the node's name by that of the object."""

    questions: Mapping[str, str]

    @property
    def keys(self) -> Sequence[Key]:
        return [Key(KIND, name) for name in self.questions]


def run(terminal: Terminal, *, as_json: bool) -> None:
    """Raises Failure where a node does not answer, after the others are shown."""
    asked = terminal.with_store(lambda store: ask(store, terminal.wall_ns() // 10**9))
    try:
        answers = _wait(terminal, asked)
    finally:
        terminal.with_store(lambda store: _delete(store, asked.keys))
    if as_json:
        terminal.say(json_out.text({node: answers.get(node) for node in sorted(asked.questions.values())}))
    else:
        for line in shown(answers):
            terminal.write(line)
    if silent := sorted(set(asked.questions.values()) - answers.keys()):
        raise Failure(f"no answer within {ANSWERS_WITHIN_S:g} s from {', '.join(silent)}: no agent runs there, or it "
                      "does not reach the datastore")  # fmt: skip


async def ask(store: Store, now_wall_s: int) -> Asked:
    """Raises Failure, StoreError."""
    nodes = [node.name for node in (await store.list("Node")).items]
    left = [each.key for each in (await store.list(KIND)).items if _is_left_behind(each.name, now_wall_s)]
    await _delete(store, left)
    questions = {f"{_PREFIX}{now_wall_s}-{node}"[:_LONGEST_NAME]: node for node in nodes}
    if len(questions) < len(nodes):
        raise Failure("two nodes' names differ only behind what an object's name has room for")
    results = await store.write_many([Create(_question(name, node)) for name, node in questions.items()])
    for result in results:
        if isinstance(result, StoreError):
            raise result
    return Asked(questions)


def _question(name: str, node: str) -> Resource:
    """Answered once: an object that stays by accident costs nobody anything."""
    return Resource(KIND, name, spec={"node": node, "classes": ["Agent", "BGP"], "updatePeriodSeconds": 0})


def _is_left_behind(name: str, now_wall_s: int) -> bool:
    asked_wall_s = name.removeprefix(_PREFIX).partition("-")[0]
    return name.startswith(_PREFIX) and asked_wall_s.isdigit() and now_wall_s - int(asked_wall_s) > _LEFT_BEHIND_S


def _wait(terminal: Terminal, asked: Asked) -> Mapping[str, Json]:
    """What each node has said, until all have or the time is over."""
    until_ns = terminal.wall_ns() + int(ANSWERS_WITHIN_S * 1e9)
    while True:
        answers = terminal.with_store(lambda store: _answers(store, asked))
        if len(answers) == len(asked.questions) or terminal.wall_ns() >= until_ns:
            return answers
        terminal.sleep(_LOOK_EVERY_S)


async def _answers(store: Store, asked: Asked) -> Mapping[str, Json]:
    found = {each.name: each.status for each in (await store.list(KIND)).items if each.name in asked.questions}
    return {asked.questions[name]: status for name, status in found.items() if status and status.get("lastUpdated")}


async def _delete(store: Store, keys: Sequence[Key]) -> None:
    """Those that are gone already are gone."""
    if keys:
        await store.write_many([Delete(key) for key in keys])


def shown(answers: Mapping[str, Json]) -> Iterator[str]:
    """A table for each family in which there are sessions."""
    for version in (4, 6):
        rows = [row for node in sorted(answers) for row in _rows(node, answers[node], version)]
        if rows:
            up = sum(row[3] == "up" for row in rows)
            yield f"IPv{version} BGP status: {up} of {len(rows)} sessions are up\n"
            yield from box.lines(_HEADINGS, rows, has_centred_headings=True)
    if waiting := sorted(node for node, status in answers.items() if not _is_ready(status)):
        yield f"The BGP backend is not ready on {', '.join(waiting)}.\n"
    if not any(_peers(status, version) for status in answers.values() for version in (4, 6)):
        yield "No peers found.\n"


def _rows(node: str, status: Json, version: int) -> Iterator[Sequence[str]]:
    for peer in _peers(status, version):
        state = peer.get("state", "")
        kind = _TYPES.get(peer.get("type", ""), "")
        yield (
            node,
            peer.get("peerIP", ""),
            kind,
            "up" if state == "Established" else "start",
            peer.get("since", ""),
            state,
        )


def _peers(status: Json, version: int) -> Iterable[Json]:
    return (status.get("bgp") or {}).get(f"peersV{version}") or ()


def _is_ready(status: Json) -> bool:
    return any(each.get("state") == "Ready" for each in (status.get("agent") or {}).values())
