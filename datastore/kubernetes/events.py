"""An event as an object of Kubernetes: made once, and counted when it happens again.

Its name follows from what it says, so that a process that starts anew counts on, and what every node has to say of one
object is said once. The server forgets it an hour after it was last told. Source: Kubernetes core/v1 Event; client-go
tools/record for what ``kubectl describe`` looks for.
"""

from __future__ import annotations

import hashlib

from datastore.events import Event
from datastore.kubernetes.client import Client, Json
from datastore.kubernetes.trouble import Asked
from datastore.resource import Key
from datastore.store import Exists

CLUSTER_NAMESPACE = "default"
"""Where events of objects are that have no namespace."""
_VERSIONS = {"Pod": "v1", "Node": "v1"}
_CUSTOM = "projectcalico.org/v3"
_OF_ONE_NODE = ("Pod", "Node")


async def announce(client: Client, event: Event, *, reporter: str, host: str, now: str) -> None:
    """``now`` as Kubernetes writes a time. Raises StoreError."""
    body = to_object(event, reporter=reporter, host=host, now=now)
    name, path = body["metadata"]["name"], f"/api/v1/namespaces/{_namespace(event)}/events"
    try:
        await client.ask("POST", path, Asked("create", "events", Key("Event", name)), body=body)
    except Exists:
        if event.about.kind not in _OF_ONE_NODE:
            return
        known = await client.ask("GET", f"{path}/{name}", Asked("get", "events", Key("Event", name)))
        again = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": now}
        await client.ask("PATCH", f"{path}/{name}", Asked("patch", "events", Key("Event", name)), body=again)


def to_object(event: Event, *, reporter: str, host: str, now: str) -> Json:
    about = event.about
    involved = {"kind": about.kind, "name": about.name, "apiVersion": _VERSIONS.get(about.kind, _CUSTOM)}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name}.{_digest(event)}", "namespace": _namespace(event)},
        "involvedObject": involved
        | ({"namespace": about.namespace} if about.namespace else {})
        | ({"uid": event.uid} if event.uid else {}),
        "reason": event.reason,
        "message": event.text,
        "type": "Warning",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": reporter, "host": host},
        "reportingComponent": reporter,
        "reportingInstance": host,
    }


def _namespace(event: Event) -> str:
    return event.about.namespace or CLUSTER_NAMESPACE


def _digest(event: Event) -> str:
    said = "\0".join((str(event.about), event.uid, event.reason, event.text))
    return hashlib.sha256(said.encode()).hexdigest()[:16]
