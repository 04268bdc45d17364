"""Each event of a watch as what it changes, also for who asks for one node's only."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from datastore.kubernetes.groups import Group
from datastore.kubernetes.objects import from_object
from datastore.kubernetes.tell import Teller
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Compacted, Gone, Put

ASKED = Asked("watch", "blockaffinities.crd.projectcalico.org", Key("BlockAffinity", ""), "1")


def teller(node: str = "") -> Teller:
    return Teller(partial(from_object, Group.V1, "BlockAffinity"), "BlockAffinity", "1", node)


def event(kind: str, revision: int, node: str = "n1", deleted: str = "false") -> dict[str, Any]:
    metadata = {"name": "a", "resourceVersion": str(revision)}
    return {"type": kind, "object": {"metadata": metadata, "spec": {"node": node, "deleted": deleted}}}


def told(listener: Teller, *events: dict[str, Any]) -> list[str]:
    changes = [change for each in events for change in listener.changes(each, ASKED)]
    return ["put" if isinstance(each, Put) else "gone" if isinstance(each, Gone) else "mark" for each in changes]


def test_everything_is_told_to_who_listens_to_all() -> None:
    events = [event("ADDED", 2), event("MODIFIED", 3, "n2"), event("DELETED", 4, "n2"), event("BOOKMARK", 5)]
    assert told(teller(), *events) == ["put", "put", "gone", "mark"]


def test_an_object_that_moves_away_is_gone_once() -> None:
    events = [event("ADDED", 2), event("MODIFIED", 3, "n2"), event("MODIFIED", 4, "n2"), event("DELETED", 5, "n2")]
    assert told(teller("n1"), *events) == ["put", "gone", "mark", "mark"]


def test_an_object_that_was_there_before_and_moves_away_is_gone() -> None:
    assert told(teller("n1"), event("MODIFIED", 3, "n2")) == ["gone"]


def test_what_never_was_there_is_never_gone() -> None:
    events = [event("ADDED", 2, "n2"), event("MODIFIED", 3, "n3"), event("DELETED", 4, "n3")]
    assert told(teller("n1"), *events) == ["mark", "mark", "mark"]


def test_what_calico_marks_as_deleted_is_gone() -> None:
    assert told(teller(), event("MODIFIED", 2, deleted="true")) == ["gone"]


def test_a_listener_goes_on_from_the_last_event_of_any_kind() -> None:
    listener = teller()
    told(listener, event("ADDED", 2), event("BOOKMARK", 9))
    assert listener.since == "9"


def test_a_server_that_goes_back_in_time_has_to_be_listed_again() -> None:
    """An etcd that was restored from a backup."""
    listener = teller()
    told(listener, event("ADDED", 9))
    with pytest.raises(Compacted):
        listener.changes(event("ADDED", 3), ASKED)
    with pytest.raises(Compacted):
        listener.changes({"type": "ERROR", "object": {"kind": "Status", "code": 410}}, ASKED)
