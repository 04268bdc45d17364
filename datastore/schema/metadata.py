"""What every document has: its kind, its version and Kubernetes' metadata. Source: k8s.io/apimachinery meta/v1."""

from __future__ import annotations

from datastore.schema.notation import (
    Field,
    Struct,
    always,
    anything,
    boolean,
    each,
    filled,
    given,
    mapping,
    number,
    string,
    struct,
    text,
    time,
)

OwnerReference = struct(
    "v1.OwnerReference",
    always("apiVersion", string, go="APIVersion"),
    always("kind", string),
    always("name", string),
    always("uid", text("types.UID"), go="UID"),
    given("controller", boolean),
    given("blockOwnerDeletion", boolean),
)
ManagedFieldsEntry = struct(
    "v1.ManagedFieldsEntry",
    filled("manager", string),
    filled("operation", text("v1.ManagedFieldsOperationType")),
    filled("apiVersion", string, go="APIVersion"),
    given("time", time),
    filled("fieldsType", string),
    given("fieldsV1", anything),
    filled("subresource", string),
)
ObjectMeta = struct(
    "v1.ObjectMeta",
    filled("name", string),
    filled("generateName", string),
    filled("namespace", string),
    filled("selfLink", string),
    filled("uid", text("types.UID"), go="UID"),
    filled("resourceVersion", string),
    filled("generation", number("int64")),
    filled("creationTimestamp", time),
    given("deletionTimestamp", time),
    given("deletionGracePeriodSeconds", number("int64")),
    filled("labels", mapping(string)),
    filled("annotations", mapping(string)),
    filled("ownerReferences", each(OwnerReference)),
    filled("finalizers", each(string)),
    filled("managedFields", each(ManagedFieldsEntry)),
)
ListMeta = struct(
    "v1.ListMeta",
    filled("selfLink", string),
    filled("resourceVersion", string),
    filled("continue", string),
    given("remainingItemCount", number("int64")),
)


def document(go: str, *halves: Field) -> Struct:
    """A kind's whole document; ``halves`` are its spec and, where it has one, its status."""
    return struct(
        go,
        filled("kind", string),
        filled("apiVersion", string, go="APIVersion"),
        always("metadata", ObjectMeta, go="ObjectMeta"),
        *halves,
    )


def list_of(kind: Struct) -> Struct:
    """``IPPoolList`` of ``IPPool``: what ``get -o yaml`` prints of several objects, and what a file may hold."""
    return struct(
        f"{kind.go}List",
        filled("kind", string),
        filled("apiVersion", string, go="APIVersion"),
        always("metadata", ListMeta, go="ListMeta"),
        always("items", each(kind)),
    )
