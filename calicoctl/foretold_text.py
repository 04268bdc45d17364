"""What was foretold, as lines for a person and as JSON for a program. Pure.

node1
  route    10.244.104.0/26 via 192.168.50.11 dev <uplink> proto bird
        -> 10.244.104.0/26 via 192.168.50.11 dev tunl0 proto bird onlink
           because pool default-ipv4-ippool, ipipMode Always, node node2, bgp 192.168.50.11
  device   + tunl0 up, MTU 1480, address 10.244.166.129/32
  address  10.244.166.129 taken from IPAM
  pods     2 would be offered MTU 1480, not 1500: default/a, default/b

3 nodes: 6 routes change, 3 addresses are taken, nothing is lost
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from calicoctl.foretold import Change, Foretold, NodeChange

_SHOWN = 5
"""So many pods are named on one line; JSON names all."""


def lines(foretold: Foretold) -> Iterator[str]:
    for change in foretold.objects:
        yield _object_line(change)
    if foretold.objects:
        yield ""
    for node in foretold.nodes:
        if node.is_any:
            yield node.node
            yield from _node_lines(node)
            yield ""
    for lost in foretold.lost:
        yield f"lost  {lost.address} of {lost.pod} on {lost.node}: {lost.why}"
    yield summary(foretold)


def _object_line(change: Change) -> str:
    if change.before == "stored" or change.after == "stored":
        return f"{change.what} would be {'created' if change.after else 'deleted'}"
    return f"{change.what}: {change.before or '(unset)'} -> {change.after or '(unset)'}"


def _node_lines(node: NodeChange) -> Iterator[str]:
    for change in (*node.routes, *node.devices, *node.sessions):
        yield from _change_lines(change)
    taken, given = (", ".join(map(str, some)) for some in (node.taken, node.given_back))
    if taken:
        yield _line("address", f"{taken} taken from IPAM")
    if given:
        yield _line("address", f"{given} given back to IPAM")
    if node.pods is not None:
        pods = node.pods
        named = _few(pods.pods)
        yield _line(
            "pods", f"{len(pods.pods)} would be offered MTU {pods.after_bytes}, not {pods.before_bytes}: {named}"
        )


def _change_lines(change: Change) -> Iterator[str]:
    if change.waits:
        yield _line("waits", change.before or "(no route)")
    elif change.before and change.after:
        yield _line(change.what, change.before)
        yield _line("      ->", change.after)
    else:
        yield _line(change.what, f"+ {change.after}" if change.after else f"- {change.before}")
    if change.why:
        verb = "because" if change.after else "it was for"
        yield _line("", f"{verb} {change.why}")


def _line(word: str, text: str) -> str:
    return f"  {word:<8} {text}"


def _few(names: tuple[str, ...]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def summary(foretold: Foretold) -> str:
    """One line: what it comes to."""
    nodes = _count(len(foretold.nodes), "node")
    if not foretold.is_any:
        return f"{nodes}: nothing changes"
    routes = [*_of_routes([change for node in foretold.nodes for change in node.routes])]
    rest = [*_of_the_rest(foretold)]
    lost = [] if foretold.lost else ["nothing is lost"]
    return f"{nodes}: {', '.join([*(routes or ['no route changes']), *rest, *lost])}"


def _of_routes(changes: list[Change]) -> Iterator[str]:
    certain = [change for change in changes if not change.waits]
    yield from _told(sum(bool(one.before and one.after) for one in certain), "route", "changes", "change")
    yield from _told(sum(not one.before for one in certain), "route", "is added", "are added")
    yield from _told(sum(not one.after for one in certain), "route", "is removed", "are removed")
    yield from _told(len(changes) - len(certain), "route", "waits", "wait")


def _of_the_rest(foretold: Foretold) -> Iterator[str]:
    nodes = foretold.nodes
    large = sum(len(node.pods.pods) for node in nodes if node.pods is not None)
    yield from _told(sum(len(node.sessions) for node in nodes), "BGP session", "changes", "change")
    yield from _told(sum(len(node.taken) for node in nodes), "address", "is taken", "are taken")
    yield from _told(sum(len(node.given_back) for node in nodes), "address", "is given back", "are given back")
    yield from _told(large, "pod", "needs a smaller MTU", "need a smaller MTU")
    yield from _told(len(foretold.lost), "address", "is lost", "are lost")


def _told(count: int, noun: str, of_one: str, of_many: str) -> Iterator[str]:
    if count:
        yield f"{_count(count, noun)} {of_one if count == 1 else of_many}"


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


# --- as JSON ------------------------------------------------------------------------------------------------------


def to_json(foretold: Foretold) -> dict[str, Any]:
    return {
        "objects": [{"what": one.what, "before": one.before, "after": one.after} for one in foretold.objects],
        "nodes": [_node_json(node) for node in foretold.nodes],
        "lost": [
            {"address": str(one.address), "pod": one.pod, "node": one.node, "because": one.why} for one in foretold.lost
        ],
        "summary": summary(foretold),
    }


def _node_json(node: NodeChange) -> dict[str, Any]:
    pods = node.pods
    return {
        "name": node.node,
        "routes": [_change_json(change) for change in node.routes],
        "devices": [_change_json(change) for change in node.devices],
        "sessions": [_change_json(change) for change in node.sessions],
        "taken": [str(address) for address in node.taken],
        "givenBack": [str(address) for address in node.given_back],
        "pods": None
        if pods is None
        else {"mtuBefore": pods.before_bytes, "mtuAfter": pods.after_bytes, "names": list(pods.pods)},
    }


def _change_json(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after, "because": change.why, "waits": change.waits}
