"""What the API server's refusals mean, and what to do about each. Pure.

Who caused it decides the error: a rival Conflict, the user Rejected, whoever grants rights Forbidden, the world
Unavailable.
Source: Kubernetes apimachinery pkg/api/errors, metav1.Status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datastore.kubernetes.groups import CRDS
from datastore.resource import Key
from datastore.store import Compacted, Conflict, Exists, Forbidden, Missing, Rejected, StoreError, Unavailable

_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as RBAC sees it: ``patch pods/status``. ``since``: the revision that a watch was asked from."""

    verb: str
    resource: str
    key: Key
    since: str = ""

    @property
    def is_custom(self) -> bool:
        return "." in self.resource


def of_answer(code: int, text: str, asked: Asked) -> StoreError:
    """The error that an answer other than 2xx stands for."""
    status = _status(text)
    message = str(status.get("message") or text.strip()[:_LONGEST_TEXT])
    details = status.get("details") or {}
    if code == 404 and not details.get("name"):
        return _no_such_resource(asked, message)
    if code == 404:
        return Missing(asked.key, message)
    if code == 409:
        return Exists(asked.key, message) if status.get("reason") == "AlreadyExists" else Conflict(asked.key)
    if code == 410 or (asked.since and (code == 400 or "resourceVersion: Invalid value" in message)):
        return Compacted(asked.key.kind, asked.since)
    if code == 422 and any(cause.get("field") == "metadata.uid" for cause in details.get("causes") or ()):
        return Conflict(asked.key)  # a patch of an object that has another's name
    if code in (400, 405, 413, 415, 422):
        return Rejected("", message)
    if code == 401:
        why = "the token has expired, or the certificate is another cluster's"
        return Forbidden(f"the API server does not know who asks ({message}): {why}; renew the credentials")
    if code == 403:
        return Forbidden(_lacking(asked, message))
    return Unavailable(f"the API server cannot {asked.verb} {asked.resource} now ({code}): {message}")


def of_event(status: Mapping[str, Any], asked: Asked) -> StoreError:
    """The error that a watch ends with."""
    return of_answer(int(status.get("code") or 500), json.dumps(status), asked)


def _status(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _no_such_resource(asked: Asked, message: str) -> StoreError:
    if not asked.is_custom:
        return Unavailable(f"the server has no {asked.resource}: it is no Kubernetes API server ({message})")
    return no_definition(asked.resource)


def no_definition(resource: str) -> Unavailable:
    todo = f"install it with: kubectl apply -f {CRDS}"
    return Unavailable(f"the API server has no CustomResourceDefinition {resource}: {todo}")


def _lacking(asked: Asked, message: str) -> str:
    if "namespace" in message and "being terminated" in message:
        return message
    whole, _, subresource = asked.resource.partition("/")
    name, _, group = whole.partition(".")
    rule = f'apiGroups ["{group}"], resources ["{"/".join(filter(None, (name, subresource)))}"], verbs ["{asked.verb}"]'
    todo = f"add {rule} to the ClusterRole of this account"
    return f"RBAC does not grant {asked.verb} on {asked.resource}: {todo} ({message})"
