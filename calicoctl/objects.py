"""Objects as users know them: reading, creating and updating, with what upstream's client does on the way.

Upstream's client is the only gatekeeper of its datastore, and so is this one: defaults and rules before every write
(:mod:`datastore.admission`), tiers and filters that must exist, kinds that nobody may write. Deleting is in
:mod:`calicoctl.deletion`. A document is an object's whole JSON; ``resourceVersion`` is in its metadata.

Source: Calico libcalico-go/lib/clientv3, calicoctl/resourcemgr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from calicoctl.failure import NotAllowed
from datastore.codec import from_json, to_json
from datastore.policies import refuse_kubernetes_own
from datastore.resource import Key, Resource
from datastore.store import ApiServer, Conflict, Exists, NotSupported, Store
from datastore.unset import DEFAULT_TIER, NAME_ANNOTATION, TIER_LABEL, pool_spec, tier_spec

if TYPE_CHECKING:
    from datastore.validate import Invalid

Document = dict[str, Any]

READ_ONLY = "ClusterInformation"
DEFAULT_PROFILE = "projectcalico-default-allow"
TRIES = 5
"""How often an update runs again when somebody else wrote in between; upstream's number."""

_ALLOW_ALL = Resource(
    "Profile", DEFAULT_PROFILE, spec={"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}, revision="1"
)


class Objects(NamedTuple):
    """Those of one kind, in order, and the revision of the list; ``unreadable``: why others of it are not shown."""

    kind: str
    items: tuple[Resource, ...]
    revision: str
    unreadable: tuple[str, ...] = ()


async def get(store: Store, key: Key) -> Resource:
    """Raises Missing."""
    if key == _ALLOW_ALL.key:
        return _ALLOW_ALL
    return _as_read(await store.get(key))


async def list_of(store: Store, kind: str, namespace: str = "") -> Objects:
    listing = await store.list(kind, namespace=namespace)
    items = tuple(map(_as_read, listing.items))
    if kind == "Profile" and all(item.name != DEFAULT_PROFILE for item in items):
        items = (*items, _ALLOW_ALL)
    if kind == "Tier":
        items = tuple(sorted(items, key=lambda tier: tier.spec.get("order", float("inf"))))
    return Objects(kind, items, listing.revision, tuple(map(str, listing.unreadable.values())))


def _as_read(resource: Resource) -> Resource:
    """The object as upstream's readers see it."""
    kind = resource.kind
    if kind == "IPPool":
        return replace(resource, spec=pool_spec(resource.spec))
    if kind == "Tier":
        return replace(resource, spec=tier_spec(resource.spec))
    if _has_tier(kind):
        return _policy_as_read(resource)
    return resource


def _has_tier(kind: str) -> bool:
    return kind.endswith("NetworkPolicy") and kind != "StagedKubernetesNetworkPolicy"


def _policy_as_read(resource: Resource) -> Resource:
    """One annotation is the store's; a label says the tier."""
    annotations = {key: value for key, value in resource.annotations.items() if key != NAME_ANNOTATION}
    return replace(resource, annotations=annotations, labels={TIER_LABEL: DEFAULT_TIER, **resource.labels})


def document_of(resource: Resource) -> Document:
    """The whole object, canonical."""
    from datastore.schema import table_of
    from datastore.schema.reading import canonical

    whole = to_json(resource)
    whole["metadata"]["resourceVersion"] = resource.revision
    return canonical(table_of(resource.kind), whole)


def key_of(document: Mapping[str, Any]) -> Key:
    metadata = document["metadata"]
    return Key(document["kind"], metadata.get("name", ""), metadata.get("namespace", ""))


# --- writing ------------------------------------------------------------------------------------------------------


async def create(store: Store, document: Document) -> Resource:
    """Write a new object. Raises Exists, Rejected, NotAllowed, Missing (its tier)."""
    key = key_of(document)
    _refuse_foreign(key, "create or apply", document)
    if key == _ALLOW_ALL.key:
        raise Exists(
            key, f'{DEFAULT_PROFILE} already exists. The profile "{DEFAULT_PROFILE}" is default provided by Calico'
        )
    await _check_references(store, document, is_new=True)
    whole = await _admitted(store, _without_system_metadata(document))
    return await store.create(from_json(whole))


async def update(store: Store, document: Document) -> Resource:
    """Replace an existing object's labels, annotations and spec.

    With a ``resourceVersion`` in the document only that version is replaced; without, whatever is there, and again when
    somebody else was faster. Raises Missing, Conflict, Rejected, NotAllowed.
    """
    wanted = document["metadata"].get("resourceVersion", "")
    for _ in range(TRIES):
        stored = await get(store, key_of(document))
        if wanted and wanted != stored.revision:
            raise Conflict(stored.key)
        try:
            return await write(store, document, stored)
        except Conflict:
            if wanted:
                raise
    raise Conflict(key_of(document))


async def write(store: Store, document: Document, stored: Resource) -> Resource:
    """The stored object with the document's labels, annotations and spec. Raises Conflict where it changed since."""
    key = stored.key
    _refuse_foreign(key, "apply or replace", document)
    if key == _ALLOW_ALL.key:
        why = f'The profile "{DEFAULT_PROFILE}" is a default provided by Calico and cannot be updated'
        raise NotAllowed(f"operation Update is not supported on {DEFAULT_PROFILE}: {why}")
    await _check_references(store, document, is_new=False)
    whole = await _admitted(store, document, stored)
    fresh = from_json(whole)
    return await store.update(
        replace(stored, spec=fresh.spec, status=fresh.status, labels=fresh.labels, annotations=fresh.annotations)
    )


async def apply(store: Store, document: Document) -> Resource:
    """Create it, or update what is there: only that, where creating it is another's (a node is Kubernetes')."""
    if document["kind"] == READ_ONLY:
        raise NotAllowed(f"operation apply is not supported on {READ_ONLY}: resource is readonly")
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    try:
        return await create(store, {**document, "metadata": metadata})
    except (Exists, NotAllowed, NotSupported):
        return await update(store, document)


def check(document: Document) -> None:
    """What is wrong with a document whatever the datastore holds. Raises Rejected."""
    from datastore.admission import admitted
    from datastore.validate.pool_change import completed

    admitted(completed(document) if document["kind"] == "IPPool" else document)


async def _admitted(store: Store, document: Document, stored: Resource | None = None) -> Document:
    from datastore.admission import admitted
    from datastore.validate import Invalid

    try:
        return await _admitted_pool(store, document, stored) if document["kind"] == "IPPool" else admitted(document)
    except Invalid as error:
        if isinstance(store, ApiServer) and error.whole is not None:
            await _judge(store, error, stored)
        raise


async def _judge(server: ApiServer, error: Invalid, stored: Resource | None) -> None:
    """What is a matter of the definitions, an API server that has them tells in its own words. Raises Rejected."""
    if error.own:
        raise type(error)(error.own) from None
    revision, uid, created = (stored.revision, stored.uid, stored.created) if stored else ("", "", "")
    fresh = from_json(error.whole or {})
    await server.judge(fresh.stamped(revision=revision, uid=uid, created=created))


async def _admitted_pool(store: Store, document: Document, stored: Resource | None) -> Document:
    from datastore.addresses import read_cidr
    from datastore.admission import admitted
    from datastore.validate.pool_change import check_blocks, completed

    if stored is not None:
        return admitted(completed(document, before=to_json(stored)))
    pools = (await store.list("IPPool")).items
    whole = admitted(completed(document, others=map(to_json, pools)))
    blocks = (await store.list("IPAMBlock")).items
    check_blocks(whole, (read_cidr(block.spec["cidr"])[1] for block in blocks))
    return whole


async def _check_references(store: Store, document: Document, *, is_new: bool) -> None:
    """A policy's tier must be there when it is made, a peer's filters at any time."""
    kind, spec = document["kind"], document["spec"]
    if is_new and _has_tier(kind):
        await store.get(Key("Tier", spec.get("tier") or DEFAULT_TIER))
    if kind == "BGPPeer" and spec.get("filters"):
        await _check_filters(store, spec["filters"])


async def _check_filters(store: Store, wanted: Iterable[str]) -> None:
    from datastore.validate import Flaw, Invalid

    known = {item.name for item in (await store.list("BGPFilter")).items}
    if missing := [name for name in wanted if name not in known]:
        raise Invalid([Flaw("BGPPeer.Spec.Filters", "BGPFilter(s) not found", missing)])


def _refuse_foreign(key: Key, operation: str, document: Mapping[str, Any]) -> None:
    if key.kind == READ_ONLY:
        raise NotAllowed(f"operation {operation} is not supported on {READ_ONLY}")
    refuse_kubernetes(key, operation)


def refuse_kubernetes(key: Key, operation: str) -> None:
    """Raises NotAllowed for what Kubernetes itself keeps."""
    try:
        refuse_kubernetes_own(key, operation)
    except NotSupported as error:
        raise NotAllowed(str(error)) from None


_OF_USERS = ("name", "namespace", "resourceVersion", "labels", "annotations")


def _without_system_metadata(document: Document) -> Document:
    """What a user may say of an object's metadata. Raises Rejected for a revision: a new object has none."""
    from datastore.validate import Flaw, Invalid

    metadata = {key: value for key, value in document["metadata"].items() if key in _OF_USERS}
    if revision := metadata.get("resourceVersion"):
        raise Invalid([Flaw("Metadata.ResourceVersion", "field must not be set for a Create request", revision)])
    return {**document, "metadata": metadata}


# --- patching -----------------------------------------------------------------------------------------------------


def patched(document: Document, patch: str) -> Document:
    """``document`` with a JSON patch laid over it: objects are merged, null removes, anything else replaces.

    Raises ValueError where the patch is no JSON object. Source: k8s.io strategicpatch, for types that have no merge
    keys.
    """
    try:
        change = json.loads(patch or "null")
    except ValueError:
        change = None
    if not isinstance(change, dict):
        raise ValueError("invalid JSON document")
    merged: Document = _merged(document, change)
    return merged


def _merged(before: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    kept = dict(before) if isinstance(before, dict) and change.get("$patch") != "replace" else {}
    for key, value in change.items():
        if key == "$patch":
            continue
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = _merged(kept.get(key), value)
    return kept
