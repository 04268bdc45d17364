"""What a server's refusals mean, and that each says what to do."""

from __future__ import annotations

import json

import pytest

from datastore.kubernetes.trouble import Asked, of_answer, of_event
from datastore.resource import Key

KEY = Key("IPPool", "p")
POOLS = Asked("update", "ippools.crd.projectcalico.org", KEY)
WATCH = Asked("watch", "ippools.crd.projectcalico.org", Key("IPPool", ""), "7")


def status(code: int, reason: str, message: str, name: str = "p") -> str:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"name": name}})


def told(code: int, text: str, asked: Asked = POOLS) -> str:
    error = of_answer(code, text, asked)
    return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    ("code", "text", "asked", "said"),
    [
        (404, status(404, "NotFound", "gone"), POOLS, "Missing: resource does not exist: IPPool(p) with error: gone"),
        (
            404,
            "404 page not found\n",
            POOLS,
            "Unavailable: the API server has no CustomResourceDefinition ippools.crd.projectcalico.org: "
            "install it with: kubectl apply -f manifests/base/crds.yaml",
        ),
        (
            409,
            status(409, "AlreadyExists", "there"),
            POOLS,
            "Exists: resource already exists: IPPool(p) with error: there",
        ),
        (409, status(409, "Conflict", "other"), POOLS, "Conflict: update conflict: IPPool(p)"),
        (422, status(422, "Invalid", "spec.cidr: bad"), POOLS, "Rejected: spec.cidr: bad"),
        (
            403,
            status(403, "Forbidden", "no"),
            Asked("patch", "pods/status", KEY),
            "Forbidden: connection is unauthorized: RBAC does not grant patch on pods/status: "
            'add apiGroups [""], resources ["pods/status"], verbs ["patch"] to the ClusterRole of this account (no)',
        ),
        (
            403,
            status(403, "Forbidden", "no"),
            POOLS,
            "Forbidden: connection is unauthorized: RBAC does not grant update on ippools.crd.projectcalico.org: add "
            'apiGroups ["crd.projectcalico.org"], resources ["ippools"], verbs ["update"] to the ClusterRole of this '
            "account (no)",
        ),
        (
            401,
            status(401, "Unauthorized", "Unauthorized"),
            POOLS,
            "Forbidden: connection is unauthorized: the API server does not know who asks (Unauthorized): the token "
            "has expired, or the certificate is another cluster's; renew the credentials",
        ),
        (
            503,
            "not now",
            POOLS,
            "Unavailable: the API server cannot update ippools.crd.projectcalico.org now (503): not now",
        ),
        (400, "bad", WATCH, "Compacted: changes of IPPool since revision 7 are no longer kept: list again"),
    ],
)
def test_an_answer_is_an_error_that_says_what_to_do(code: int, text: str, asked: Asked, said: str) -> None:
    assert told(code, text, asked) == said


def test_a_watch_that_ends_with_gone_asks_for_a_list() -> None:
    assert "list again" in str(of_event({"kind": "Status", "code": 410, "message": "too old"}, WATCH))
