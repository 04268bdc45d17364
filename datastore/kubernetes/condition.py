"""The Node's condition NetworkUnavailable, by which Kubernetes keeps pods off a node whose network is not up.

Source: Calico node/pkg/lifecycle/utils (SetNodeNetworkUnavailableCondition).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from datastore.kubernetes.trouble import Asked
from datastore.resource import Key

if TYPE_CHECKING:
    from datastore.kubernetes.client import Client


class Network(Enum):
    """Whether it is unavailable, why, and that in words."""

    UP = ("False", "CalicoIsUp", "Calico is running on this node")
    DOWN = ("True", "CalicoIsDown", "Calico is shutting down on this node")


GONE = {"type": "NetworkUnavailable", "$patch": "delete"}
"""In the place of a condition: there is none any more."""


async def tell(client: Client, node: str, network: Network, *, at: datetime) -> None:
    """``at``: now. Raises StoreError."""
    await patch(client, node, {"status": {"conditions": [_condition(network, at)]}})


async def patch(client: Client, node: str, what: Mapping[str, Any]) -> None:
    """A strategic merge: other conditions stay. Raises StoreError."""
    asked = Asked("patch", "nodes/status", Key("Node", node))
    await client.ask("PATCH", f"/api/v1/nodes/{node}/status", asked, body=dict(what), is_strategic=True)


def _condition(network: Network, at: datetime) -> dict[str, Any]:
    status, reason, message = network.value
    now = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "NetworkUnavailable",
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
