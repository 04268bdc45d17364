"""What a watch's events tell: each as a change of a document, and from where to go on. Pure.

Source: Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datastore.kubernetes.objects import is_deleted
from datastore.kubernetes.trouble import Asked, of_event
from datastore.resource import Key, Resource, node_of
from datastore.store import Change, Compacted, Gone, Mark, Put, Unread

Event = Mapping[str, Any]
Read = Callable[[Mapping[str, Any]], Resource | Unread | None]
"""Gives None for what is no object of the kind."""


class Teller:
    """Turns a watch's events into changes, and knows from where to go on.

    ``_elsewhere``: what is known not to be the node's, so that nobody is told of what never was there.
    """

    def __init__(self, read: Read, kind: str, since: str, node: str) -> None:
        self.since = since
        self._read, self._kind, self._node = read, kind, node
        self._elsewhere: set[Key] = set()

    def changes(self, event: Event, asked: Asked) -> Sequence[Change]:
        """Raises Compacted, and whatever else the server ends the watch with."""
        if event["type"] == "ERROR":
            raise of_event(event["object"], replace(asked, since=self.since))
        revision = str(event["object"]["metadata"]["resourceVersion"])
        if event["type"] == "BOOKMARK":
            self.since = max(self.since, revision, key=int)
            return [Mark(self.since)]
        if int(revision) < int(self.since):
            raise Compacted(self._kind, self.since)  # the server has gone back in time
        self.since = revision
        resource = self._read(event["object"])
        if resource is None:
            return [Mark(revision)]
        if isinstance(resource, Unread):
            return [Gone(resource.key, revision) if event["type"] == "DELETED" else resource]
        return [self._change(event, resource, revision)]

    def _change(self, event: Event, resource: Resource, revision: str) -> Change:
        is_ours = self._node in ("", node_of(resource))
        if event["type"] == "DELETED":
            self._elsewhere.discard(resource.key)
            return Gone(resource.key, revision) if is_ours else Mark(revision)
        if is_ours:
            self._elsewhere.discard(resource.key)
            return Gone(resource.key, revision) if is_deleted(event["object"]) else Put(resource)
        never_was_here = event["type"] == "ADDED" or resource.key in self._elsewhere
        self._elsewhere.add(resource.key)
        return Mark(revision) if never_was_here else Gone(resource.key, revision)
