"""The conditions that Kubernetes' controllers leave in a status. Source: k8s.io/apimachinery meta/v1."""

from __future__ import annotations

from datastore.schema.notation import always, enum, filled, number, struct, text, time

Condition = struct(
    "v1.Condition",
    always(
        "type",
        text(
            longest=316,
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        ),
    ),
    always("status", enum("v1.ConditionStatus", "True", "False", "Unknown")),
    filled("observedGeneration", number("int64", low=0)),
    always("lastTransitionTime", time),
    always("reason", text(shortest=1, longest=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")),
    always("message", text(longest=32768)),
)
