"""What calicoctl leaves in the datastore is what upstream's leaves there, to the order of the keys."""

from __future__ import annotations

import json
from typing import Any

from datastore.codec import to_json
from datastore.resource import Key
from datastore.store import Store
from tests.unit.calicoctl.shell import GOLDEN, Shell, steps_of

_CHANGED_BY_OTHERS = ("Node", "ClusterInformation", "WorkloadEndpoint")
_APART = ("IPPool default-ipv4-ippool", "FelixConfiguration node.node1", "FelixConfiguration node.node2")
"""What other programs wrote or changed afterwards."""


def test_the_documents_of_a_session_are_stored_as_upstream_stores_them() -> None:
    shell = Shell()
    for step in steps_of((GOLDEN / "tables.txt").read_text()):
        if step.stdin:
            shell(step.line, step.stdin)
    expected = [each for each in _upstreams() if each["kind"] not in _CHANGED_BY_OTHERS]
    assert len(expected) == 17
    for document in expected:
        assert json.dumps(_stored(shell, document)) == json.dumps(document)


def _upstreams() -> list[dict[str, Any]]:
    found = json.loads((GOLDEN.parent / "stored.json").read_text())
    return [_plain(each) for each in found if f"{each['kind']} {each['metadata']['name']}" not in _APART]


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in document["metadata"].items() if key not in ("uid", "creationTimestamp")}
    return {**document, "metadata": metadata}


def _stored(shell: Shell, like: dict[str, Any]) -> dict[str, Any]:
    async def work(store: Store) -> dict[str, Any]:
        metadata = like["metadata"]
        return to_json(await store.get(Key(like["kind"], metadata["name"], metadata.get("namespace", ""))))

    return _plain(shell.ask(work))
