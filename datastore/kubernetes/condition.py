"""The Node's condition NetworkUnavailable, by which Kubernetes keeps pods off a node whose network is not up.

Source: Calico node/pkg/lifecycle/utils (SetNodeNetworkUnavailableCondition).
"""

from __future__ import annotations

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


async def tell(client: Client, node: str, network: Network, *, at: datetime) -> None:
    """``at``: now. Raises StoreError."""
    asked = Asked("patch", "nodes/status", Key("Node", node))
    body = {"status": {"conditions": [_condition(network, at)]}}
    await client.ask("PATCH", f"/api/v1/nodes/{node}/status", asked, body=body, is_strategic=True)


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
