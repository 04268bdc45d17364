"""What every reader of upstream's takes an unset field for: objects written long ago, or by hand, lack some. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Any]

DEFAULT_BLOCK_SIZE = {4: 26, 6: 122}
DEFAULT_TIER = "default"
DEFAULT_TIER_ORDER = 1_000_000
TIER_LABEL = "projectcalico.org/tier"
NAME_ANNOTATION = "projectcalico.org/metadata"
"""Where upstream keeps a policy's name as the user wrote it; readers take it off."""


def pool_spec(spec: Spec) -> dict[str, Any]:
    """An IPPool's spec with nothing left unset but what has no default."""
    version = 6 if ":" in spec.get("cidr", "") else 4
    return {
        **spec,
        "vxlanMode": spec.get("vxlanMode") or "Never",
        "ipipMode": spec.get("ipipMode") or "Never",
        "blockSize": spec.get("blockSize") or DEFAULT_BLOCK_SIZE[version],
        "nodeSelector": spec.get("nodeSelector") or "all()",
        "allowedUses": spec.get("allowedUses") or ["Workload", "Tunnel"],
        "assignmentMode": spec.get("assignmentMode") or "Automatic",
    }


def tier_spec(spec: Spec) -> dict[str, Any]:
    return {"order": DEFAULT_TIER_ORDER, "defaultAction": "Deny", **spec}
